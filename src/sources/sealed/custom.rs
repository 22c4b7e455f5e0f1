//! Kinds that nobody listed and that plainly make a Secret: they name it as their target, template
//! or output.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::decision::Key;

/// Groups whose kinds read Secrets and make none: those of Kubernetes itself, of Velero, and of tools
/// that deploy other objects.
const READERS: [&str; 12] = [
    "admissionregistration.k8s.io",
    "apps",
    "argoproj.io",
    "autoscaling",
    "batch",
    "helm.toolkit.fluxcd.io",
    "kustomize.toolkit.fluxcd.io",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "source.toolkit.fluxcd.io",
    "storage.k8s.io",
    "velero.io",
];

/// How the names of the fields begin that name a Secret to make.
const TARGETS: [&str; 8] = [
    "destination",
    "managed",
    "output",
    "publishconnectiondetailsto",
    "secrettemplate",
    "target",
    "template",
    "write",
];

/// Fields whose value is the name of a Secret to make.
const NAMES: [&str; 3] = ["outputSecretName", "secretName", "targetSecretName"];

/// Returns the names of the Secrets that an object of another kind makes; `own` is its own name.
pub(super) fn secret_names(group: &str, kind: &str, own: &Key, object: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if !group.contains('.') || READERS.contains(&group) {
        return names;
    }
    if kind.ends_with("Secret") && !kind.contains("Push") {
        names.insert(own.name.clone());
    }
    let fields = object.get("spec").and_then(Value::as_object);
    for (field, value) in fields.into_iter().flatten() {
        if NAMES.contains(&field.as_str()) {
            names.extend(value.as_str().map(str::to_owned));
        }
        let lower = field.to_ascii_lowercase();
        if TARGETS.iter().any(|target| lower.starts_with(target)) {
            each(value, &mut |value| names.extend(made(&lower, value)));
        }
    }
    names
}

/// Calls `take` for the elements of a list, or for what is no list.
fn each<'v>(value: &'v Value, take: &mut dyn FnMut(&'v Value)) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| each(value, take)),
        value => take(value),
    }
}

/// Returns the name of the Secret that the field with this name, in lower case, describes.
fn made(field: &str, value: &Value) -> Option<String> {
    let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    // Patches, and tools that make other objects, say which kind it is.
    if text(value, "kind").is_some_and(|kind| kind != "Secret") {
        return None;
    }
    if field.contains("template") {
        // The template of a Secret has its content. That of a Pod has a spec.
        let is_secret = field.contains("secret")
            || ["data", "stringData", "type"]
                .iter()
                .any(|name| value.get(name).is_some());
        let name = text(value.get("metadata")?, "name").or_else(|| text(value, "name"));
        return name.filter(|_| is_secret && value.get("spec").is_none());
    }
    let inner = ["secret", "secretRef", "secretReference"];
    let inner = inner.iter().find_map(|name| value.get(*name));
    [Some(value), inner]
        .into_iter()
        .flatten()
        .find_map(|value| text(value, "secretName").or_else(|| text(value, "name")))
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
            json!({"template": {"metadata": {"name": "s"}, "data": {}}}),
            json!({"secretTemplate": {"metadata": {"name": "s"}}}),
            json!({"writeConnectionSecretToRef": {"name": "s", "namespace": "x"}}),
            json!({"managedKubeSecretReferences": [{"secretName": "s"}]}),
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
            json!({"target": {"tls": {"caSecret": {"name": "s"}}}}),
            json!({"target": {"kind": "ConfigMap", "name": "s"}}),
            json!({"ca": {"secretName": "s"}}),
            json!({"template": {"metadata": {"name": "s"}, "spec": {}}}),
            json!({"tls": {"trustedCertificates": [{"secretName": "s"}]}}),
            json!({"name": "s"}),
        ] {
            assert_eq!(names("Reader", &spec), [""; 0], "{spec}");
        }
        let own = Key::new("ns", "own");
        let pod =
            json!({"spec": {"template": {"spec": {"volumes": [{"secret": {"secretName": "s"}}]}}}});
        for (group, kind) in [("apps", "Deployment"), ("argoproj.io", "Rollout")] {
            assert_eq!(secret_names(group, kind, &own, &pod), BTreeSet::new());
        }
    }
}
