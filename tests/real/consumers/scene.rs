//! Velero in a namespace of the shared cluster, installed after velero-trust, and what was injected
//! into its Pods.

use crate::{bundle, pods};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{BUCKET, Cluster};
use velero_trust_testing::kubelet::Injected;
use velero_trust_testing::{installer, wait};

pub(super) const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
pub(super) const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The location. Only our annotation names its CA.
pub(super) const LOCATION: &str = "default";

/// What was injected into the Pods that the controllers created.
pub(super) struct Scene {
    pub(super) namespace: String,
    pub(super) server: Injected,
    pub(super) node_agent: Injected,
    /// The DaemonSet of Velero before 1.10.
    pub(super) restic: Injected,
}

impl Scene {
    /// Installs Velero with one location.
    pub(super) fn make(cluster: &Cluster) -> Result<Self> {
        let namespace = cluster.namespace("consumers")?;
        let kubectl = cluster.kubectl();
        installer::bind(kubectl, &namespace)?;
        let minio = cluster.minio()?;
        let (location, secret) = minio.location_by_annotation(&namespace, LOCATION, BUCKET);
        for object in [secret, location] {
            kubectl.apply(&object.to_string())?;
        }
        bundle::holds(kubectl, &namespace, &minio.authority.pem())?;
        cluster.install_velero(&namespace, &[])?;
        kubectl.apply(&restic_daemon_set(&namespace)?.to_string())?;
        let injected = |owner, container| injected(kubectl, &namespace, owner, container);
        Ok(Self {
            server: injected(("deployment", "velero"), "velero")?,
            node_agent: injected(("daemonset", "node-agent"), "node-agent")?,
            restic: injected(("daemonset", "restic"), "restic")?,
            namespace,
        })
    }
}

/// Returns the DaemonSet of the Pod in `tests/pods`, as `velero install --use-restic` creates it.
fn restic_daemon_set(namespace: &str) -> Result<Value> {
    let mut pod = pods::one("restic-install", namespace)?;
    let labels = json!({"component": "velero", "name": "restic"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod["spec"].take()});
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "restic", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }))
}

/// Returns what was injected into the newest Pod of `owner`. Fails unless it has both variables and
/// the volume.
pub(super) fn injected(
    kubectl: &Cli,
    namespace: &str,
    owner: (&str, &str),
    container: &str,
) -> Result<Injected> {
    let what = format!("a Pod of {owner:?}");
    let injected = wait::poll(&what, wait::PATIENCE, || {
        Injected::of_newest(kubectl, namespace, owner, container)
    })?;
    let variables = injected.variables.iter();
    let variables: Vec<_> = variables.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    ensure!(
        variables == pods::VARIABLES && injected.mounts.contains_key(pods::MOUNT),
        "{what} was given {injected:?}"
    );
    Ok(injected)
}

/// Returns the injected variables.
pub(super) fn all(injected: &Injected) -> Vec<(&str, &str)> {
    let variables = injected.environment.iter();
    variables
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Returns one of the injected variables.
pub(super) fn only<'a>(name: &str, injected: &'a Injected) -> Vec<(&'a str, &'a str)> {
    let mut variables = all(injected);
    variables.retain(|(variable, _)| *variable == name);
    variables
}
