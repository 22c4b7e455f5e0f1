//! One element of the list of locations: what the chart makes of it, and what it drops.

use serde_json::{Map, Value, json};

use crate::decision::FieldPath;
use crate::velero::text::shown;

/// The values that the chart reads of an element (`templates/backupstoragelocation.yaml`).
const KNOWN: [&str; 12] = [
    "accessMode",
    "annotations",
    "backupSyncPeriod",
    "bucket",
    "caCert",
    "config",
    "credential",
    "default",
    "name",
    "prefix",
    "provider",
    "validationFrequency",
];

/// Other names that people give to `caCert`.
const CA_NAMES: [&str; 8] = [
    "ca",
    "cabundle",
    "cacerts",
    "cacertificate",
    "cacrt",
    "caroot",
    "certificateauthority",
    "rootca",
];

/// Returns the values of the element at `path` that the chart drops, and how to fix that.
pub(super) fn dropped(path: &FieldPath, entry: &Map<String, Value>) -> Vec<(FieldPath, String)> {
    let unknown = entry.keys().filter(|key| !KNOWN.contains(&key.as_str()));
    let dropped = unknown.map(|key| {
        let plain: String = key
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let similar = KNOWN.iter().find(|known| {
            let known = known.to_ascii_lowercase();
            plain == known || plain == format!("{known}s")
        });
        let instead = match (plain.as_str(), similar) {
            (_, Some(similar)) => format!("write `{similar}`"),
            ("cacertref", None) => "name the CA in annotations: \
                                    `velero-trust.io/ca-secret: <secret>/<key>`"
                .to_owned(),
            ("spec" | "objectstorage", None) => {
                "write the fields in it directly into this element".to_owned()
            }
            (plain, None) if CA_NAMES.contains(&plain) => "write `caCert`".to_owned(),
            (_, None) => format!("remove it; the chart reads {}", KNOWN.join(", ")),
        };
        (path.clone().field(shown(key)), instead)
    });
    dropped.collect()
}

/// Renders the object of one element. A value that the chart would copy keeps its type even if that
/// is wrong, so that the rules see it.
pub(super) fn object(name: &str, namespace: &str, entry: &Map<String, Value>) -> Value {
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
    let mut spec = copied(&[
        "provider",
        "accessMode",
        "backupSyncPeriod",
        "default",
        "validationFrequency",
    ]);
    // The chart writes it without quotes.
    if let Some(Value::String(text)) = spec.get("default")
        && let Ok(is_default) = text.parse::<bool>()
    {
        spec.insert("default".to_owned(), is_default.into());
    }
    spec.insert("objectStorage".to_owned(), Value::Object(storage));
    for field in ["config", "credential"] {
        if let Some(map) = entry.get(field).filter(|value| !is_empty(value)) {
            let map = match map {
                Value::Object(_) => Value::Object(quoted(Some(map))),
                other => other.clone(),
            };
            // The API server drops a map without anything in it.
            if !is_empty(&map) {
                spec.insert(field.to_owned(), map);
            }
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
