//! The bundle that is published to the namespaces of BackupStorageLocations.

use crate::shared::Shared;
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installation};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;
pub(crate) use velero_trust_testing::wait::PATIENCE;

pub(crate) const BUNDLE: &str = "velero-trust-ca";

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed("bundle::follows_locations_and_their_secrets", follows),
        shared.installed("bundle::is_not_written_for_a_status", not_for_a_status),
    ]
}

fn follows(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("bundle")?;
    installer::bind(cluster.kubectl(), &namespace)?;
    let [first, second] = [
        Authority::new("first")?.pem(),
        Authority::new("second")?.pem(),
    ];
    secret(cluster.kubectl(), &namespace, &first)?;
    location(cluster.kubectl(), &namespace)?;
    let bundle =
        holds(cluster.kubectl(), &namespace, &first).context("after the location was made")?;
    let count = bundle.matches("-----BEGIN CERTIFICATE-----").count();
    ensure!(
        count > 100,
        "with the public roots it has {count} certificates only"
    );

    secret(cluster.kubectl(), &namespace, &second)?;
    holds(cluster.kubectl(), &namespace, &second).context("after its Secret was changed")?;

    // A Secret that becomes invalid does not remove its CA from the bundle.
    secret(cluster.kubectl(), &namespace, "nonsense")?;
    let third = Authority::new("third")?.pem();
    let other = location_with(&namespace, "other", &third);
    cluster.kubectl().apply(&other.to_string())?;
    let bundle =
        holds(cluster.kubectl(), &namespace, &third).context("after a second location was made")?;
    ensure!(
        squeezed(&bundle).contains(&squeezed(&second)),
        "the last good CA is gone"
    );
    Ok(())
}

/// Velero writes the status of every location once a minute. This must not trigger a write of the
/// bundle.
fn not_for_a_status(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = cluster.namespace("status")?;
    installer::bind(cluster.kubectl(), &namespace)?;
    let [first, second] = [
        Authority::new("first")?.pem(),
        Authority::new("second")?.pem(),
    ];
    secret(cluster.kubectl(), &namespace, &first)?;
    location(cluster.kubectl(), &namespace)?;
    holds(cluster.kubectl(), &namespace, &first)?;
    let map = cluster
        .kubectl()
        .get(&["configmap", BUNDLE, "-n", &namespace])?;
    let version = map["metadata"]["resourceVersion"]
        .as_str()
        .context("no version")?;

    for minute in 0..3 {
        let time = format!("2026-01-01T00:{minute:02}:00Z");
        let status = json!({"status": {"phase": "Available", "lastValidationTime": time}});
        cluster.kubectl().ok(&[
            "patch",
            "backupstoragelocation",
            "minio",
            "-n",
            &namespace,
            "--type=merge",
            "--patch",
            &status.to_string(),
        ])?;
    }
    // A relevant change: the write that follows must be the first one since then.
    secret(cluster.kubectl(), &namespace, &second)?;
    let next = cluster.block_on(async {
        let maps = Api::<ConfigMap>::namespaced(cluster.client(), &namespace);
        let params = WatchParams::default().fields(&format!("metadata.name={BUNDLE}"));
        let mut events = maps.watch(&params, version).await?.boxed();
        let event = tokio::time::timeout(PATIENCE, events.try_next());
        anyhow::Ok(
            event
                .await
                .context("the bundle was not written any more")??,
        )
    })?;
    let Some(WatchEvent::Modified(map)) = next else {
        anyhow::bail!("this happened to the bundle: {next:?}");
    };
    let text = map.data.and_then(|mut data| data.remove("ca-bundle.crt"));
    let text = text.context("no bundle in it")?;
    ensure!(
        squeezed(&text).contains(&squeezed(&second)),
        "it was written for a status"
    );

    // A write without a change leaves no trace in the ConfigMap, but it does in the log.
    let hash = map.metadata.annotations.unwrap_or_default();
    let hash = hash.get("velero-trust.io/bundle-hash").context("no hash")?;
    let published = wait::poll("the log to tell of the bundle", PATIENCE, || {
        let events = installation.webhook.events("bundle published");
        let here = events
            .into_iter()
            .filter(|event| event["namespace"] == namespace.as_str());
        let here: Vec<_> = here.collect();
        ensure!(
            here.last()
                .is_some_and(|last| last["hash"] == hash.as_str()),
            "{here:?}"
        );
        Ok(here)
    })?;
    ensure!(published.len() == 2, "one for each content: {published:?}");
    Ok(())
}

/// Waits until the bundle of `namespace` holds a certificate, and returns the bundle.
pub(crate) fn holds(kubectl: &Cli, namespace: &str, pem: &str) -> Result<String> {
    wait::poll("the bundle to hold the CA", PATIENCE, || {
        let map = kubectl.get(&["configmap", BUNDLE, "-n", namespace])?;
        let text = map["data"]["ca-bundle.crt"]
            .as_str()
            .context("no bundle in it")?;
        ensure!(
            squeezed(text).contains(&squeezed(pem)),
            "it does not, and is this: {}",
            map["metadata"]["annotations"]
        );
        Ok(text.to_owned())
    })
}

/// Returns PEM without line breaks, which may differ.
pub(crate) fn squeezed(pem: &str) -> String {
    pem.split_whitespace().collect()
}

fn encoded(text: &str) -> Value {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).unwrap_or_default()
}

pub(crate) fn secret(kubectl: &Cli, namespace: &str, content: &str) -> Result<()> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": "ca"},
        "stringData": {"ca.crt": content},
    });
    kubectl.apply(&object.to_string())?;
    Ok(())
}

pub(crate) fn location(kubectl: &Cli, namespace: &str) -> Result<()> {
    kubectl.apply(&location_at(namespace, "minio").to_string())?;
    Ok(())
}

pub(crate) fn location_at(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
            "config": {"region": "minio", "s3Url": "https://127.0.0.1:1"},
        },
    })
}

/// Returns a location with an inline CA.
pub(crate) fn location_with(namespace: &str, name: &str, pem: &str) -> Value {
    let mut location = location_at(namespace, name);
    location["spec"]["objectStorage"] = json!({"bucket": "b", "caCert": encoded(pem)});
    location
}
