//! `velero-trust status`: what the Pods of Velero trust, and what needs a person.

mod model;
mod problems;
mod read;
mod render;

use std::io::Write as _;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;

use self::model::Status;
use super::{exit, install_crypto_provider, live, runtime};
use crate::kubernetes::client::Clients;
use crate::names;

/// Shows, for each Velero namespace: Velero's version, the CA bundle, each
/// BackupStorageLocation with its CA and what is wrong with it, and which Pods carry the bundle.
/// Reads with the rights of the current kubeconfig, and never a Secret: what depends on Secrets
/// comes from the report that the controllers write. Ends with 1 when something needs a person.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// A namespace of Velero; can be given again [default: all that hold a
    /// BackupStorageLocation]
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "VELERO_TRUST_VELERO_NAMESPACE",
        value_delimiter = ','
    )]
    velero_namespace: Vec<String>,

    /// The namespace of velero-trust
    #[arg(long, short, default_value = names::APP, env = "VELERO_TRUST_NAMESPACE")]
    namespace: String,

    /// How to print it
    #[arg(
        long,
        short,
        value_enum,
        default_value = "table",
        env = "VELERO_TRUST_OUTPUT"
    )]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Tables for a person
    Table,
    /// JSON for a program; its shape stays
    Json,
}

impl Show {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let now = Timestamp::now();
        let status = runtime()?.block_on(self.read(now))?;
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Table => out.write_all(render::text(&status, now).as_bytes())?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, &status)?;
                writeln!(out)?;
            }
        }
        Ok(if status.clean {
            exit::CLEAN
        } else {
            exit::FINDINGS
        })
    }

    async fn read(&self, now: Timestamp) -> anyhow::Result<Status> {
        let client = Clients::connect().await?.controllers;
        let ours = &self.namespace;
        let mut status = Status {
            leader: read::leader(&client, ours, now).await,
            ..Status::default()
        };
        for namespace in live::namespaces(&client, ours, &self.velero_namespace).await? {
            let namespace = read::namespace(&client, ours, &namespace).await?;
            status.namespaces.push(namespace);
        }
        problems::judge(&mut status, now);
        Ok(status)
    }
}
