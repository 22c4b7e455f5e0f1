//! Renders the BackupStorageLocations that Velero's Helm chart would create from its values.
//!
//! The chart's `templates/backupstoragelocation.yaml`, since version 5 of the chart, creates one
//! BSL for each element of the list `configuration.backupStorageLocation`. Its values stand in files
//! of their own, in those of a chart that has Velero's as a dependency, and in the objects of Flux,
//! Argo CD, k3s, Fleet and helmfile, as YAML or as text that contains YAML. All of them are found
//! the same way: by the list.

mod entry;

use serde_json::{Map, Value};

use super::sealed::ANY_NAMESPACE;
use crate::decision::{FieldPath, Key, Sealed, Segment};

/// The namespace of a release if nothing names another one, as in the chart's documentation.
const DEFAULT_NAMESPACE: &str = "velero";

/// The name of a release, as in the chart's documentation.
const DEFAULT_RELEASE: &str = "velero";

/// The list of locations in the values of the chart.
const LIST: &str = "backupStorageLocation";

/// Deepest nesting of values. Umbrella charts of umbrella charts have less.
const MAX_DEPTH: usize = 16;

/// Kinds that contain no values, whatever their fields are called.
const OTHER_KINDS: [&str; 7] = [
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "Job",
    "Pod",
    "StatefulSet",
];

/// A BackupStorageLocation that the chart would create.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The path of its values in the document.
    pub(super) path: FieldPath,
    /// Its namespace and name.
    pub(super) key: Key,
    /// Whether something names the namespace.
    pub(super) names_namespace: bool,
    /// The rendered object.
    pub(super) object: Value,
    /// The paths of values that the chart drops, and how to fix that.
    pub(super) dropped: Vec<(FieldPath, String)>,
}

/// The values for Velero's chart in a document.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Values {
    /// The BackupStorageLocations.
    pub(super) entries: Vec<Entry>,
    /// The paths of further objects that the chart makes, and their namespace if they name none.
    pub(super) objects: Vec<(FieldPath, Option<String>)>,
    /// The texts that contain values: path, text, and the namespace of the release.
    pub(super) texts: Vec<(FieldPath, String, Option<String>)>,
    /// The Secrets with credentials that the chart makes.
    pub(super) credentials: Vec<(Key, Sealed)>,
    /// What the chart does differently than one may expect, and where.
    pub(super) notes: Vec<(FieldPath, String)>,
    /// Whether the document has any values for the chart.
    pub(super) any: bool,
}

/// Reads the values for Velero's chart in a document. A release whose namespace the document does
/// not name is in `namespace`.
pub(super) fn read(document: &Value, namespace: Option<&str>) -> Values {
    let mut values = Values::default();
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or_default();
    if OTHER_KINDS.contains(&kind) {
        return values;
    }
    let own = text("/metadata/namespace").filter(|_| kind == "HelmRelease");
    values.walk(
        &FieldPath::default(),
        document,
        own.or(namespace),
        MAX_DEPTH,
    );
    values
}

impl Values {
    /// Finds the values of the chart in `value`, for a release in `namespace`.
    fn walk(&mut self, path: &FieldPath, value: &Value, namespace: Option<&str>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        match value {
            Value::Object(map) => {
                let namespace = release_namespace(map).or(namespace);
                self.read_chart(path, map, namespace);
                for (name, inner) in map {
                    let inner_path = path.clone().field(name.clone());
                    if is_misplaced(path.segments().last(), name, inner) {
                        let note = "the chart reads only the list \
                                    `configuration.backupStorageLocation`; this was not judged";
                        self.add_note(inner_path.clone(), note);
                    }
                    self.walk(&inner_path, inner, namespace, depth);
                }
            }
            Value::Array(list) => {
                for (index, inner) in list.iter().enumerate() {
                    self.walk(&path.clone().index(index), inner, namespace, depth);
                }
            }
            Value::String(text) if text.contains(LIST) && text.contains('\n') => {
                self.any = true;
                let namespace = namespace.map(str::to_owned);
                self.texts.push((path.clone(), text.clone(), namespace));
            }
            _ => {}
        }
    }

    /// Reads `map`, which may be the values of the chart.
    fn read_chart(&mut self, path: &FieldPath, map: &Map<String, Value>, namespace: Option<&str>) {
        let objects = map.get("extraObjects").and_then(Value::as_array);
        for index in 0..objects.map_or(0, Vec::len) {
            let path = path.clone().field("extraObjects").index(index);
            self.objects.push((path, namespace.map(str::to_owned)));
        }
        self.credentials.extend(credentials(map, namespace));
        let configuration = map.get("configuration");
        let Some(list) = configuration.and_then(|map| map.get(LIST)) else {
            return;
        };
        let enabled = path.clone().field("backupsEnabled");
        let path = path.clone().field("configuration").field(LIST);
        let list = match list {
            Value::Array(list) => list,
            Value::Object(_) => {
                let note = "this is no list, so charts since 5.0 make no BackupStorageLocation \
                            of it; it was not judged";
                self.add_note(path, note);
                return;
            }
            _ => return,
        };
        if map.get("backupsEnabled") == Some(&Value::Bool(false)) {
            let note = "the chart makes no BackupStorageLocation while this is false";
            self.add_note(enabled, note);
            return;
        }
        for (index, entry) in list.iter().enumerate() {
            if let Value::Object(entry) = entry {
                self.add_entry(path.clone().index(index), entry, namespace);
            }
        }
    }

    fn add_entry(&mut self, path: FieldPath, entry: &Map<String, Value>, named: Option<&str>) {
        let namespace = named.unwrap_or(DEFAULT_NAMESPACE);
        self.any = true;
        let name = entry.get("name").and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).unwrap_or("default");
        self.entries.push(Entry {
            dropped: entry::dropped(&path, entry),
            path,
            key: Key::new(namespace, name),
            names_namespace: named.is_some(),
            object: entry::object(name, namespace, entry),
        });
    }

    fn add_note(&mut self, path: FieldPath, note: &str) {
        self.any = true;
        self.notes.push((path, note.to_owned()));
    }
}

/// Whether `value`, which is called `name`, is a list of locations that the chart does not read,
/// because it has another name or is in another place.
fn is_misplaced(parent: Option<&Segment>, name: &str, value: &Value) -> bool {
    let is_list = value.is_array() || value.is_object();
    if name.eq_ignore_ascii_case("configuration") {
        return name != "configuration" && value.get(LIST).is_some();
    }
    let singular = name.strip_suffix(['s', 'S']).unwrap_or(name);
    let is_below = matches!(parent, Some(Segment::Field(parent)) if parent == "configuration");
    is_list && singular.eq_ignore_ascii_case(LIST) && !(name == LIST && is_below)
}

/// Returns the namespace of the release that `map` describes: of Flux (`targetNamespace`), of Argo
/// CD (`destination`), of Fleet (`defaultNamespace`), of helmfile (`namespace`).
fn release_namespace(map: &Map<String, Value>) -> Option<&str> {
    let destination = map.get("destination").and_then(|map| map.get("namespace"));
    let own = ["targetNamespace", "defaultNamespace", "namespace"]
        .into_iter()
        .filter_map(|name| map.get(name));
    let mut all = destination.into_iter().chain(own).filter_map(Value::as_str);
    all.find(|namespace| !namespace.is_empty())
}

/// Returns the Secret with credentials that the chart makes from its values, if it makes one.
fn credentials(map: &Map<String, Value>, namespace: Option<&str>) -> Option<(Key, Sealed)> {
    let credentials = map.get("credentials")?;
    let text = |name| {
        credentials
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let contents = credentials.get("secretContents")?.as_object()?;
    let is_made = credentials.get("useSecret") != Some(&Value::Bool(false))
        && text("existingSecret").is_empty()
        && !contents.is_empty();
    // Without a name, the chart takes the name of the release.
    let name = match text("name") {
        "" => DEFAULT_RELEASE,
        name => name,
    };
    let sealed = Sealed {
        by: "made by Velero's chart".into(),
        keys: Some(contents.keys().cloned().collect()),
    };
    is_made.then(|| (Key::new(namespace.unwrap_or(ANY_NAMESPACE), name), sealed))
}

#[cfg(test)]
mod tests;
