//! `velero-trust serve`: runs the webhook and the controllers.

mod certificates;
mod listing;
mod probe;
mod start;
mod switch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::certificates::{CaBundleMode, CertificateMode};
use self::listing::Listing;
use self::probe::Probe;
use self::switch::Switch;
use super::cluster_args::ClusterArgs;
use super::key_type::KeyType;
use super::policy::PolicyOptions;
use super::restores::RestoresSetting;
use super::root_args::RootArgs;
use super::{describe, exit, install_crypto_provider, parse, runtime};
use crate::telemetry::{self, Format};

/// The default of `--tls-cert`.
const DEFAULT_TLS_CERT: &str = "certs-dev/tls.crt";

/// Run the admission webhook and, in a cluster, the controllers
///
/// The webhook is served over TLS. Objects are looked up in the cluster (in-cluster configuration
/// or KUBECONFIG) or, with `--objects`, in a folder of YAML files. The controllers need a cluster
/// and do not run with `--objects`. The addresses that the server listens on are printed to
/// standard output, and logs are written to standard error.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Address and port of the webhook (HTTPS); port 0 selects a free port
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:10250",
        env = "VELERO_TRUST_LISTEN"
    )]
    listen: SocketAddr,

    /// Address and port of the health, readiness and metrics endpoints (plain HTTP)
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:8080",
        env = "VELERO_TRUST_OPS_LISTEN"
    )]
    ops_listen: SocketAddr,

    /// Where serving certificates come from [default: `self` in a Pod that is given no --tls-cert, otherwise
    /// `files`]
    ///
    /// With `self`, velero-trust has a CA of its own, in the Secret velero-trust-serving-ca, and each replica issues
    /// its certificate in memory. Nothing has to be renewed by anybody.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        env = "VELERO_TRUST_CERTIFICATES"
    )]
    certificates: Option<CertificateMode>,

    /// Who sets the `caBundle` of the webhooks
    ///
    /// With `external`, the leader makes a webhook active once its `caBundle` verifies the certificate, and never
    /// sets it.
    #[arg(
        long,
        value_name = "WHO",
        value_enum,
        default_value = "managed",
        env = "VELERO_TRUST_CA_BUNDLE"
    )]
    ca_bundle: CaBundleMode,

    /// PEM file with the serving certificate, leaf first; reloaded when it changes
    #[arg(
        long,
        value_name = "FILE",
        default_value = DEFAULT_TLS_CERT,
        env = "VELERO_TRUST_TLS_CERT"
    )]
    tls_cert: PathBuf,

    /// PEM file with the private key of the serving certificate
    #[arg(
        long,
        value_name = "FILE",
        default_value = "certs-dev/tls.key",
        env = "VELERO_TRUST_TLS_KEY"
    )]
    tls_key: PathBuf,

    /// Whether the leader makes the webhooks active by itself, and keeps them so
    ///
    /// It sets their rules and, unless another tool does, their `caBundle`, once the Deployment is rolled out and the
    /// API server reaches velero-trust. The CA is `ca.crt` beside the certificate. With `off`, `velero-trust certs
    /// --install` makes them active, and nobody sets again what is taken away.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "on",
        env = "VELERO_TRUST_ACTIVATION"
    )]
    activation: Switch,

    /// PEM file with the CAs whose clients may send reviews; reloaded when it changes [default:
    /// anybody may]
    ///
    /// The API server must then present a certificate of its own, which its administrator configures
    /// (docs/install.md shows how). The port of health and metrics stays open.
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_CLIENT_CA")]
    client_ca: Option<PathBuf>,

    /// Look up objects in the YAML files under this folder instead of a cluster; can be repeated
    ///
    /// A folder `buckets` in it holds the buckets of the BackupStorageLocations, as
    /// `buckets/BUCKET/[PREFIX/]backups/BACKUP/FILE`.
    #[arg(
        long,
        value_name = "DIR",
        env = "VELERO_TRUST_OBJECTS",
        value_delimiter = ','
    )]
    objects: Vec<PathBuf>,

    /// How to handle a Restore that fails its checks: `enforce`, `warn` or `off`, or `NAMESPACE=MODE`
    /// for the Restores of one namespace; can be repeated [default: enforce]
    ///
    /// `enforce` denies it. `warn` admits it with a warning, unless its backup is known to be another one
    /// than was recorded, or than it expects. `off` checks nothing. Before you choose `enforce`,
    /// `velero-trust status` says how many backups it would refuse.
    #[arg(
        long,
        value_name = "[NAMESPACE=]MODE",
        env = "VELERO_TRUST_RESTORES",
        value_delimiter = ',',
        help_heading = "Policy"
    )]
    restores: Vec<RestoresSetting>,

    /// Admit Restores of backups of which only the tarball is recorded, with a warning (VT128)
    ///
    /// They are those in buckets that velero-trust may not read, and Velero may (`--download-requests`). Nothing but
    /// the tarball is compared before Velero begins.
    #[arg(long, env = "VELERO_TRUST_ACCEPT_PARTIAL", help_heading = "Policy")]
    accept_partial: bool,

    /// From which buckets a Restore may start by a reading of its backup that is older than the Restore
    ///
    /// The files of a backup are read once more before they are restored, unless they were read before
    /// and the bucket still lists the same names, sizes, ETags and times. Whoever writes a bucket of MinIO,
    /// among others, can choose all of them.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value_t,
        env = "VELERO_TRUST_LISTING",
        help_heading = "Policy"
    )]
    listing: Listing,

    #[command(flatten)]
    policy: PolicyOptions,

    #[command(flatten)]
    common_roots: RootArgs,

    /// How long a CA stays in a bundle after the last BackupStorageLocation stops naming it, such as
    /// `7d` or `12h`
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "7d",
        value_parser = parse::duration,
        env = "VELERO_TRUST_RETENTION",
        help_heading = "Bundle"
    )]
    retention: Duration,

    /// Whether to record backups that were complete before velero-trust saw them
    ///
    /// Each of their files is read once from the bucket, the newest backup first. Backups that complete
    /// later are always recorded, once `manifests/crds` is installed.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "on",
        env = "VELERO_TRUST_RECORD_EXISTING",
        help_heading = "Records"
    )]
    record_existing: Switch,

    /// Whether to ask Velero for the tarball of a backup whose bucket velero-trust may not read
    ///
    /// Where the store refuses it, or the credentials are of a kind that velero-trust cannot use, Velero signs a URL
    /// for the tarball (a DownloadRequest). Such a record says `TarballOnly`: there is no list of the files, and
    /// nothing is signed. A Restore of such a backup is denied without `--accept-partial`.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "on",
        env = "VELERO_TRUST_DOWNLOAD_REQUESTS",
        help_heading = "Records"
    )]
    download_requests: Switch,

    /// The type of the key that signs backups, if there is none yet
    ///
    /// A key that the Secret velero-trust-signing-key has already is used, whatever its type. Keys of both
    /// types verify what they signed.
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        default_value_t,
        env = "VELERO_TRUST_KEY_TYPE",
        help_heading = "Records"
    )]
    key_type: KeyType,

    /// How long the record of a backup is kept after the backup went away, such as `90d`
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "90d",
        value_parser = parse::duration,
        env = "VELERO_TRUST_RECORD_RETENTION",
        help_heading = "Records"
    )]
    record_retention: Duration,

    /// Which endpoints of BackupStorageLocations to probe
    ///
    /// A probe is a TLS handshake with the endpoint. The certificate that the endpoint presents is
    /// verified against the bundle of the namespace. With `off`, no namespace can be held.
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value = "on",
        env = "VELERO_TRUST_PROBE",
        help_heading = "Bundle"
    )]
    probe: Probe,

    /// Namespace for the Lease and the stored state of velero-trust [default: the namespace of the
    /// Pod or of the kubeconfig context]
    #[arg(
        long,
        short,
        value_name = "NAMESPACE",
        value_parser = parse::namespace,
        env = "VELERO_TRUST_NAMESPACE"
    )]
    namespace: Option<String>,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Log format: `text` or `json`
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_LOG_FORMAT",
        help_heading = "Log"
    )]
    log_format: Format,

    /// Log filter, such as `info` or `velero_trust=debug`
    #[arg(
        long,
        value_name = "FILTER",
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
        match runtime()?.block_on(self.serve()) {
            Ok(()) => Ok(exit::CLEAN),
            // A reader of JSON lines understands no other.
            Err(error) if self.log_format == Format::Json => {
                tracing::error!(error = describe(&error), "the server ends");
                Ok(exit::ERROR)
            }
            Err(error) => Err(error),
        }
    }
}
