//! `velero-trust certs rotate`: asks for a new CA of the serving certificates.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::jiff::Timestamp;

use crate::ca::rules::format_date;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, exit, runtime};
use crate::clock;
use crate::kubernetes::serving_ca;
use crate::names;
use crate::serving_ca::Authorities;

/// Replace the CA of an installation that issues its own certificates
///
/// The leader makes the next CA, waits until every webhook has trusted it for two minutes, and lets it
/// issue the certificates of all replicas. The CA before stays trusted until what it issued has expired,
/// after a week; only then the next rotation can begin. No request fails meanwhile.
#[derive(Args, Debug)]
pub(super) struct Rotate {
    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Rotate {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        runtime()?.block_on(async {
            let client = cluster::connect_to(&self.cluster, &self.own).await?;
            let own = &self.own.namespace;
            let secret = format!("Secret {own}/{}", names::SERVING_CA);
            let stored = serving_ca::read(&client, own).await;
            let Some(stored) = stored.with_context(|| format!("cannot read {secret}"))? else {
                bail!(
                    "there is no {secret}: this installation does not issue its own certificates \
                     (`serve --certificates=self`); renew its certificate where it comes from"
                );
            };
            let now = clock::now();
            let authorities = Authorities::read(&stored.data, now);
            let mut out = Stdout::ignore_when_closed();
            if authorities.as_ref().is_ok_and(|all| all.next().is_some()) {
                writeln!(out, "a new CA is on its way already; see `velero-trust status`")?;
                return Ok(exit::CLEAN);
            }
            serving_ca::request_rotation(&client, own, &Timestamp::now().to_string())
                .await
                .with_context(|| format!("cannot change {secret}"))?;
            match authorities {
                Ok(all) if all.previous().is_some() && now < all.others_until() => writeln!(
                    out,
                    "asked for a new CA; the leader makes it once what the CA before the current one issued has \
                     expired, on {}",
                    format_date(all.others_until())
                )?,
                _ => writeln!(
                    out,
                    "asked for a new CA; it issues the certificates once every webhook has trusted it for two minutes"
                )?,
            }
            Ok(exit::CLEAN)
        })
    }
}
