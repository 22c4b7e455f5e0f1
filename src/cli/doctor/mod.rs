//! `velero-trust doctor`: what an operator forgets.
//!
//! It looks first ([`gather`]) and judges then ([`checks`]), which are pure.

mod access;
mod checks;
mod cluster_snapshot;
mod diagnostic;
mod gather;

use anyhow::bail;
use clap::{Args, ValueEnum};
use std::time::Duration;

use self::diagnostic::{Level, count, write_json, write_text};
use super::namespace_args::OwnNamespace;
use super::stdout::Stdout;
use super::{cluster, exit, install_crypto_provider, runtime};

/// Longest time for all look-ups together; the client itself would wait for ever.
const GATHER_TIMEOUT: Duration = Duration::from_mins(1);

/// Checks an installation: versions, the Deployment, the webhook configurations and their
/// certificate, rights, bundles, proxy variables and BackupStorageLocations. Changes nothing, and
/// reads with the rights of your kubeconfig. Ends with 0 when nothing fails, 1 when something does,
/// 2 when the cluster cannot be reached.
#[derive(Args, Debug)]
pub(super) struct Doctor {
    #[command(flatten)]
    own: OwnNamespace,

    /// How the checks are printed
    #[arg(
        long,
        short,
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_OUTPUT"
    )]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people; what mends something stands below it
    Text,
    /// For programs
    Json,
}

impl Doctor {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let cluster = runtime()?.block_on(async {
            let client = cluster::connect().await?;
            let cluster = gather::gather(&client, &self.own.namespace);
            match tokio::time::timeout(GATHER_TIMEOUT, cluster).await {
                Ok(cluster) => cluster,
                Err(_) => bail!(
                    "the API server did not answer everything within {} s",
                    GATHER_TIMEOUT.as_secs()
                ),
            }
        })?;
        let diagnostics = checks::all(&cluster);
        let mut out = Stdout::of_print();
        match self.output {
            Output::Text => write_text(&diagnostics, &mut out)?,
            Output::Json => write_json(&diagnostics, &mut out)?,
        }
        Ok(if count(&diagnostics, Level::Fail) == 0 {
            exit::CLEAN
        } else {
            exit::FINDINGS
        })
    }
}
