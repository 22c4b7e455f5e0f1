//! The manifests, as files and rendered.

use super::NAMESPACE;
use crate::cli::Cli;
use crate::scratch;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the folder of the manifests.
pub fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// Returns the manifests as `kubectl apply -k` would send them. If `namespace` is not their own, a
/// kustomization on top installs them into it.
pub fn rendered(kubectl: &Cli, namespace: &str) -> Result<Vec<Value>> {
    rendered_with(kubectl, namespace, &[])
}

/// As [`rendered`], with these components.
pub fn rendered_with(kubectl: &Cli, namespace: &str, components: &[String]) -> Result<Vec<Value>> {
    let folder = scratch::folder("kustomization")?;
    let base = folder.path().join("manifests");
    fs::create_dir(&base)?;
    for entry in fs::read_dir(manifests())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), base.join(entry.file_name()))?;
        }
    }
    for component in components {
        let from = manifests().join("components").join(component);
        let to = folder.path().join(component);
        fs::create_dir(&to)?;
        fs::copy(
            from.join("kustomization.yaml"),
            to.join("kustomization.yaml"),
        )?;
    }
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": ["manifests"],
        "components": components,
    });
    fs::write(
        folder.path().join("kustomization.yaml"),
        overlay.to_string(),
    )?;
    let root = if namespace == NAMESPACE && components.is_empty() {
        &base
    } else {
        folder.path()
    };
    let text = kubectl.ok(&[Path::new("kustomize"), root])?;
    Ok(serde_saphyr::from_multiple(&text)?)
}
