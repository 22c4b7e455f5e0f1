//! The tasks of a server: the webhook and, in a cluster, the controllers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Serve;
use super::certificates::{CertificateMode, InCluster};
use super::switch::Switch;
use crate::ca::serving_certificate::ServingCertificate;
use crate::cli::restores;
use crate::cli::stdout::Stdout;
use crate::controllers::{
    BuildPermits, ControllerContext, EvaluationQuota, RecorderSettings, Settings, leader, removal,
};
use crate::decision::{Policy, RestoresMode};
use crate::dial::Proxies;
use crate::kubernetes::client::Clients;
use crate::kubernetes::events::Events;
use crate::kubernetes::serving_ca::ServingCaHandle;
use crate::names;
use crate::serving::certificates::{self, CertificateSender, Files as CertificateFiles};
use crate::serving::drain::{Phase, Stopping};
use crate::serving::{Caps, Condition, Drain, Server, Task, Timeouts, descriptors, drain};
use crate::sources::Source;
use crate::sources::cluster::{BackupFiles, Cluster};
use crate::sources::files::Files;
use crate::sources::limited::LimitedCluster;
use crate::telemetry::{Format, Metrics};

/// Interval at which the certificate files are read again. This is cheap, and it detects changes
/// that a file watch misses in a Secret volume, where the kubelet swaps a symbolic link next to the
/// file.
const CERTIFICATE_POLL: Duration = Duration::from_secs(10);

/// Shortest interval between two checks of the objects folder for changes.
const OBJECTS_POLL: Duration = Duration::from_millis(500);

/// What reviews are decided with.
struct Sources {
    source: Arc<dyn Source>,
    policy: Arc<Policy>,
    /// The conditions for readiness.
    conditions: Vec<Condition>,
}

impl Serve {
    /// Runs the server until a signal stops it.
    pub(super) async fn serve(&self) -> anyhow::Result<()> {
        let caps = caps();
        let stopping = drain::signals().context("cannot listen for signals")?;
        let mut policy = self.policy.policy(RestoresMode::default())?;
        restores::apply(&self.restores, &mut policy)?;
        policy.records_existing = self.record_existing == Switch::On;
        policy.accepts_partial = self.accept_partial;
        let metrics = Arc::new(Metrics::default());

        let (sender, tls) = certificates::channel(Arc::clone(&metrics));
        let certificate = sender.certificate();
        let mut tasks = Vec::new();
        let own_ca = match self.certificate_mode()? {
            CertificateMode::Own => Some((sender, ServingCaHandle::default())),
            CertificateMode::Files => {
                let files = CertificateFiles::new(&self.tls_cert, &self.tls_key)
                    .with_client_ca(self.client_ca.clone());
                let first = files.load()?;
                sender.publish(&first);
                tasks.push(Task::new(
                    "certificate files",
                    files.follow(first, sender, CERTIFICATE_POLL),
                ));
                None
            }
        };
        let draining = stopping.clone();
        let Sources {
            source,
            policy,
            conditions,
        } = self
            .source(&mut tasks, policy, &metrics, certificate, own_ca, draining)
            .await?;

        let admission = bind(self.listen).await?;
        let ops = bind(self.ops_listen).await?;
        // In one write: a reader of the first line also gets the second.
        let webhook = format!("https://{}", admission.local_addr()?);
        let health = format!("http://{}", ops.local_addr()?);
        let addresses = match self.log_format {
            Format::Text => format!("listening on {webhook}\nops on {health}\n"),
            Format::Json => {
                let line = json!({"message": "listening", "webhook": webhook, "ops": health});
                format!("{line}\n")
            }
        };
        Stdout::ignore_when_closed().write_all(addresses.as_bytes())?;

        crate::serving::run(Server {
            admission,
            ops,
            tls,
            source,
            policy,
            metrics,
            stopping,
            conditions,
            tasks,
            timeouts: Timeouts::default(),
            caps,
            drain: Drain::default(),
        })
        .await?;
        Ok(())
    }

    /// Returns the source of facts, and the policy with our own namespace. With a cluster, also adds
    /// the tasks that maintain the bundles.
    async fn source(
        &self,
        tasks: &mut Vec<Task>,
        mut policy: Policy,
        metrics: &Arc<Metrics>,
        certificate: watch::Receiver<Option<ServingCertificate>>,
        own_ca: Option<(CertificateSender, ServingCaHandle)>,
        draining: Stopping,
    ) -> anyhow::Result<Sources> {
        if !self.objects.is_empty() {
            let files = Files::open(self.objects.clone(), OBJECTS_POLL)?;
            for note in &files.objects().notes {
                tracing::info!("{note}");
            }
            if let Some(own) = &self.namespace {
                policy.own_namespace.clone_from(own);
            }
            // Nobody records what is in files.
            policy.records_existing = false;
            return Ok(Sources {
                source: Arc::new(files),
                policy: Arc::new(policy),
                conditions: Vec::new(),
            });
        }
        let roots = self.common_roots.roots();
        let first = roots.read()?;
        let Clients {
            admission,
            controllers: client,
            ..
        } = Clients::connect(&self.cluster.selection()).await?;
        let own = self.namespace.as_deref();
        let own = own.unwrap_or_else(|| client.default_namespace()).to_owned();
        policy.own_namespace.clone_from(&own);
        let policy = Arc::new(policy);
        let (sender, common_roots) = watch::channel(None);
        let denied = self.probe.never_dialled();
        let proxies = proxies();
        let listing = self.listing.into();
        let files = BackupFiles::new(admission.clone(), denied, proxies.clone(), listing);
        let files = Arc::new(files);
        let cluster = || {
            let (client, files) = (admission.clone(), Arc::clone(&files));
            Cluster::new(client, &own, common_roots.clone(), files)
        };
        let limited = LimitedCluster::new(cluster(), metrics.lookups_refused.clone());
        let source: Arc<dyn Source> = Arc::new(limited);
        tasks.push(Task::new(
            "roots",
            roots.follow(first, client.clone(), own.clone(), sender),
        ));
        let identity = identity();
        let handle = own_ca.as_ref().map(|(_, handle)| handle.clone());
        let in_cluster = InCluster {
            client: &client,
            own: &own,
            identity: &identity,
            metrics,
            certificate: &certificate,
        };
        let conditions = self.certificates_in_cluster(tasks, &in_cluster, own_ca);
        let removing = self.removing(tasks, &client, &own);
        let controllers = ControllerContext {
            source: Arc::new(cluster()),
            common_roots,
            certificate,
            policy: Arc::clone(&policy),
            metrics: Arc::clone(metrics),
            events: Events::new(client.clone(), &identity),
            permits: BuildPermits::default(),
            evaluations: EvaluationQuota::default(),
            client,
            lease: Clients::lease(&self.cluster.selection()).await?,
            settings: Settings {
                namespace: own,
                identity,
                retention: self.retention,
                probe: self.probe.denied_addresses(),
                proxies,
                activation: self.ca_source(handle.as_ref()),
                removing,
                serving_ca: handle,
                recorder: Some(RecorderSettings {
                    denied: self.probe.never_dialled(),
                    records_existing: self.record_existing == Switch::On,
                    download_requests: self.download_requests == Switch::On,
                    retention: self.record_retention,
                    key_type: self.key_type.algorithm(),
                }),
            },
        };
        let draining = async move { draining.reached(Phase::Draining).await };
        tasks.push(Task::new("controllers", leader::run(controllers, draining)));
        Ok(Sources {
            source,
            policy,
            conditions,
        })
    }

    /// Returns whether velero-trust is being removed. The task that follows it takes the rules from the webhooks
    /// then, unless they are made active by command.
    fn removing(&self, tasks: &mut Vec<Task>, client: &Client, own: &str) -> watch::Receiver<bool> {
        let (sender, removing) = watch::channel(false);
        if self.activation == Switch::On {
            let follow = removal::run(client.clone(), own.to_owned(), sender);
            tasks.push(Task::new("removal", follow));
        }
        removing
    }
}

/// Returns the size limits, with as many connections as there are descriptors for.
fn caps() -> Caps {
    let descriptors = descriptors::raise_limit();
    let (all, caps) = (Caps::default(), Caps::default().within(descriptors));
    if caps != all {
        tracing::warn!(
            descriptors,
            connections = caps.connections,
            "the hard limit of open files is low, so fewer connections are accepted than {}",
            all.connections
        );
    }
    caps
}

/// Returns the proxies of the environment, between this process and object stores.
fn proxies() -> Proxies {
    let proxies = Proxies::from_env();
    for variable in proxies.ignored() {
        tracing::warn!(
            variable,
            "this is no URL of a proxy, and is ignored, as Velero does"
        );
    }
    proxies
}

/// Returns the identity of this replica: the name of the Pod, so that a restarted container leads
/// again at once, or, outside of a Pod, a name that is unique to this process.
fn identity() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| {
        let unique = RandomState::new().build_hasher().finish();
        format!("{}-{unique:016x}", names::APP)
    })
}

/// Binds `address`. `[::]` accepts IPv4 as well. On a host without IPv6, it falls back to
/// `0.0.0.0`.
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
