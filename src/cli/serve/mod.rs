//! `velero-trust serve`: the webhook, and its options.

mod probe;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::probe::Probe;
use super::policy::{PolicyOptions, Restores};
use super::root_args::RootArgs;
use super::{exit, install_crypto_provider, parse, runtime};
use crate::telemetry::{self, Format};

/// Serves the webhook over TLS. Facts come from the cluster (in a Pod, or by KUBECONFIG), or from
/// a folder of YAML files with --objects. Prints where it listens; the log goes to stderr.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Address of the webhook, HTTPS; port 0 takes a free one
    #[arg(long, default_value = "[::]:10250", env = "VELERO_TRUST_LISTEN")]
    listen: SocketAddr,

    /// Address of health, readiness and metrics, plain HTTP
    #[arg(long, default_value = "[::]:8080", env = "VELERO_TRUST_OPS_LISTEN")]
    ops_listen: SocketAddr,

    /// Serving certificate, PEM, leaf first; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        default_value = "certs-dev/tls.crt",
        env = "VELERO_TRUST_TLS_CERT"
    )]
    tls_cert: PathBuf,

    /// Its private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        default_value = "certs-dev/tls.key",
        env = "VELERO_TRUST_TLS_KEY"
    )]
    tls_key: PathBuf,

    /// Answer look-ups from the YAML files below this folder instead of a cluster; can be given again
    #[arg(
        long,
        value_name = "DIR",
        env = "VELERO_TRUST_OBJECTS",
        value_delimiter = ','
    )]
    objects: Vec<PathBuf>,

    /// What happens to a Restore whose backup has no checksum
    #[arg(
        long,
        value_enum,
        default_value = "enforce",
        env = "VELERO_TRUST_RESTORES",
        help_heading = "Policy"
    )]
    restores: Restores,

    #[command(flatten)]
    policy: PolicyOptions,

    #[command(flatten)]
    common_roots: RootArgs,

    /// How long a CA stays in a bundle when nothing names it any more, such as `7d` or `12h`
    #[arg(
        long,
        value_name = "TIME",
        default_value = "7d",
        value_parser = parse::duration,
        env = "VELERO_TRUST_RETENTION",
        help_heading = "Bundle"
    )]
    retention: Duration,

    /// Whether the endpoints of BackupStorageLocations are looked at: a TLS handshake with each,
    /// judged with the namespace's bundle. Without it no namespace can be held
    #[arg(
        long,
        value_enum,
        default_value = "on",
        env = "VELERO_TRUST_PROBE",
        help_heading = "Bundle"
    )]
    probe: Probe,

    /// Our own namespace, for the Lease and what has to be remembered; that of the Pod or of the
    /// kubeconfig unless said
    #[arg(
        long,
        short,
        value_name = "NAME",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_NAMESPACE"
    )]
    namespace: Option<String>,

    /// Format of the log
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_LOG_FORMAT",
        help_heading = "Log"
    )]
    log_format: Format,

    /// What is logged, such as `info` or `velero_trust=debug`
    #[arg(
        long,
        default_value = "info",
        env = "VELERO_TRUST_LOG",
        help_heading = "Log"
    )]
    log: String,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        telemetry::start(self.log_format, &self.log)?;
        runtime()?.block_on(self.serve())?;
        Ok(exit::CLEAN)
    }
}
