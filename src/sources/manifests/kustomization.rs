//! The namespace that a kustomization gives to the files beside it, where that is plain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sources::input;
use crate::sources::yaml::documents;

/// Whether a file with this name is a kustomization.
pub(super) fn is_kustomization(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    matches!(
        name,
        Some("kustomization.yaml" | "kustomization.yml" | "Kustomization")
    )
}

/// Returns the namespaces of the files that a kustomization among `files` lists as its resources.
/// It replaces every other namespace. Folders, bases and components are left out: `kustomize build`
/// says what becomes of them.
pub(super) fn namespaces(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let kustomizations = files.iter().filter(|file| is_kustomization(file));
    let namespaces = kustomizations.filter_map(|file| {
        let text = input::read_text(file).ok()?;
        let kustomization = documents(&text).next()?.ok()?.to_json();
        let namespace = kustomization.get("namespace")?.as_str()?.to_owned();
        let folder = file.parent()?;
        let resources = kustomization.get("resources").and_then(Value::as_array);
        let resources: Vec<_> = resources?.iter().filter_map(Value::as_str).collect();
        let files = resources.into_iter().map(|resource| {
            let resource = resource.strip_prefix("./").unwrap_or(resource);
            (folder.join(resource), namespace.clone())
        });
        Some(files.collect::<Vec<_>>())
    });
    namespaces.flatten().collect()
}
