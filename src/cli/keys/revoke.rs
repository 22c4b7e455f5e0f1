//! `velero-trust keys revoke`: signatures of a key count no more.

use std::io::Write as _;

use anyhow::anyhow;
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use super::revocation::{Change, Effect};
use super::select::select;
use super::signing::patch;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::cli::snapshot::{self, public_key, signing_key};
use crate::cli::stdout::Stdout;
use crate::cli::{cluster, eprint_line, exit, install_crypto_provider, runtime};
use crate::kubernetes::crds::KeyState;
use crate::names;

const AFTER_HELP: &str = "\
Exit codes:
  0  The key is revoked
  1  --yes was not given, so nothing was changed
  2  Invalid usage, or the command failed";

/// Revoke a key that others may have: its signatures count no more
///
/// Without `--yes`, only says how many records that closes, so that their backups are not restored. With
/// `--at`, what was recorded in this cluster before that time stays good: use it only if you know that nobody else
/// had the key then. You need the rights to list BackupRecords, and to list and patch TrustedKeys.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Revoke {
    /// TrustedKey, or the first digits of its key id
    #[arg(value_name = "KEY")]
    key: String,

    /// Why, for those who come after; it is written on the TrustedKey
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,

    /// What was recorded in this cluster before TIME stays good, such as 2026-11-30T12:00:00Z, or `now`
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,

    /// Revoke it, and do not only say what that does
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it says nothing".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    match text {
        "now" => Ok(Timestamp::now()),
        text => text.parse().map_err(|error: k8s_openapi::jiff::Error| {
            format!("{error}; use 2026-11-30T12:00:00Z or now")
        }),
    }
}

impl Revoke {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(self.revoke())
    }

    async fn revoke(&self) -> anyhow::Result<u8> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let keys = snapshot::read_trusted_keys(&client).await;
        let keys = keys.map_err(|error| error.explain("TrustedKeys"))?;
        let trusted = select(&keys, Some(&self.key)).map_err(|why| anyhow!(why))?;
        let name = trusted.name_any();
        let mut out = Stdout::ignore_when_closed();
        // One whose key cannot be read signed nothing that counts.
        let effect = if let Ok(key) = public_key(trusted) {
            let change = Change::of(&keys, &name, key.id(), self.at);
            let effect = Effect::read(&client, &change).await;
            effect.map_err(|error| error.explain("records"))?
        } else {
            Effect::default()
        };
        write!(out, "{}", effect.text())?;
        if !self.yes {
            eprint_line(&format!("velero-trust: to revoke {name}, add --yes"));
            return Ok(exit::FINDINGS);
        }
        let change = json!({
            "metadata": {"annotations": {names::REVOKED_BECAUSE: self.reason}},
            "spec": {"state": KeyState::Revoked, "revokedAt": self.at.map(Time)},
        });
        let patched = patch(&client, &name, &change).await;
        patched.map_err(|why| anyhow!("cannot revoke the TrustedKey {name}: {why}"))?;
        let signs = signing_key(&keys).is_some_and(|signing| signing.name_any() == name);
        write!(out, "{}", next(&name, signs, effect.closed.len()))?;
        Ok(exit::CLEAN)
    }
}

/// Returns what is to be done after the revocation.
fn next(name: &str, signs: bool, closed: usize) -> String {
    let rotate = if signs {
        "It is the key that signs in this cluster, and no backup is recorded until there is another one:\n  \
         velero-trust keys rotate\n"
    } else {
        ""
    };
    let adopt = if closed > 0 {
        "Backups whose record is closed are not restored. For each, look at what is in it and vouch for it:\n  \
         velero-trust backup adopt NAME\n"
    } else {
        ""
    };
    format!(
        "{name} is revoked. If it is in Git, set spec.state to Revoked there, too, and revoke it in every cluster \
         that trusts it.\n{rotate}{adopt}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_signs_needs_another_one() {
        assert!(next("a", true, 0).contains("keys rotate"));
        assert!(!next("a", false, 0).contains("keys rotate"));
        assert!(!next("a", false, 0).contains("backup adopt"));
        assert!(next("a", false, 1).contains("backup adopt NAME"));
        assert!(time("now").is_ok() && time("2026-11-30T12:00:00Z").is_ok());
        assert!(
            time("yesterday")
                .unwrap_err()
                .contains("use 2026-11-30T12:00:00Z or now")
        );
        assert!(reason(" ").is_err());
    }
}
