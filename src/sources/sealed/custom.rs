//! Kinds that nobody listed and that plainly make a Secret: they name it as their target, template
//! or output.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::decision::Key;

/// Groups of Kubernetes itself and of Velero, whose kinds read Secrets and make none.
const READERS: [&str; 9] = [
    "admissionregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "source.toolkit.fluxcd.io",
    "storage.k8s.io",
    "velero.io",
];

/// Fields below which a Secret is made.
const TARGETS: [&str; 6] = [
    "destination",
    "generate",
    "managedsecret",
    "output",
    "target",
    "template",
];

/// Ends of the names of fields below which a Secret is read.
const SOURCES: [&str; 8] = [
    "auth",
    "from",
    "ref",
    "refs",
    "reference",
    "selector",
    "source",
    "store",
];

/// Returns the names of the Secrets that an object of another kind makes; `own` is its own name.
pub(super) fn secret_names(group: &str, kind: &str, own: &Key, object: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let is_custom = group.contains('.') && !READERS.contains(&group);
    if !is_custom {
        return names;
    }
    if kind.ends_with("Secret") {
        names.insert(own.name.clone());
    }
    if let Some(spec) = object.get("spec") {
        find(spec, "", false, &mut names);
    }
    names
}

/// Finds the names below `value`, which is at the field `field`, in the target of the object or not.
fn find(value: &Value, field: &str, in_target: bool, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => {
            for item in list {
                find(item, field, in_target, names);
            }
        }
        Value::Object(map) => {
            let lower = field.to_ascii_lowercase();
            let in_target = in_target || TARGETS.iter().any(|target| lower.starts_with(target));
            let is_source = SOURCES.iter().any(|source| lower.ends_with(source));
            if is_source && !lower.starts_with("managed") {
                return;
            }
            for (name, value) in map {
                let names_one = match name.as_str() {
                    "secretName" => true,
                    "name" => in_target,
                    _ => false,
                };
                match value {
                    Value::String(text) if names_one => {
                        names.insert(text.clone());
                    }
                    _ => find(value, name, in_target, names),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(kind: &str, spec: &Value) -> Vec<String> {
        let own = Key::new("ns", "own");
        let object = json!({ "spec": spec });
        let names = secret_names("example.test", kind, &own, &object);
        names.into_iter().collect()
    }

    #[test]
    fn what_is_named_as_target_template_or_output_is_made() {
        for spec in [
            json!({"secretName": "s"}),
            json!({"target": {"name": "s"}}),
            json!({"targets": [{"secret": {"name": "s"}}]}),
            json!({"output": {"secret": {"name": "s"}}}),
            json!({"template": {"metadata": {"name": "s"}}}),
            json!({"managedSecretReference": {"secretName": "s"}}),
        ] {
            assert_eq!(names("Maker", &spec), ["s"], "{spec}");
        }
        assert_eq!(names("VaultSecret", &json!({"path": "x"})), ["own"]);
    }

    #[test]
    fn what_is_read_is_not_made() {
        for spec in [
            json!({"authSecretRef": {"secretName": "s"}}),
            json!({"secretKeyRef": {"name": "s"}}),
            json!({"valuesFrom": [{"secretName": "s"}]}),
            json!({"target": {"secretStoreRef": {"name": "s"}}}),
            json!({"name": "s"}),
        ] {
            assert_eq!(names("Reader", &spec), [""; 0], "{spec}");
        }
        let own = Key::new("ns", "own");
        let pod =
            json!({"spec": {"template": {"spec": {"volumes": [{"secret": {"secretName": "s"}}]}}}});
        assert_eq!(
            secret_names("apps", "Deployment", &own, &pod),
            BTreeSet::new()
        );
    }
}
