//! `velero-trust serve`: the webhook.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use k8s_openapi::jiff;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::base::BaseOptions;
use super::out::Out;
use super::policy::{PolicyOptions, Restores};
use super::{exit, install_crypto_provider, parse, runtime};
use crate::ca::endpoint::Refused;
use crate::controllers::{Controllers, Settings, Turns, leader};
use crate::decision::Policy;
use crate::kubernetes::client::Clients;
use crate::kubernetes::events::Events;
use crate::names;
use crate::serving::certificates::{self, Files as CertificateFiles};
use crate::serving::{Caps, Drain, Server, Task, Timeouts, drain};
use crate::sources::Source;
use crate::sources::cluster::Cluster;
use crate::sources::files::Files;
use crate::telemetry::{self, Format, Metrics};

/// How often the certificate files are read again: cheap, and it sees what a watch on a Secret
/// volume misses, where kubelet swaps a link beside the file.
const CERTIFICATE_POLL: Duration = Duration::from_secs(10);

/// How often the objects folder is looked at for changes, at the most.
const OBJECTS_POLL: Duration = Duration::from_millis(500);

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
    base: BaseOptions,

    /// How long a CA stays in a bundle when nothing names it any more, such as `7d` or `12h`
    #[arg(
        long,
        value_name = "TIME",
        default_value = "7d",
        value_parser = duration,
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

    async fn serve(&self) -> anyhow::Result<()> {
        let stopping = drain::signals().context("cannot listen for signals")?;
        let policy = Arc::new(self.policy.policy(self.restores.into())?);
        let metrics = Arc::new(Metrics::default());

        let files = CertificateFiles::new(&self.tls_cert, &self.tls_key);
        let first = files.load()?;
        let (publisher, tls) = certificates::channel(&first, Arc::clone(&metrics));
        let mut tasks = vec![Task::new(
            "certificate files",
            files.follow(first, publisher, CERTIFICATE_POLL),
        )];
        let source = self.source(&mut tasks, &policy, &metrics).await?;

        let admission = bind(self.listen).await?;
        let ops = bind(self.ops_listen).await?;
        // In one piece: who reads the first line knows the second.
        let addresses = format!(
            "listening on https://{}\nops on http://{}\n",
            admission.local_addr()?,
            ops.local_addr()?
        );
        Out::of_work().write_all(addresses.as_bytes())?;

        crate::serving::run(Server {
            admission,
            ops,
            tls,
            source,
            policy,
            metrics,
            stopping,
            conditions: Vec::new(),
            tasks,
            timeouts: Timeouts::default(),
            caps: Caps::default(),
            drain: Drain::default(),
        })
        .await?;
        Ok(())
    }

    /// Where facts come from; in a cluster, the tasks that keep the bundles as well.
    async fn source(
        &self,
        tasks: &mut Vec<Task>,
        policy: &Arc<Policy>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Arc<dyn Source>> {
        if !self.objects.is_empty() {
            let files = Files::open(self.objects.clone(), OBJECTS_POLL)?;
            for note in &files.objects().notes {
                tracing::info!("{note}");
            }
            return Ok(Arc::new(files));
        }
        let roots = self.base.roots();
        let first = roots.read()?;
        let Clients {
            admission,
            controllers: client,
            ..
        } = Clients::connect().await?;
        let own = self.namespace.as_deref();
        let own = own.unwrap_or_else(|| client.default_namespace()).to_owned();
        let (sender, base) = watch::channel(None);
        let source: Arc<dyn Source> = Arc::new(Cluster::new(admission, base.clone()));
        tasks.push(Task::new(
            "roots",
            roots.follow(first, client.clone(), own.clone(), sender),
        ));
        let identity = identity();
        let controllers = Controllers {
            source: Arc::clone(&source),
            base,
            policy: Arc::clone(policy),
            metrics: Arc::clone(metrics),
            events: Events::new(client.clone(), &identity),
            turns: Turns::default(),
            client,
            settings: Settings {
                namespace: own,
                identity,
                retention: self.retention,
                probe: self.probe.refused(),
            },
        };
        tasks.push(Task::new("controllers", leader::run(controllers)));
        Ok(source)
    }
}

/// Which endpoints are looked at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Probe {
    /// All but those on addresses of the machine itself and of metadata services
    On,
    /// On addresses of the machine itself too; for a cluster on one machine
    Loopback,
    /// None
    Off,
}

impl Probe {
    /// The addresses that are not dialled; none when nothing is looked at.
    fn refused(self) -> Option<Refused> {
        let api_server = std::env::var("KUBERNETES_SERVICE_HOST").ok();
        let refused = Refused::in_cluster(api_server.and_then(|address| address.parse().ok()));
        match self {
            Self::On => Some(refused),
            Self::Loopback => Some(refused.allowing_loopback()),
            Self::Off => None,
        }
    }
}

/// Who we are among the replicas: the name of the Pod, so that a container that starts again leads
/// at once; elsewhere something that no other process has.
fn identity() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| {
        let unique = RandomState::new().build_hasher().finish();
        format!("{}-{unique:016x}", names::APP)
    })
}

/// A time such as `7d` or `12h 30m`; a day is 24 hours.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |error: jiff::Error| format!("{error}; say something like `7d` or `12h`");
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let duration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(wrong)?;
    Duration::try_from(duration).map_err(|_| "a time cannot be negative".to_owned())
}

/// Binds `address`. `[::]` takes IPv4 as well; where the host has no IPv6, `0.0.0.0` serves.
async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let bound = match bound {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("cannot listen on {address}"))
}
