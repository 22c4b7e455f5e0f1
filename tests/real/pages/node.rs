//! Does what a node would do with the Pods of Velero and of velero-trust: no kubelet runs, so their servers are
//! processes here. They begin when their Pods are there, and end with them.

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer};
use velero_trust_testing::velero::Velero;
use velero_trust_testing::webhook::Webhook;

/// Time between two looks at the Pods.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The Pods of Velero's server, and of ours.
const VELERO_PODS: &str = "deploy=velero";
const OUR_PODS: &str = "app.kubernetes.io/component=webhook";

/// The node of a cluster, until it is dropped.
pub(super) struct Node {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Node {
    pub(super) fn start(cluster: &Arc<Cluster>, installer: &Arc<Installer>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let mut servers = Servers {
            cluster: Arc::clone(cluster),
            installer: Arc::clone(installer),
            velero: None,
            ours: None,
        };
        let thread = thread::spawn(move || {
            let mut last = String::new();
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // What is not there yet may come.
                last = match servers.tend() {
                    Ok(()) => String::new(),
                    Err(error) => format!("the node: {error:#}\n"),
                };
            }
            let mut logs = servers.logs();
            logs.push(last);
            logs
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Ends the servers, and returns the ends of their logs.
    pub(super) fn end(&mut self) -> Vec<String> {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server, and the revision of the Deployment whose Pod it is.
struct Running<T> {
    revision: String,
    server: T,
}

/// The servers are dropped before the API server that they use.
struct Servers {
    velero: Option<Running<Velero>>,
    ours: Option<Running<Webhook>>,
    installer: Arc<Installer>,
    cluster: Arc<Cluster>,
}

impl Servers {
    fn tend(&mut self) -> Result<()> {
        let ours = self.tend_ours();
        self.tend_velero().and(ours)
    }

    fn tend_velero(&mut self) -> Result<()> {
        let pods = self.pods(VELERO_NAMESPACE, VELERO_PODS)?;
        let revision = newest_revision(&pods);
        if self.velero.as_ref().map(|running| &running.revision) != revision.as_ref() {
            self.velero = None;
            let Some(revision) = revision else {
                return Ok(());
            };
            let server = self.cluster.start_velero(VELERO_NAMESPACE, &[])?;
            self.velero = Some(Running { revision, server });
        }
        self.report_ready(&pods)
    }

    fn tend_ours(&mut self) -> Result<()> {
        let pods = self.pods(installer::NAMESPACE, OUR_PODS)?;
        let revision = newest_revision(&pods);
        if self.ours.as_ref().map(|running| &running.revision) != revision.as_ref() {
            self.ours = None;
            let Some(revision) = revision else {
                return Ok(());
            };
            let server = self.installer.serve(&[])?;
            self.ours = Some(Running { revision, server });
        }
        self.report_ready(&pods)
    }

    /// Returns the Pods that are not being deleted.
    fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
        let pods = Api::<Pod>::namespaced(self.cluster.client(), namespace);
        let params = ListParams::default().labels(labels);
        let mut pods = self.cluster.block_on(pods.list(&params))?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    fn report_ready(&self, pods: &[Pod]) -> Result<()> {
        for pod in pods {
            let status = pod.status.as_ref();
            if status.and_then(|status| status.phase.as_deref()) == Some("Running") {
                continue;
            }
            let namespace = pod.namespace().context("a Pod without a namespace")?;
            let api = Api::<Pod>::namespaced(self.cluster.client(), &namespace);
            let condition = json!({"type": "Ready", "status": "True"});
            let status = json!({"status": {"phase": "Running", "conditions": [condition]}});
            let (name, patch) = (pod.name_any(), Patch::Strategic(&status));
            let patched = async {
                api.patch_status(&name, &PatchParams::default(), &patch)
                    .await
            };
            let patched = self.cluster.block_on(patched);
            patched.map_err(|error| anyhow!("{name}: {error}"))?;
        }
        Ok(())
    }

    fn logs(&self) -> Vec<String> {
        let velero = self.velero.as_ref().map(|running| running.server.tail());
        let ours = self.ours.as_ref().map(|running| running.server.tail());
        velero.into_iter().chain(ours).collect()
    }
}

/// Returns the owner of the newest Pod, which is another one after each change of the Deployment.
fn newest_revision(pods: &[Pod]) -> Option<String> {
    let created = |pod: &&Pod| pod.metadata.creation_timestamp.clone().map(|time| time.0);
    let newest = pods.iter().max_by_key(created)?;
    let owner = newest.owner_references().first()?;
    Some(owner.uid.clone())
}
