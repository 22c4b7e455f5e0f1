//! The cluster that trials share, and the velero-trust that is installed in it.

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Failed, Trial};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::failure;
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// Time limit for a change of the leader, which takes as long as a Lease lasts.
const LEADERSHIP: Duration = Duration::from_mins(1);

/// Returns the program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_velero-trust"))
}

/// Runs `kubectl apply` on all manifests, for servers that issue their own certificates, and reach the API server by
/// the URL `server` if it is given.
pub(crate) fn applied(cluster: &Cluster, server: Option<&str>) -> Result<Installer> {
    let installer = Installer::new(cluster, binary(), installer::NAMESPACE)?;
    let installer = installer.issuing().whole();
    let installer = match server {
        Some(url) => installer.with_server(url),
        None => installer,
    };
    // The right to read its Secrets is among the manifests.
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    installer.apply()?;
    Ok(installer)
}

/// Waits until `replica` is ready, for at most `limit`.
pub(crate) fn is_ready(replica: &Webhook, limit: Duration) -> Result<()> {
    wait::poll("the replica to be ready", limit, || {
        let answer = replica.readiness()?;
        ensure!(answer.ends_with("\nready\n"), "{answer}");
        Ok(())
    })
    .with_context(|| replica.log())
}

/// Waits until `replica` leads.
pub(crate) fn leads(replica: &Webhook) -> Result<()> {
    wait::poll("the replica to lead", LEADERSHIP, || {
        ensure!(
            replica.metrics()?.contains("velero_trust_leader 1"),
            "not yet"
        );
        Ok(())
    })
    .with_context(|| replica.log())
}

/// The shared cluster. The first trial that needs it starts it, so that `--list` and filters start
/// nothing.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Servers>);

/// The fields are dropped in this order: the webhook before the API server that it watches.
#[derive(Default)]
struct Servers {
    installation: OnceLock<Result<Installation, String>>,
    cluster: OnceLock<Result<Cluster, String>>,
}

impl Shared {
    /// Returns a trial on the shared cluster, in which velero-trust may or may not be installed.
    pub(crate) fn trial(&self, name: &str, run: fn(&Cluster) -> Result<()>) -> Trial {
        let shared = self.clone();
        told(name, move || {
            let cluster = shared.cluster()?;
            run(cluster).map_err(|error| failure::tell(&error, &cluster.tails()))
        })
    }

    /// Returns a trial on the shared cluster with velero-trust installed and active. The trial must
    /// neither stop nor reconfigure it, because other trials use it at the same time.
    pub(crate) fn installed(
        &self,
        name: &str,
        run: impl FnOnce(&Cluster, &Installation) -> Result<()> + Send + 'static,
    ) -> Trial {
        let shared = self.clone();
        told(name, move || {
            let cluster = shared.cluster()?;
            let installation = &shared.0.installation;
            let installation = installation.get_or_init(|| install(cluster));
            let installation = installation.as_ref().map_err(Clone::clone)?;
            let logs = || [cluster.tails(), vec![installation.webhook.tail()]].concat();
            run(cluster, installation).map_err(|error| failure::tell(&error, &logs()))
        })
    }

    fn cluster(&self) -> Result<&Cluster, String> {
        let cluster = self.0.cluster.get_or_init(start).as_ref();
        cluster.map_err(Clone::clone)
    }
}

/// Returns a trial that starts the servers it needs itself.
pub(crate) fn alone(name: &str, run: fn() -> Result<()>) -> Trial {
    told(name, move || {
        run().map_err(|error| failure::tell(&error, &[]))
    })
}

/// Returns a trial whose failure message includes the logs of the servers that ended with it.
pub(crate) fn told(name: &str, run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        failure::begin();
        run().map_err(Failed::from)
    })
}

fn start() -> Result<Cluster, String> {
    let started = Instant::now();
    let cluster = Cluster::start().context("the cluster did not start");
    let cluster = cluster.map_err(|error| failure::tell(&error, &[]));
    eprintln!(
        "the shared cluster took {:.1} s to start",
        started.elapsed().as_secs_f64()
    );
    cluster
}

fn install(cluster: &Cluster) -> Result<Installation, String> {
    let install = || {
        // For the trials with the real Velero in this namespace, whose locations reference Secrets.
        let velero = format!(
            r#"{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{VELERO_NAMESPACE}"}}}}"#
        );
        cluster.kubectl().apply(&velero)?;
        Installer::new(cluster, binary(), installer::NAMESPACE)?.install()
    };
    let installation = install().context("velero-trust was not installed");
    installation.map_err(|error| failure::tell(&error, &cluster.tails()))
}
