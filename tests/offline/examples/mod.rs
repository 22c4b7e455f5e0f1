//! Every file of `manifests/examples` does what its comment says, with the server and the commands
//! that a user runs.
//!
//! The CAs are `ca.pem` and `other-ca.pem` of `tests/cases/certificates`. The script `make` there
//! created them with OpenSSL, valid until 2126, and deleted their keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use velero_trust::names;

use crate::lint::lint;
use crate::tree::files;

mod review;

use review::{create, pod, server};

const FOLDER: &str = "manifests/examples";

/// The files, each with its test.
const FILES: [(&str, fn()); 8] = [
    ("extra-ca.yaml", extra_ca_is_in_every_bundle),
    (
        "location-before-1.18.yaml",
        locations_are_admitted_with_their_secrets,
    ),
    ("location.yaml", locations_are_admitted_with_their_secrets),
    ("opt-in.yaml", opt_in_asks_for_the_bundle),
    ("opt-out.yaml", opt_out_keeps_the_bundle_out),
    (
        "restore.yaml",
        restore_is_admitted_for_the_backup_that_it_expects,
    ),
    (
        "velero-namespace/kustomization.yaml",
        velero_namespace_is_labelled_and_binds_the_secret_reader,
    ),
    (
        "velero-namespace/namespace.yaml",
        velero_namespace_is_labelled_and_binds_the_secret_reader,
    ),
];

/// Returns the bundle of the namespace `velero`, with what a Pod needs of it.
const BUNDLE: &str = "apiVersion: v1\nkind: ConfigMap\n\
                      metadata: {name: velero-trust-ca, namespace: velero}\n";

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn documents(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the only document of `file`.
fn document(file: &str) -> Value {
    let [document] = &documents(file)[..] else {
        panic!("{file} has not exactly one document")
    };
    document.clone()
}

#[test]
fn every_file_has_a_test() {
    let found = files(Path::new(FOLDER)).into_iter();
    let found = found.map(|path| path.strip_prefix(FOLDER).unwrap().display().to_string());
    let found: BTreeSet<_> = found.collect();
    assert_eq!(
        found,
        FILES.map(|(file, _)| file.to_owned()).into(),
        "a new file needs a test, named in FILES"
    );
}

#[test]
fn certificates_are_those_of_the_cases_and_no_key_is_among_them() {
    let known = ["ca.pem", "other-ca.pem"].map(|name| {
        let path = Path::new("tests/cases/certificates").join(name);
        fs::read_to_string(path).unwrap()
    });
    let mut count = 0;
    for (file, _) in FILES {
        assert!(!text(file).contains("PRIVATE KEY"), "{file}");
        for object in documents(file) {
            for field in ["data", "stringData"] {
                for (key, value) in object[field].as_object().into_iter().flatten() {
                    let is_known = known.iter().any(|pem| value.as_str() == Some(pem));
                    assert!(is_known, "{file}: {field}.{key}");
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn locations_are_admitted_with_their_secrets() {
    for file in ["location.yaml", "location-before-1.18.yaml"] {
        let [secret, location] = &documents(file)[..] else {
            panic!("{file}: not a Secret and a location")
        };
        let admitted = create(location, &secret.to_string()).await;
        assert_eq!(admitted["allowed"], true, "{file}: {admitted}");
        assert!(admitted["warnings"].is_null(), "{file}: {admitted}");
        // The location names this Secret.
        let refused = create(location, "").await;
        assert_eq!(refused["allowed"], false, "{file}: {refused}");
        let message = refused["status"]["message"].as_str().unwrap();
        assert!(message.contains("[VT001]"), "{file}: {message}");
    }
}

#[test]
fn lint_finds_nothing() {
    let ran = lint(Path::new("."), &[FOLDER], "");
    let last = ran.out.lines().last();
    assert_eq!(
        (ran.code, last, ran.err.as_str()),
        (
            0,
            Some("BackupStorageLocations: 2, denials: 0, warnings: 0"),
            ""
        ),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn restore_is_admitted_for_the_backup_that_it_expects() {
    let restore = document("restore.yaml");
    let expected = &restore["metadata"]["annotations"][names::BACKUP_CHECKSUM_ANNOTATION];
    let backup = |checksum: &Value| {
        let backup = json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {
                "name": restore["spec"]["backupName"],
                "namespace": restore["metadata"]["namespace"],
                "annotations": {names::CHECKSUM_ANNOTATION: checksum},
            },
            "status": {"phase": "Completed", "startTimestamp": "2026-08-01T02:00:00Z"},
        });
        backup.to_string()
    };
    let other = json!(format!("sha256:{}", "0".repeat(64)));
    for (cluster, allowed, rule) in [
        (backup(expected), true, "VT108"),
        (backup(&Value::Null), true, "VT108"),
        (backup(&other), false, "VT104"),
        (String::new(), false, "VT103"),
    ] {
        let response = create(&restore, &cluster).await;
        assert_eq!(response["allowed"], allowed, "{cluster}: {response}");
        assert!(response.to_string().contains(rule), "{cluster}: {response}");
    }
}

#[tokio::test]
async fn opt_in_asks_for_the_bundle() {
    let deployment = document("opt-in.yaml");
    let mut template = deployment["spec"]["template"].clone();
    let labels = &template["metadata"]["labels"];
    for (key, value) in deployment["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(&labels[key], value);
    }
    let response = create(&pod(&template), BUNDLE).await;
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    assert!(response["warnings"].is_null(), "{response}");
    template["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove(names::INJECT);
    let response = create(&pod(&template), BUNDLE).await;
    assert!(response["patch"].is_null(), "{response}");
}

#[tokio::test]
async fn opt_out_keeps_the_bundle_out() {
    let mut server = server();
    let response = create(&server, BUNDLE).await;
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    json_patch::merge(&mut server, &document("opt-out.yaml")["spec"]["template"]);
    let response = create(&server, BUNDLE).await;
    assert_eq!(response["allowed"], true, "{response}");
    assert!(response["patch"].is_null(), "{response}");
    assert!(response["warnings"].is_null(), "{response}");
}

#[test]
fn extra_ca_is_in_every_bundle() {
    let output = Command::new(env!("CARGO_BIN_EXE_velero-trust"))
        .env_clear()
        .args(["status", "--objects", FOLDER, "--public-roots=none"])
        .args(["--certificates", "--output=json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [namespace] = &status["namespaces"].as_array().unwrap()[..] else {
        panic!("{status}")
    };
    assert_eq!(namespace["name"], "velero");
    assert_eq!(namespace["bundle"]["origins"], "locations=1 extra=1");
    let items = namespace["bundle"]["items"].as_array().unwrap();
    let extra = document("extra-ca.yaml");
    let name = extra["metadata"]["name"].as_str().unwrap();
    let found = items
        .iter()
        .find(|item| item["from"].to_string().contains(name));
    assert_eq!(found.unwrap()["subject"], "CN=Other Root CA", "{status}");
}

#[test]
fn velero_namespace_is_labelled_and_binds_the_secret_reader() {
    let kustomization = document("velero-namespace/kustomization.yaml");
    let namespace = document("velero-namespace/namespace.yaml");
    assert_eq!(kustomization["kind"], "Kustomization");
    assert_eq!(kustomization["namespace"], namespace["metadata"]["name"]);
    assert_eq!(kustomization["resources"], json!(["namespace.yaml"]));
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({names::VELERO_NAMESPACE_LABEL: "true"})
    );
    let [component] = &kustomization["components"].as_array().unwrap()[..] else {
        panic!("{kustomization}")
    };
    let component: PathBuf = [FOLDER, "velero-namespace", component.as_str().unwrap()]
        .iter()
        .collect();
    let reader = Path::new("manifests/components/secret-reader");
    assert_eq!(
        component.canonicalize().unwrap(),
        reader.canonicalize().unwrap()
    );
}
