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
    let folder = scratch::folder("kustomization")?;
    let base = folder.path().join("manifests");
    fs::create_dir(&base)?;
    for entry in fs::read_dir(manifests())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), base.join(entry.file_name()))?;
        }
    }
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": ["manifests"],
    });
    fs::write(
        folder.path().join("kustomization.yaml"),
        overlay.to_string(),
    )?;
    let root = if namespace == NAMESPACE {
        &base
    } else {
        folder.path()
    };
    let text = kubectl.ok(&[Path::new("kustomize"), root])?;
    Ok(serde_saphyr::from_multiple(&text)?)
}
