//! What Velero's server does itself and not through its plugin: it looks up the region of a bucket
//! whose location sets none, and creates kopia's repositories.

use super::scene::{AWS_CA_BUNDLE, LOCATION, Scene, all, only};
use super::{PATIENCE, UNKNOWN, location_is};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use velero_trust_testing::cluster::{BUCKET, Cluster};
use velero_trust_testing::minio::REGION;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// A location that sets neither region nor URL, and the repository in it.
const NO_REGION: &str = "without-region";

/// A location with a CA that is not MinIO's.
const OTHER_CA: &str = "other-ca";

/// The variable that operators set in Velero's Deployment for an endpoint other than Amazon's.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";

pub(super) fn trusts_it(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let namespace = &scene.namespace;
    let minio = cluster.minio()?;
    let (mut location, secret) = minio.location_with_ca(namespace, NO_REGION, BUCKET);
    let less = json!({"region": null, "s3Url": null, "s3ForcePathStyle": null});
    merge(&mut location, &json!({"spec": {"config": less}}));
    let (other, mut others_secret) = minio.location_with_ca(namespace, OTHER_CA, BUCKET);
    others_secret["stringData"]["ca.crt"] = Authority::new("of another store")?.pem().into();
    for object in [secret, location, others_secret, other] {
        cluster.kubectl().apply(&object.to_string())?;
    }
    let template = [(ENDPOINT, minio.url.as_str())];
    let with = |injected: Vec<_>, check: fn(&Cluster, &str) -> Result<()>| {
        let environment = [&template[..], &injected].concat();
        let server = cluster.start_velero(namespace, &environment)?;
        check(cluster, namespace).with_context(|| server.tail())
    };
    with(Vec::new(), |cluster, namespace| {
        // The plugin reaches MinIO with the CA of the location, which Velero's own client does not
        // use.
        location_is(cluster, namespace, NO_REGION, "Available")?;
        let reason = format!("failed to detect the region via bucket: {BUCKET}");
        repository(cluster, namespace, (NO_REGION, "restic"), |repository| {
            failed(repository, &reason)
        })?;
        no_kopia(cluster, namespace, LOCATION)
    })
    .context("without us")?;
    with(only(AWS_CA_BUNDLE, &scene.server), |cluster, namespace| {
        location_is(cluster, namespace, LOCATION, "Available")?;
        region_is_found(cluster, namespace)?;
        no_kopia(cluster, namespace, LOCATION)
    })
    .context("with AWS_CA_BUNDLE alone")?;
    with(all(&scene.server), |cluster, namespace| {
        region_is_found(cluster, namespace)?;
        repository(cluster, namespace, (LOCATION, "kopia"), |repository| {
            ensure!(repository["status"]["phase"] == "Ready", "{repository}");
            Ok(())
        })?;
        // The plugin trusts the CA of the location and the bundle. kopia trusts only the CA of the
        // location.
        location_is(cluster, namespace, OTHER_CA, "Available")?;
        no_kopia(cluster, namespace, OTHER_CA)
    })
    .context("with both")
}

/// Checks that the region was looked up in MinIO: Amazon has no such region.
fn region_is_found(cluster: &Cluster, namespace: &str) -> Result<()> {
    let identifier = format!("s3:s3-{REGION}.amazonaws.com/{BUCKET}/restic/{namespace}");
    repository(cluster, namespace, (NO_REGION, "restic"), |repository| {
        let found = &repository["spec"]["resticIdentifier"];
        ensure!(*found == identifier.as_str(), "{repository}");
        Ok(())
    })
}

fn no_kopia(cluster: &Cluster, namespace: &str, location: &str) -> Result<()> {
    repository(cluster, namespace, (location, "kopia"), |repository| {
        failed(repository, "error to check backup repo")
    })
}

/// Fails unless the repository could not be created because the CA is unknown.
fn failed(repository: &Value, reason: &str) -> Result<()> {
    let message = &repository["status"]["message"];
    let message = message.as_str().context("it has no message")?;
    ensure!(
        message.contains(reason) && message.contains(UNKNOWN),
        "it failed for another reason: {message}"
    );
    Ok(())
}

/// Creates a repository in a location, and deletes it once `done` accepts what Velero made of it.
/// For the region look-up it is a restic repository, whose object contains the region that was
/// found.
fn repository(
    cluster: &Cluster,
    namespace: &str,
    (location, kind): (&str, &str),
    done: impl Fn(&Value) -> Result<()>,
) -> Result<()> {
    let kubectl = cluster.kubectl();
    let at = ["backuprepository", location, "-n", namespace];
    let object = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupRepository",
        "metadata": {"name": location, "namespace": namespace},
        "spec": {
            "backupStorageLocation": location,
            "volumeNamespace": namespace,
            "repositoryType": kind,
            "resticIdentifier": "",
            "maintenanceFrequency": "1h",
        },
    });
    kubectl.apply(&object.to_string())?;
    let what = format!("Velero to look at the repository of {kind}");
    wait::poll(&what, PATIENCE, || done(&kubectl.get(&at)?))?;
    // Velero maintains a repository that it finds when it starts, and would wait for a Job that no
    // node runs.
    kubectl.ok(&[&["delete"], &at[..]].concat())?;
    Ok(())
}
