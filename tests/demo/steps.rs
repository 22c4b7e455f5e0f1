//! The requests of the demo, and the expected answers.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::answer::Expected;

/// One review.
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) path: &'static str,
    pub(super) body: String,
    pub(super) expected: Expected,
    /// The files of the backup `b` in the bucket by then, if they are others than before.
    pub(super) bucket: &'static [(&'static str, &'static str)],
    /// The object that the cluster stores, for the views at the end.
    pub(super) kept: Option<StoredObject>,
}

/// An object that the cluster stores, before and after its admission.
pub(super) struct StoredObject {
    pub(super) file: &'static str,
    pub(super) object: Value,
}

const LOCATIONS: &str = "/validate/backupstoragelocations";
const RESTORES: &str = "/validate/restores";
const BEGUN: &str = "/mutate/restores";
const PODS: &str = "/mutate/pods";

/// Returns all steps.
pub(super) fn all(root: &Path) -> Result<Vec<Step>> {
    let mut steps = locations();
    steps.extend(pods(root)?);
    steps.extend(restores());
    steps.extend(begun_restores());
    Ok(steps)
}

fn locations() -> Vec<Step> {
    vec![
        Step {
            title: "A location names a Secret that is not there",
            path: LOCATIONS,
            body: of_location(&location("typo"), false),
            expected: Expected::Denied {
                code: 422,
                rule: "VT001",
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "The same as a dry run: a GitOps tool may bring the Secret along",
            path: LOCATIONS,
            body: of_location(&location("typo"), true),
            expected: Expected::Allowed {
                warning: Some("VT001"),
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "Somebody put the private key beside the certificate",
            path: LOCATIONS,
            body: of_location(&location("leaked-key"), false),
            expected: Expected::Denied {
                code: 422,
                rule: "VT011",
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "The second certificate of the bundle was cut off",
            path: LOCATIONS,
            body: of_location(&location("cut-off"), false),
            expected: Expected::Denied {
                code: 422,
                rule: "VT013",
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "A good location",
            path: LOCATIONS,
            body: of_location(&location("good-ca"), false),
            expected: Expected::Allowed { warning: None },
            bucket: &[],
            kept: Some(StoredObject {
                file: "location.json",
                object: location("good-ca"),
            }),
        },
    ]
}

/// Returns the Pods of a real `velero install`, from the fixtures of the tests.
fn pods(root: &Path) -> Result<Vec<Step>> {
    let pod = |file: &str| -> Result<Value> {
        let path = root.join("tests/pods").join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_saphyr::from_str(&text)?)
    };
    let server = pod("server-install.yaml")?;
    let node_agent = pod("node-agent-install.yaml")?;
    Ok(vec![
        Step {
            title: "The Pod of the Velero server",
            path: PODS,
            body: review("", "pods", "Pod", &server, false),
            expected: Expected::Patched { additions: 4 },
            bucket: &[],
            kept: Some(StoredObject {
                file: "server.json",
                object: server,
            }),
        },
        Step {
            title: "The Pod of a node agent, which runs kopia",
            path: PODS,
            body: review("", "pods", "Pod", &node_agent, false),
            expected: Expected::Patched { additions: 4 },
            bucket: &[],
            kept: Some(StoredObject {
                file: "node-agent.json",
                object: node_agent,
            }),
        },
        Step {
            title: "A Pod that has nothing to do with Velero",
            path: PODS,
            body: review("", "pods", "Pod", &pod("foreign-minio.yaml")?, false),
            expected: Expected::Allowed { warning: None },
            bucket: &[],
            kept: None,
        },
    ])
}

fn restores() -> Vec<Step> {
    vec![
        Step {
            title: "A Restore from a backup that nobody vouched for",
            path: RESTORES,
            body: restore("from-before"),
            expected: Expected::Denied {
                code: 403,
                rule: "VT101",
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "A Restore from a backup with a checksum",
            path: RESTORES,
            body: restore("vouched-for"),
            expected: Expected::Allowed {
                warning: Some("VT108"),
            },
            bucket: &[],
            kept: None,
        },
        Step {
            title: "Something that is no review",
            path: RESTORES,
            body: "{}".to_owned(),
            expected: Expected::Error(400),
            bucket: &[],
            kept: None,
        },
    ]
}

/// The files as they were signed, and three times not.
fn begun_restores() -> Vec<Step> {
    let step = |title, expected, bucket| Step {
        title,
        path: BEGUN,
        body: begun_restore(),
        expected,
        bucket,
        kept: None,
    };
    let stopped = |rule| Expected::Stopped { rule };
    vec![
        step(
            "Velero begins a Restore: all files are those that were signed",
            Expected::Begins,
            &[("b.tar.gz", "tarball"), ("velero-backup.json", "{}")],
        ),
        step(
            "One byte of the tarball was changed",
            stopped("VT115"),
            &[("b.tar.gz", "t4rball"), ("velero-backup.json", "{}")],
        ),
        step(
            "A file that Velero reads was added",
            stopped("VT115"),
            &[
                ("b.tar.gz", "tarball"),
                ("velero-backup.json", "{}"),
                ("b-csi-volumesnapshots.json.gz", "forged"),
            ],
        ),
        step(
            "A file was removed",
            stopped("VT115"),
            &[("b.tar.gz", "tarball")],
        ),
    ]
}

fn location(secret: &str) -> Value {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": "velero"},
        "spec": {
            "provider": "aws",
            "objectStorage": {
                "bucket": "backups",
                "caCertRef": {"name": secret, "key": "ca.crt"},
            },
            "config": {"region": "minio", "s3ForcePathStyle": "true", "s3Url": "https://minio:9000"},
        },
    })
}

fn of_location(object: &Value, dry_run: bool) -> String {
    review(
        "velero.io",
        "backupstoragelocations",
        "BackupStorageLocation",
        object,
        dry_run,
    )
}

fn restore(backup: &str) -> String {
    let object = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "again", "namespace": "velero"},
        "spec": {"backupName": backup},
    });
    review("velero.io", "restores", "Restore", &object, false)
}

/// Returns the write with which Velero begins a Restore.
fn begun_restore() -> String {
    let waiting = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "again", "namespace": "velero", "uid": "r"},
        "spec": {"backupName": "b"},
    });
    let mut begun = waiting.clone();
    json_patch::merge(&mut begun, &json!({"status": {"phase": "InProgress"}}));
    let mut review = review_of("velero.io", "restores", "Restore", &begun, false);
    let change = json!({"request": {"operation": "UPDATE", "oldObject": waiting}});
    json_patch::merge(&mut review, &change);
    review.to_string()
}

/// Returns an AdmissionReview as the API server sends it.
fn review(group: &str, resource: &str, kind: &str, object: &Value, dry_run: bool) -> String {
    review_of(group, resource, kind, object, dry_run).to_string()
}

fn review_of(group: &str, resource: &str, kind: &str, object: &Value, dry_run: bool) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "name": object.pointer("/metadata/name"),
            "namespace": "velero",
            "operation": "CREATE",
            "userInfo": {"username": "demo"},
            "object": object,
            "oldObject": null,
            "dryRun": dry_run,
        },
    })
}
