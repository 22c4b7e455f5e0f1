//! Renders the BackupStorageLocations that Velero's Helm chart would create from its values.
//!
//! The chart's `templates/backupstoragelocation.yaml`, since version 5 of the chart, creates one
//! BSL for each element of the list `configuration.backupStorageLocation`.

use serde_json::{Map, Value, json};

use super::sealed::ANY_NAMESPACE;
use crate::decision::{FieldPath, Key, Sealed};
use crate::velero::text::shown;

/// The namespace of a release if nothing names another one, as in the chart's documentation.
const DEFAULT_NAMESPACE: &str = "velero";

/// The name of a release, as in the chart's documentation.
const DEFAULT_RELEASE: &str = "velero";

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
}

/// The values for Velero's chart in a document.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Values {
    /// The BackupStorageLocations.
    pub(super) entries: Vec<Entry>,
    /// The paths of further objects that the chart makes, and their namespace if they name none.
    pub(super) objects: Vec<(FieldPath, Option<String>)>,
    /// The Secrets with credentials that the chart makes.
    pub(super) credentials: Vec<(Key, Sealed)>,
    /// What the chart does differently than one may expect, and where.
    pub(super) notes: Vec<(FieldPath, String)>,
    /// Whether the document has any values for the chart.
    pub(super) any: bool,
}

/// Reads the values for Velero's chart in a document. That is a values file, also of a chart that
/// has Velero's as a dependency, or a HelmRelease of Flux, or an Application of Argo CD.
pub(super) fn read(document: &Value, namespace: Option<&str>) -> Values {
    let mut values = Values::default();
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let (roots, own) = match text("/kind") {
        None => (vec![FieldPath::default()], None),
        Some("HelmRelease") => (
            vec![FieldPath::of(&["spec", "values"])],
            text("/spec/targetNamespace").or_else(|| text("/metadata/namespace")),
        ),
        Some("Application") => (
            application_values(document),
            text("/spec/destination/namespace").filter(|namespace| !namespace.is_empty()),
        ),
        Some(_) => return values,
    };
    let namespace = own.or(namespace);
    for root in roots {
        let Some(Value::Object(map)) = value_at(document, &root) else {
            continue;
        };
        values.read_chart(root.clone(), map, namespace);
        for (name, inner) in map {
            // A dependency goes by the name or alias that the parent chart gives it.
            if let Value::Object(inner) = inner {
                values.read_chart(root.clone().field(name.clone()), inner, namespace);
            }
        }
    }
    values
}

impl Values {
    /// Reads `map`, the values of one chart, for a release in `namespace`.
    fn read_chart(&mut self, path: FieldPath, map: &Map<String, Value>, namespace: Option<&str>) {
        let objects = map.get("extraObjects").and_then(Value::as_array);
        for index in 0..objects.map_or(0, Vec::len) {
            let path = path.clone().field("extraObjects").index(index);
            self.objects.push((path, namespace.map(str::to_owned)));
        }
        self.credentials.extend(credentials(map, namespace));
        let configuration = map.get("configuration");
        let Some(list) = configuration.and_then(|map| map.get("backupStorageLocation")) else {
            return;
        };
        let enabled = path.clone().field("backupsEnabled");
        let path = path.field("configuration").field("backupStorageLocation");
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
        for name in ["caCertRef", "objectStorage"] {
            if entry.contains_key(name) {
                let note = "the chart knows no such value and drops it; name the CA in \
                            annotations: `velero-trust.io/ca-secret: <secret>/<key>`";
                self.add_note(path.clone().field(name), note);
            }
        }
        let name = entry.get("name").and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).unwrap_or("default");
        self.entries.push(Entry {
            path,
            key: Key::new(namespace, name),
            names_namespace: named.is_some(),
            object: object(name, namespace, entry),
        });
    }

    fn add_note(&mut self, path: FieldPath, note: &str) {
        self.any = true;
        self.notes.push((path, note.to_owned()));
    }
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

/// Renders the object of one element. A value that the chart would copy keeps its type even if that
/// is wrong, so that the rules see it.
fn object(name: &str, namespace: &str, entry: &Map<String, Value>) -> Value {
    let copied = |fields: &[&str]| -> Map<String, Value> {
        let set = fields
            .iter()
            .filter_map(|field| entry.get_key_value(*field))
            .filter(|(_, value)| !is_empty(value));
        set.map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    };
    let mut storage = copied(&["caCert"]);
    storage.extend(quoted(Some(&Value::Object(copied(&["bucket", "prefix"])))));
    let mut spec = copied(&["provider", "accessMode", "default", "validationFrequency"]);
    spec.insert("objectStorage".to_owned(), Value::Object(storage));
    for field in ["config", "credential"] {
        if let Some(map) = entry.get(field).filter(|value| !is_empty(value)) {
            let map = match map {
                Value::Object(_) => Value::Object(quoted(Some(map))),
                other => other.clone(),
            };
            spec.insert(field.to_owned(), map);
        }
    }
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": quoted(entry.get("annotations")),
        },
        "spec": spec,
    })
}

/// Returns whether a template's `with` skips the value.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Returns the pairs of a map whose values the chart converts to strings with `quote`.
fn quoted(map: Option<&Value>) -> Map<String, Value> {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let quoted = pairs.filter_map(|(key, value)| {
        let value = match value {
            Value::Null => return None,
            Value::String(_) | Value::Array(_) | Value::Object(_) => value.clone(),
            Value::Bool(_) | Value::Number(_) => Value::String(shown(&value.to_string())),
        };
        Some((key.clone(), value))
    });
    quoted.collect()
}

/// Returns the paths at which an Application may have values: in its single source, and in each of
/// its sources.
fn application_values(document: &Value) -> Vec<FieldPath> {
    let spec = FieldPath::of(&["spec"]);
    let sources = document.pointer("/spec/sources").and_then(Value::as_array);
    let many =
        (0..sources.map_or(0, Vec::len)).map(|index| spec.clone().field("sources").index(index));
    std::iter::once(spec.clone().field("source"))
        .chain(many)
        .map(|source| source.field("helm").field("valuesObject"))
        .collect()
}

fn value_at<'v>(document: &'v Value, path: &FieldPath) -> Option<&'v Value> {
    use crate::decision::Segment;
    path.segments()
        .iter()
        .try_fold(document, |value, segment| match segment {
            Segment::Field(name) => value.get(name.as_ref()),
            Segment::Key(name) => value.get(name),
            Segment::Index(index) => value.get(index),
        })
}

#[cfg(test)]
mod tests;
