//! The BackupStorageLocations that OADP, Velero's operator on OpenShift, makes of a
//! DataProtectionApplication.

use serde_json::{Value, json};

use super::sealed::ANY_NAMESPACE;
use crate::decision::{FieldPath, Key};

/// A location that the operator makes.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path of the spec in the document.
    pub(super) spec: FieldPath,
    /// Its namespace, which may be [`ANY_NAMESPACE`], and its name.
    pub(super) key: Key,
    /// The object.
    pub(super) object: Value,
}

/// Returns the locations of a DataProtectionApplication: each element of `spec.backupLocations` has
/// the spec of one in `velero`. Without a name, it has that of the application and its number.
pub(super) fn locations(document: &Value, namespace: Option<&str>) -> Vec<Entry> {
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let is_application = text("/kind") == Some("DataProtectionApplication")
        && text("/apiVersion").is_some_and(|api| api.starts_with("oadp.openshift.io/"));
    if !is_application {
        return Vec::new();
    }
    let namespace = text("/metadata/namespace").or(namespace);
    let namespace = namespace.unwrap_or(ANY_NAMESPACE);
    let application = text("/metadata/name").unwrap_or_default();
    let list = document.pointer("/spec/backupLocations");
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let entries = list.enumerate().filter_map(|(index, entry)| {
        let spec = entry.get("velero").filter(|spec| spec.is_object())?;
        let name = match entry.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{application}-{}", index + 1),
        };
        let path = FieldPath::of(&["spec", "backupLocations"]);
        Some(Entry {
            spec: path.index(index).field("velero"),
            object: json!({
                "apiVersion": "velero.io/v1",
                "kind": "BackupStorageLocation",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }),
            key: Key::new(namespace, name),
        })
    });
    entries.collect()
}
