//! Who sets the caBundle of a webhook, by the managed fields of its configuration.

use serde_json::Value;

use crate::names;

/// Annotations that ask another tool to set the caBundle.
const INJECTORS: [&str; 4] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
    "service.beta.openshift.io/inject-cabundle",
];

/// Who sets a caBundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody, or somebody who changed it once, as `kubectl edit` and `kubectl replace` do.
    Nobody,
    /// velero-trust.
    Ours,
    /// Somebody who goes on setting it: with this field manager, or asked by this annotation.
    Other(String),
}

/// Returns who sets the caBundle of `webhook` in a configuration with this metadata.
pub(super) fn owner(metadata: &Value, webhook: &str) -> Owner {
    let annotations = metadata.get("annotations").and_then(Value::as_object);
    let asks = |key: &&&str| annotations.is_some_and(|all| all.contains_key(**key));
    if let Some(annotation) = INJECTORS.iter().find(asks) {
        return Owner::Other((*annotation).to_owned());
    }
    let entries = metadata.get("managedFields").and_then(Value::as_array);
    let text = |entry: &Value, field| {
        let text = entry.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let key = format!("k:{}", serde_json::json!({"name": webhook}));
    let owns = |entry: &&Value| {
        let fields = entry.get("fieldsV1").and_then(|fields| {
            let webhook = fields.get("f:webhooks")?.get(&key)?;
            webhook.get("f:clientConfig")?.get("f:caBundle")
        });
        fields.is_some()
    };
    let owners = entries.into_iter().flatten().filter(owns);
    let mut owners = owners.map(|entry| (text(entry, "manager"), text(entry, "operation")));
    // Who applies it says what it should be. Any other write is over.
    let applies = |(manager, operation): &(String, String)| {
        operation == "Apply" && manager != names::FIELD_MANAGER
    };
    match owners.clone().find(applies) {
        Some((manager, _)) => Owner::Other(manager),
        None if owners.any(|(manager, _)| manager == names::FIELD_MANAGER) => Owner::Ours,
        None => Owner::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn managed(entries: &[(&str, &str)]) -> Value {
        let fields = json!({"f:webhooks": {r#"k:{"name":"a.b"}"#: {
            "f:clientConfig": {"f:caBundle": {}},
        }}});
        let entries = entries.iter().map(|(manager, operation)| {
            json!({"manager": manager, "operation": operation, "fieldsV1": fields})
        });
        json!({"managedFields": entries.collect::<Vec<_>>()})
    }

    #[test]
    fn who_applies_it_owns_it_and_who_changed_it_once_does_not() {
        let of = |entries: &[_]| owner(&managed(entries), "a.b");
        let ours = ("velero-trust", "Apply");
        assert_eq!(of(&[]), Owner::Nobody);
        assert_eq!(of(&[ours]), Owner::Ours);
        assert_eq!(of(&[("kubectl-replace", "Update")]), Owner::Nobody);
        let flux = Owner::Other("kustomize-controller".to_owned());
        assert_eq!(of(&[ours, ("kustomize-controller", "Apply")]), flux);
        assert_eq!(owner(&managed(&[ours]), "another.webhook"), Owner::Nobody);
    }

    #[test]
    fn an_annotation_asks_another_tool() {
        let mut metadata = managed(&[("velero-trust", "Apply")]);
        metadata["annotations"] = json!({"cert-manager.io/inject-ca-from": "a/b"});
        let owner = owner(&metadata, "a.b");
        assert!(
            matches!(owner, Owner::Other(annotation) if annotation.starts_with("cert-manager"))
        );
    }
}
