//! The manifests, as files and as what they become.

use super::NAMESPACE;
use crate::cli::Cli;
use crate::scratch;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the manifests are.
pub fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// The manifests as `kubectl apply -k` would send them, installed into `namespace` by a
/// kustomization on top where it is not their own.
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
