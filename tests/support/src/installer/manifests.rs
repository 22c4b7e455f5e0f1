//! The manifests, as files and rendered.

use super::NAMESPACE;
use crate::cli::Cli;
use crate::cluster::VELERO_NAMESPACE;
use crate::scratch;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The ClusterRole that lets velero-trust read Secrets, and its binding.
const READER: &str = "velero-trust-secret-reader";

/// Returns the folder of the manifests.
pub fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// Returns the manifests as `kubectl apply -k` would send them. If `namespace` is not their own, a
/// kustomization on top installs them into it, as docs/install.md describes.
pub fn whole(kubectl: &Cli, namespace: &str, components: &[String]) -> Result<Vec<Value>> {
    if namespace == NAMESPACE && components.is_empty() {
        let text = kubectl.ok(&[Path::new("kustomize"), &manifests()])?;
        return Ok(serde_saphyr::from_multiple(&text)?);
    }
    let folder = scratch::folder("kustomization")?;
    scratch::copy_folder(&manifests(), &folder.path().join("manifests"))?;
    let components = components.iter();
    let components = components.map(|component| format!("manifests/components/{component}"));
    let is_elsewhere = namespace != NAMESPACE;
    let patches = if is_elsewhere {
        let reader = json!({"name": READER, "namespace": VELERO_NAMESPACE});
        let rbac = "rbac.authorization.k8s.io/v1";
        vec![
            deletion("v1", "Namespace", &json!({"name": NAMESPACE})),
            deletion(rbac, "RoleBinding", &reader),
        ]
    } else {
        Vec::new()
    };
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["manifests"],
        "components": components.collect::<Vec<_>>(),
        "namespace": is_elsewhere.then_some(namespace),
        "patches": patches,
    });
    fs::write(
        folder.path().join("kustomization.yaml"),
        overlay.to_string(),
    )?;
    let text = kubectl.ok(&[Path::new("kustomize"), folder.path()])?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

/// As [`whole`], without the kinds of records and the right to read the Secrets in the namespace `velero`: most
/// tests have no backups, and no such namespace.
pub fn rendered(kubectl: &Cli, namespace: &str) -> Result<Vec<Value>> {
    rendered_with(kubectl, namespace, &[])
}

/// As [`rendered`], with these components.
pub fn rendered_with(kubectl: &Cli, namespace: &str, components: &[String]) -> Result<Vec<Value>> {
    let mut objects = whole(kubectl, namespace, components)?;
    objects.retain(|object| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let is_reader =
            text("/kind") == Some("RoleBinding") && text("/metadata/name") == Some(READER);
        text("/kind") != Some("CustomResourceDefinition") && !is_reader
    });
    Ok(objects)
}

/// Returns the patch of a kustomization that deletes an object.
fn deletion(api_version: &str, kind: &str, metadata: &Value) -> Value {
    let patch = json!({
        "$patch": "delete", "apiVersion": api_version, "kind": kind, "metadata": metadata,
    });
    json!({"patch": patch.to_string()})
}
