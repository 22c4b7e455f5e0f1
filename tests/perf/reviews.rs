//! The measured reviews, and the objects that they need.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

pub(super) const LOCATIONS: &str = "/validate/backupstoragelocations";
pub(super) const PODS: &str = "/mutate/pods";

/// Returns the objects in memory: a Secret with one CA, a Secret with several CAs, and the bundle.
pub(super) fn objects(ca: &str, cas: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "ca", "namespace": "velero"},
                "stringData": {"ca.crt": ca, "many.crt": cas},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "velero-trust-ca", "namespace": "velero"},
            },
        ],
    })
    .to_string()
}

/// Returns a BSL with its CA in a Secret, as kubectl sends it.
pub(super) fn location() -> String {
    bsl(
        &json!({"bucket": "backups", "caCertRef": {"name": "ca", "key": "ca.crt"}}),
        "",
    )
}

/// Returns a BSL with several CAs in a Secret.
pub(super) fn location_with_many() -> String {
    bsl(
        &json!({"bucket": "backups", "caCertRef": {"name": "ca", "key": "many.crt"}}),
        "",
    )
}

/// Returns a BSL without a CA: nothing to look up and nothing to parse.
pub(super) fn location_without_ca() -> String {
    bsl(
        &json!({"bucket": "backups", "prefix": "clusters/production"}),
        "",
    )
}

/// Returns a BSL of 3 MB, the largest object that the API server accepts.
pub(super) fn large() -> String {
    bsl(&json!({"bucket": "backups"}), &"x".repeat(3_000_000))
}

fn bsl(storage: &Value, ballast: &str) -> String {
    let fields =
        json!({"f:spec": {".": {}, "f:config": {"f:region": {}, "f:s3Url": {}}, "f:provider": {}}});
    let object = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {
            "name": "default",
            "namespace": "velero",
            "annotations": {"ballast": ballast},
            "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": fields}],
        },
        "spec": {
            "provider": "aws",
            "objectStorage": storage,
            "config": {"region": "minio", "s3ForcePathStyle": "true", "s3Url": "https://minio.minio.svc:9000"},
            "validationFrequency": "1m0s",
        },
    });
    review(
        "velero.io",
        "backupstoragelocations",
        "BackupStorageLocation",
        &object,
    )
}

/// Returns a node agent's Pod, as a controller sends it.
pub(super) fn pod() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/node-agent-install.yaml");
    let mut pod: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    // Real Pods have managed fields. With them the review has the 6.6 KB of a real one.
    let ballast = "f:metadata f:labels f:spec f:containers ".repeat(100);
    let room = 6_600_usize.saturating_sub(pod.to_string().len() + 900);
    pod["metadata"]["annotations"]["ballast"] = Value::from(&ballast[..room.min(ballast.len())]);
    Ok(review("", "pods", "Pod", &pod))
}

fn review(group: &str, resource: &str, kind: &str, object: &Value) -> String {
    let of = |field: &str, name: &str| json!({"group": group, "version": "v1", field: name});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": of("kind", kind),
            "resource": of("resource", resource),
            "requestKind": of("kind", kind),
            "requestResource": of("resource", resource),
            "name": "default",
            "namespace": "velero",
            "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
    .to_string()
}
