//! The objects in the cluster.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use velero_trust::kubernetes::location;
use velero_trust_testing::pki::Authority;

/// Number of Velero namespaces.
pub(super) const NAMESPACES: usize = 20;

/// Number of objects that are created concurrently.
const AT_ONCE: usize = 16;

/// A location: the number of its namespace, and its number in the namespace.
pub(super) type Place = (usize, usize);

/// The certificate of a new CA.
pub(super) struct Ca(pub(super) String);

impl Ca {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Authority::new("perf")?.pem()))
    }

    /// Returns the last full line of the certificate, which identifies it in a PEM text.
    pub(super) fn mark(&self) -> &str {
        let mut lines = self.0.lines().rev();
        lines.find(|line| line.len() == 64).unwrap_or(&self.0)
    }
}

pub(super) fn namespace(number: usize) -> String {
    format!("velero-{number:02}")
}

pub(super) fn namespaces() -> impl Iterator<Item = String> {
    (0..NAMESPACES).map(namespace)
}

fn name((_, number): Place) -> String {
    format!("location-{number:02}")
}

/// Creates the Velero namespaces.
pub(super) async fn create_namespaces(client: &Client) -> Result<()> {
    let api = Api::<Namespace>::all(client.clone());
    for name in namespaces() {
        let namespace = json!({"metadata": {"name": name}});
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?)
            .await?;
    }
    Ok(())
}

/// Creates locations with the phase Available, each with its own CA in a Secret with the same name.
pub(super) async fn create_locations(
    client: &Client,
    places: Vec<Place>,
    store: &str,
) -> Result<()> {
    let made = stream::iter(places).map(|place| async move {
        create_secret(client, place.0, &name(place), &Ca::new()?).await?;
        let location = json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": name(place)},
            "spec": {
                "provider": "aws",
                "objectStorage": {
                    "bucket": "backups",
                    "caCertRef": {"name": name(place), "key": "ca.crt"},
                },
                "config": {"region": "minio", "s3ForcePathStyle": "true", "s3Url": store},
                "validationFrequency": "1m0s",
            },
            "status": {"phase": "Available"},
        });
        let locations = location::in_namespace(client, &namespace(place.0));
        let params = PostParams::default();
        locations
            .create(&params, &serde_json::from_value(location)?)
            .await?;
        anyhow::Ok(())
    });
    made.buffer_unordered(AT_ONCE).try_collect().await
}

/// Creates a Secret with a CA in the namespace with this number.
pub(super) async fn create_secret(
    client: &Client,
    number: usize,
    name: &str,
    ca: &Ca,
) -> Result<()> {
    let secret = json!({"metadata": {"name": name}, "stringData": {"ca.crt": ca.0}});
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace(number));
    let params = PostParams::default();
    secrets
        .create(&params, &serde_json::from_value(secret)?)
        .await?;
    Ok(())
}

/// Writes `ca` into the Secret that a location named first.
pub(super) async fn replace(client: &Client, place: Place, ca: &Ca) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace(place.0));
    let patch = json!({"stringData": {"ca.crt": ca.0}});
    let params = PatchParams::default();
    secrets
        .patch(&name(place), &params, &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Changes a location to name another Secret.
pub(super) async fn refer(client: &Client, place: Place, secret: &str) -> Result<()> {
    let storage = json!({"caCertRef": {"name": secret}});
    patch(client, place, &json!({"spec": {"objectStorage": storage}})).await
}

/// Writes a time into the status, as Velero does.
pub(super) async fn tick(client: &Client, place: Place, field: &str, time: &str) -> Result<()> {
    patch(client, place, &json!({"status": {field: time}})).await
}

async fn patch(client: &Client, place: Place, patch: &Value) -> Result<()> {
    let locations: Api<DynamicObject> = location::in_namespace(client, &namespace(place.0));
    let params = PatchParams::default();
    locations
        .patch(&name(place), &params, &Patch::Merge(patch))
        .await?;
    Ok(())
}
