//! The namespaces into which a controller copies a Secret.

use serde_json::Value;

use crate::sources::sealed::ANY_NAMESPACE;

/// Annotations of controllers that copy a Secret, whose value lists the namespaces: Reflector and
/// Kubernetes Replicator.
const ANNOTATIONS: [&str; 3] = [
    "reflector.v1.k8s.emberstack.com/reflection-auto-namespaces",
    "reflector.v1.k8s.emberstack.com/reflection-allowed-namespaces",
    "replicator.v1.mittwald.de/replicate-to",
];

/// Annotations whose presence means copies in namespaces that they do not list.
const ANYWHERE: [&str; 3] = [
    "kubed.appscode.com/sync",
    "kubernetes-config-syncer.appscode.com/sync",
    "replicator.v1.mittwald.de/replicate-to-matching",
];

/// Returns the namespaces into which `secret` is copied. One that is a pattern is any namespace.
pub(super) fn namespaces(secret: &Value) -> Vec<String> {
    let annotation = |name| {
        let value = secret.pointer("/metadata/annotations")?.get(name)?;
        value.as_str()
    };
    let mut namespaces: Vec<_> = ANNOTATIONS
        .into_iter()
        .filter_map(annotation)
        .flat_map(|list| list.split(','))
        .map(|name| {
            let name = name.trim();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let is_name = !name.is_empty() && name.chars().all(is_plain);
            if is_name { name } else { ANY_NAMESPACE }.to_owned()
        })
        .collect();
    if ANYWHERE.into_iter().any(|name| annotation(name).is_some()) {
        namespaces.push(ANY_NAMESPACE.to_owned());
    }
    namespaces
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_names_namespaces_and_a_pattern_any() {
        let of = |name: &str, value: &str| {
            let annotations = json!({ name: value });
            namespaces(&json!({"metadata": {"annotations": annotations}}))
        };
        assert_eq!(of(ANNOTATIONS[0], "velero, backup"), ["velero", "backup"]);
        assert_eq!(of(ANNOTATIONS[2], "velero-.*"), [ANY_NAMESPACE]);
        assert_eq!(of(ANYWHERE[0], ""), [ANY_NAMESPACE]);
        assert_eq!(of("other", "velero"), [""; 0]);
    }
}
