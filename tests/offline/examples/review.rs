//! Reviews of the examples, answered by a server on loopback.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use velero_trust::sources::objects::Objects;

use crate::rig::{Plan, Rig};

/// Sends the creation of `object` to the webhook, which sees `cluster` as the cluster. Returns the
/// `response` of the review.
pub(super) async fn create(object: &Value, cluster: &str) -> Value {
    let mut objects = Objects::default();
    objects.add(Path::new("cluster.yaml"), cluster).unwrap();
    let rig = Rig::start(Plan {
        source: Arc::new(objects),
        ..Plan::default()
    })
    .await;
    let (group, path, resource) = match object["kind"].as_str() {
        Some("BackupStorageLocation") => (
            "velero.io",
            "/validate/backupstoragelocations",
            "backupstoragelocations",
        ),
        Some("Restore") => ("velero.io", "/validate/restores", "restores"),
        Some("Pod") => ("", "/mutate/pods", "pods"),
        kind => panic!("no webhook for {kind:?}"),
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "kind": {"group": group, "version": "v1", "kind": object["kind"]},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": object,
        },
    });
    let mut client = rig.client().await;
    let answer = client.review(path, &review.to_string()).await.unwrap();
    assert_eq!(answer.code, 200, "{answer:?}");
    answer.json()["response"].clone()
}

/// Returns a Pod as the controllers create it from a template.
pub(super) fn pod(template: &Value) -> Value {
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("p");
    pod["metadata"]["namespace"] = json!("velero");
    pod
}

/// Returns the Pod of Velero's server as `velero install` creates it.
pub(super) fn server() -> Value {
    let text = fs::read_to_string("tests/pods/server-install.yaml").unwrap();
    serde_saphyr::from_str(&text).unwrap()
}
