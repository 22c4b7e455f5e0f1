//! `velero-trust certs`: creates a CA and a serving certificate.

mod rotate;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};

use self::rotate::Rotate;
use super::cluster_args::ClusterArgs;
use super::install::{self, Install};
use super::namespace_args::OwnNamespace;
use super::stdout::Stdout;
use super::{cluster, exit, file, install_crypto_provider, parse, runtime};
use crate::names;
use crate::serving_ca::issue::{Issued, issue, service_names};

/// Create a CA and a serving certificate, or replace the CA of an installation that has its own
///
/// By default, the files are written to a folder for local development, and the `caBundle` is
/// printed. With `--install`, the certificate is installed into the current cluster, for servers that
/// take it from files: the CA is added to the `caBundle` of active webhooks, the Secret is written, and once the
/// Deployment is available, webhooks that the leader has not made active are. An installation that issues its own
/// certificates (`serve --certificates=self`), as by default, needs neither.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Certs {
    #[command(subcommand)]
    command: Option<CertsCommand>,

    /// Folder to write `ca.crt`, `tls.crt` and `tls.key` to
    #[arg(
        long,
        value_name = "DIR",
        default_value = "certs-dev",
        env = "VELERO_TRUST_CERTS_DIR"
    )]
    dir: PathBuf,

    /// Additional DNS name or IP address for the serving certificate; can be repeated
    #[arg(
        long = "name",
        value_name = "NAME",
        env = "VELERO_TRUST_CERTS_NAME",
        value_delimiter = ',',
        value_parser = parse::host
    )]
    names: Vec<String>,

    /// Number of days that the certificates are valid [default: 7, or 365 with `--install`]
    #[arg(long, env = "VELERO_TRUST_CERTS_DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: Option<u16>,

    /// Install the certificate into the current cluster instead of a folder, and activate the
    /// webhook
    #[arg(long)]
    install: bool,

    /// With `--install`: restart the Deployment, then trust only the new CA, for example because the
    /// private key of the certificate was exposed
    #[arg(long, requires = "install")]
    revoke_old: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// With `--install`: seconds to wait for the Deployment to become available
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 180,
        env = "VELERO_TRUST_CERTS_WAIT"
    )]
    wait: u64,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    Rotate(Rotate),
}

impl Certs {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        if let Some(CertsCommand::Rotate(rotate)) = &self.command {
            return rotate.run();
        }
        let days = self.days.unwrap_or(if self.install { 365 } else { 7 });
        let validity = Duration::from_hours(u64::from(days) * 24);
        let mut names = service_names(names::APP, &self.own.namespace);
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names.extend(self.names.iter().cloned());
        let issued = issue(&names, validity).context("cannot create the certificates")?;
        if self.install {
            self.install(&issued)?;
        } else {
            self.write(&issued)?;
        }
        Ok(exit::CLEAN)
    }

    fn install(&self, issued: &Issued) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let client = cluster::connect_to(&self.cluster, &self.own).await?;
            let wait = Duration::from_secs(self.wait);
            let install = Install {
                client,
                namespace: &self.own.namespace,
                wait,
                revoke_old: self.revoke_old,
            };
            install::run(&install, issued, &mut Stdout::ignore_when_closed()).await
        })
    }

    fn write(&self, issued: &Issued) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot write to {}", self.dir.display()))?;
        let files = [
            ("ca.crt", &issued.ca),
            ("tls.crt", &issued.certificate),
            ("tls.key", &issued.key),
        ];
        let mut out = Stdout::ignore_when_closed();
        for (name, text) in files {
            let path = self.dir.join(name);
            file::write(&path, text.as_bytes(), 0o600)
                .with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(out, "wrote {}", path.display())?;
        }
        writeln!(out, "caBundle: {}", STANDARD.encode(&issued.ca))?;
        Ok(())
    }
}
