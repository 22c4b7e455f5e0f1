//! What the API server does to a BackupStorageLocation before it asks a webhook: it refuses one
//! that does not match the schema of Velero's CustomResourceDefinition, and drops fields that the
//! schema does not have. `lint` has to tell that by itself.

use serde_json::{Map, Value};

use super::handler::UNREADABLE;
use crate::ca::base64;
use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::velero::text::shown;

/// The rule for a field that is dropped.
pub static DROPPED: Rule = Rule {
    id: "VT042",
    title: "field that is dropped",
    about: "The schema of BackupStorageLocations has no such field, so the API server drops it \
            without an error, or Velero's chart does. Only `lint` sees it.",
    severity: Severity::Warn,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

/// The schema of a value (`config/crd/v1/bases/velero.io_backupstoragelocations.yaml` of Velero
/// 1.18).
enum Schema {
    Bool,
    /// A string in base64 (`format: byte`).
    Bytes,
    /// One of these strings.
    Enum(&'static [&'static str]),
    /// A map with values of one schema.
    Map(&'static Self),
    /// An object with these fields; the first ones, as many as are said, are required.
    Object(usize, &'static [(&'static str, Self)]),
    /// A string, which may be null.
    NullableString,
    String,
}

const SELECTOR: Schema = Schema::Object(
    1,
    &[
        ("key", Schema::String),
        ("name", Schema::String),
        ("optional", Schema::Bool),
    ],
);

static SPEC: Schema = Schema::Object(
    2,
    &[
        ("objectStorage", OBJECT_STORAGE),
        ("provider", Schema::String),
        ("accessMode", Schema::Enum(&["ReadOnly", "ReadWrite"])),
        ("backupSyncPeriod", Schema::NullableString),
        ("config", Schema::Map(&Schema::String)),
        ("credential", SELECTOR),
        ("default", Schema::Bool),
        ("validationFrequency", Schema::NullableString),
    ],
);

const OBJECT_STORAGE: Schema = Schema::Object(
    1,
    &[
        ("bucket", Schema::String),
        ("caCert", Schema::Bytes),
        ("caCertRef", SELECTOR),
        ("prefix", Schema::String),
    ],
);

/// The fields of an object.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// The fields of `metadata` (`ObjectMeta` of apimachinery).
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Other names that people give to the fields of a CA.
const CA_NAMES: [&str; 5] = [
    "ca",
    "cabundle",
    "cacertificate",
    "cacertsecretref",
    "cacertref",
];

/// Reports what the API server refuses and drops of a BackupStorageLocation, and takes both out of
/// it, so that the rest can be reviewed.
pub fn check(location: &mut Value, report: &mut Report) {
    check_names(location, &FIELDS, &FieldPath::default(), report);
    if let Some(metadata) = location.get("metadata") {
        let path = FieldPath::of(&["metadata"]);
        check_names(metadata, &METADATA_FIELDS, &path, report);
    }
    if let Some(spec) = location.get_mut("spec")
        && spec.is_object()
    {
        let path = FieldPath::of(&["spec"]);
        check_value(spec, &SPEC, &path, report);
    }
}

/// Reports the fields of an object that have other names than `known`.
fn check_names(object: &Value, known: &[&str], path: &FieldPath, report: &mut Report) {
    let fields = object.as_object().into_iter().flatten();
    for (name, _) in fields.filter(|(name, _)| !known.contains(&name.as_str())) {
        let at = path.clone().field(shown(name));
        let fix = match name.to_ascii_lowercase().as_str() {
            "annotation" | "annotations" => "write `metadata.annotations`".to_owned(),
            "label" | "lables" | "labels" => "write `metadata.labels`".to_owned(),
            _ => format!("remove it; the fields are {}", known.join(", ")),
        };
        let message = "there is no such field, and the API server drops it";
        report.add_finding(Finding::new(&DROPPED, at, "", message, fix));
    }
}

/// Checks `value` and returns whether it can be kept.
fn check_value(value: &mut Value, schema: &Schema, path: &FieldPath, report: &mut Report) -> bool {
    let expected = match (schema, &mut *value) {
        (Schema::Object(required, fields), Value::Object(map)) => {
            check_object(map, *required, fields, path, report);
            return true;
        }
        (Schema::Map(schema), Value::Object(map)) => {
            drop_nulls(map, |_| false);
            map.retain(|key, value| {
                let path = path.clone().field(shown(key));
                check_value(value, schema, &path, report)
            });
            return true;
        }
        (Schema::Bool, Value::Bool(_))
        | (Schema::String | Schema::NullableString, Value::String(_))
        | (Schema::NullableString, Value::Null) => return true,
        (Schema::Enum(names), Value::String(name)) if names.contains(&name.as_str()) => {
            return true;
        }
        (Schema::Enum(names), Value::String(_)) => {
            refuse(
                path,
                "the value is none that the API server knows",
                &format!("write {}", names.join(" or ")),
                report,
            );
            return false;
        }
        (Schema::Bytes, Value::String(text)) => {
            // A placeholder or PEM itself has findings of its own.
            if base64::decode(text.as_bytes()).is_some() && text.contains(['\r', '\n']) {
                let message = "there are line ends in the base64, and the API server refuses them";
                refuse(
                    path,
                    message,
                    "put it on one line, as `base64 -w0 ca.pem` does",
                    report,
                );
                return false;
            }
            return true;
        }
        (Schema::Object(..) | Schema::Map(_), _) => "a map",
        (Schema::Bool, _) => "a bool",
        _ => "a string",
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let fix = match (expected, found) {
        ("a string", "a number") if matches!(schema, Schema::NullableString) => {
            "write a duration, such as \"60s\""
        }
        ("a string", "a bool" | "a number") => "quote it",
        ("a bool", "a string") => "remove the quotes, and write true or false",
        _ => "give the field the type that the CRD describes",
    };
    let message = format!("the value is {found}, and the API server wants {expected}");
    refuse(path, &message, fix, report);
    false
}

/// Takes the fields without a value out of `map`, except for those that may be null, as the API server
/// does before it looks at the schema.
fn drop_nulls(map: &mut Map<String, Value>, is_nullable: impl Fn(&str) -> bool) {
    map.retain(|key, value| !value.is_null() || is_nullable(key));
}

fn check_object(
    map: &mut Map<String, Value>,
    required: usize,
    fields: &'static [(&'static str, Schema)],
    path: &FieldPath,
    report: &mut Report,
) {
    drop_nulls(map, |key| {
        let field = fields.iter().find(|(name, _)| *name == key);
        matches!(field, Some((_, Schema::NullableString)))
    });
    for (name, _) in fields.iter().take(required) {
        if !map.contains_key(*name) {
            let path = path.clone().field(*name);
            refuse(
                &path,
                "the field is required, and the API server refuses the object without it",
                "set it",
                report,
            );
        }
    }
    map.retain(|key, value| {
        let known = fields.iter().find(|(name, _)| name == key);
        let Some((name, schema)) = known else {
            let at = path.clone().field(shown(key));
            let fix = instead_of(key, fields);
            let message = "the schema has no such field, and the API server drops it";
            report.add_finding(Finding::new(&DROPPED, at, "", message, fix));
            return false;
        };
        check_value(value, schema, &path.clone().field(*name), report)
    });
}

/// Returns what to write instead of an unknown field beside `fields`.
fn instead_of(key: &str, fields: &[(&str, Schema)]) -> String {
    let plain = key.to_ascii_lowercase();
    let similar = fields.iter().find(|(name, _)| {
        let name = name.to_ascii_lowercase();
        plain == name || plain == format!("{name}s")
    });
    if let Some((name, _)) = similar {
        return format!("write `{name}`");
    }
    if CA_NAMES.contains(&plain.as_str()) || plain.starts_with("cacert") {
        return "name the CA in spec.objectStorage.caCertRef".to_owned();
    }
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    format!("remove it; the fields are {}", names.join(", "))
}

fn refuse(path: &FieldPath, message: &str, fix: &str, report: &mut Report) {
    report.add_finding(Finding::new(&UNREADABLE, path.clone(), "", message, fix));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(spec: &Value) -> Vec<String> {
        let mut report = Report::default();
        check(&mut json!({ "spec": spec }), &mut report);
        let findings = report.findings.iter();
        let mut found: Vec<_> = findings
            .map(|finding| format!("{} {}: {}", finding.rule.id, finding.path, finding.fix))
            .collect();
        found.sort();
        found
    }

    fn good() -> Value {
        json!({
            "provider": "aws",
            "accessMode": "ReadOnly",
            "backupSyncPeriod": null,
            "config": {"region": "minio"},
            "credential": {"name": "a", "key": "b"},
            "default": true,
            "objectStorage": {"bucket": "b", "prefix": "p", "caCert": "YQ==",
                "caCertRef": {"name": "c", "key": "d"}},
            "validationFrequency": "1m",
        })
    }

    #[test]
    fn what_matches_the_schema_has_no_finding() {
        assert_eq!(found(&good()), [""; 0]);
        let mut location = json!({ "spec": good() });
        check(&mut location, &mut Report::default());
        assert_eq!(location["spec"], good());
    }

    #[test]
    fn what_the_api_server_refuses_is_denied_with_its_field() {
        for (pointer, value, want) in [
            (
                "/config/region",
                json!(true),
                "VT000 spec.config.region: quote it",
            ),
            (
                "/config/region",
                json!(1),
                "VT000 spec.config.region: quote it",
            ),
            (
                "/accessMode",
                json!("readonly"),
                "VT000 spec.accessMode: write ReadOnly or ReadWrite",
            ),
            ("/provider", json!(null), "VT000 spec.provider: set it"),
            (
                "/validationFrequency",
                json!(60),
                "VT000 spec.validationFrequency: write a duration, such as \"60s\"",
            ),
            (
                "/default",
                json!("true"),
                "VT000 spec.default: remove the quotes, and write true or false",
            ),
            (
                "/objectStorage",
                json!([]),
                "VT000 spec.objectStorage: give the field the type that the CRD describes",
            ),
            (
                "/objectStorage/caCert",
                json!("YQ==\n"),
                "VT000 spec.objectStorage.caCert: put it on one line, as `base64 -w0 ca.pem` does",
            ),
        ] {
            let mut spec = good();
            *spec.pointer_mut(pointer).unwrap() = value;
            assert_eq!(found(&spec), [want]);
        }
        let mut spec = good();
        spec.as_object_mut().unwrap().remove("objectStorage");
        assert_eq!(found(&spec), ["VT000 spec.objectStorage: set it"]);
        let reference = json!({"bucket": "b", "caCertRef": {"name": "c"}});
        let spec = json!({"provider": "aws", "objectStorage": reference});
        assert_eq!(
            found(&spec),
            ["VT000 spec.objectStorage.caCertRef.key: set it"]
        );
    }

    /// The API server drops a null where the schema has none, before it looks for required fields.
    #[test]
    fn an_optional_field_without_a_value_is_none() {
        let mut spec = good();
        for pointer in [
            "/config",
            "/credential",
            "/default",
            "/objectStorage/prefix",
        ] {
            *spec.pointer_mut(pointer).unwrap() = Value::Null;
        }
        assert_eq!(found(&spec), [""; 0]);
        let spec = json!({"provider": "aws", "config": {"profile": null}, "objectStorage": {"bucket": null}});
        assert_eq!(found(&spec), ["VT000 spec.objectStorage.bucket: set it"]);
    }

    #[test]
    fn a_misspelt_field_of_the_metadata_is_told() {
        let mut report = Report::default();
        let mut location = json!({
            "metadata": {"name": "a", "annotation": {"a": "b"}},
            "annotations": {},
            "spec": good(),
        });
        check(&mut location, &mut report);
        let paths = report
            .findings
            .iter()
            .map(|finding| finding.path.to_string());
        assert_eq!(
            paths.collect::<Vec<_>>(),
            ["annotations", "metadata.annotation"]
        );
    }

    #[test]
    fn what_the_api_server_drops_is_told_with_the_right_name() {
        let spec = json!({
            "provider": "aws",
            "caCert": "YQ==",
            "objectStorage": {"bucket": "b", "cacert": "YQ==", "caCertSecretRef": {}},
            "configs": {},
            "other": 1,
        });
        assert_eq!(
            found(&spec),
            [
                "VT042 spec.caCert: name the CA in spec.objectStorage.caCertRef",
                "VT042 spec.configs: write `config`",
                "VT042 spec.objectStorage.caCertSecretRef: name the CA in spec.objectStorage.caCertRef",
                "VT042 spec.objectStorage.cacert: write `caCert`",
                "VT042 spec.other: remove it; the fields are objectStorage, provider, accessMode, \
                 backupSyncPeriod, config, credential, default, validationFrequency",
            ]
        );
    }
}
