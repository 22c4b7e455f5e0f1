//! Secrets that are not readable in Git: encrypted, or generated in the cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::yaml::is_template;
use crate::decision::{Key, Sealed};

/// Returns the form in which `object`, a Secret, hides its content, if it does.
pub(super) fn secret(object: &Value) -> Option<Sealed> {
    let values = || pairs(object, "data").chain(pairs(object, "stringData"));
    let has = |is: fn(&str) -> bool| values().any(|(_, value)| value.as_str().is_some_and(is));
    let by = if has(|value| value.starts_with("ENC[")) {
        "encrypted by SOPS"
    } else if has(is_placeholder) {
        "a template"
    } else {
        return None;
    };
    // SOPS and templates keep the keys readable.
    let keys = values().map(|(key, _)| key.clone()).collect();
    Some(Sealed {
        by,
        keys: Some(keys),
    })
}

/// Returns the Secrets that `object` generates, if it is of a kind that generates Secrets; `own` is
/// its name.
pub(super) fn secrets_made_by(
    api: &str,
    kind: &str,
    own: &Key,
    object: &Value,
) -> Option<Vec<(Key, Sealed)>> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (group, _) = api.split_once('/')?;
    match (group, kind) {
        ("bitnami.com", "SealedSecret") => one_secret(
            own,
            Some(&own.name),
            "a SealedSecret",
            sealed_secret_keys(spec),
        ),
        ("external-secrets.io", "ExternalSecret") => {
            let name = spec.pointer("/target/name").and_then(Value::as_str);
            let keys = external_secret_keys(spec);
            one_secret(own, name.or(Some(&own.name)), "an ExternalSecret", keys)
        }
        ("cert-manager.io", "Certificate") => {
            // The keys depend on the issuer.
            let name = spec.get("secretName").and_then(Value::as_str);
            one_secret(own, name, "made by a Certificate", None)
        }
        ("secrets-store.csi.x-k8s.io", "SecretProviderClass") => {
            let objects = items(spec.get("secretObjects")).filter_map(|object| {
                let name = object.get("secretName").and_then(Value::as_str);
                let keys = texts(object.get("data"), "key").collect();
                one_secret(own, name, "made by a SecretProviderClass", Some(keys))
            });
            Some(objects.flatten().collect())
        }
        _ => None,
    }
}

fn one_secret(
    own: &Key,
    name: Option<&str>,
    by: &'static str,
    keys: Option<BTreeSet<String>>,
) -> Option<Vec<(Key, Sealed)>> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(vec![(Key::new(&own.namespace, name), Sealed { by, keys })])
}

/// Returns the keys of a SealedSecret's content. The form before 2018, `spec.data`, hides them.
fn sealed_secret_keys(spec: &Value) -> Option<BTreeSet<String>> {
    let encrypted = spec.get("encryptedData")?.as_object()?;
    let templated = spec
        .pointer("/template/data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    Some(
        encrypted
            .keys()
            .chain(templated.map(|(key, _)| key))
            .cloned()
            .collect(),
    )
}

/// Returns the keys that an ExternalSecret generates, unless another source adds to them.
fn external_secret_keys(spec: &Value) -> Option<BTreeSet<String>> {
    let from_elsewhere = ["/dataFrom", "/target/template/templateFrom"]
        .iter()
        .any(|pointer| items(spec.pointer(pointer)).next().is_some());
    let is = |pointer, value| spec.pointer(pointer).and_then(Value::as_str) == Some(value);
    if from_elsewhere || is("/target/creationPolicy", "Merge") {
        return None;
    }
    let templated = spec
        .pointer("/target/template/data")
        .and_then(Value::as_object);
    let mut keys: BTreeSet<_> = templated
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect();
    // A template replaces the fetched data, unless its merge policy says otherwise.
    if templated.is_none() || is("/target/template/mergePolicy", "Merge") {
        keys.extend(texts(spec.get("data"), "secretKey"));
    }
    Some(keys)
}

/// Returns whether `value` is a placeholder for another tool to replace, such as Helm or Argo CD's
/// vault plugin.
fn is_placeholder(value: &str) -> bool {
    is_template(value) || value.starts_with("<path:") && value.trim_end().ends_with('>')
}

/// Returns the pairs of the map `field` of an object.
pub(super) fn pairs<'v>(
    object: &'v Value,
    field: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    let map = object.get(field).and_then(Value::as_object);
    map.into_iter().flatten()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn texts(list: Option<&Value>, field: &str) -> impl Iterator<Item = String> {
    items(list).filter_map(move |item| Some(item.get(field)?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(sealed: &Sealed) -> Option<Vec<&str>> {
        let keys = sealed.keys.as_ref()?;
        Some(keys.iter().map(String::as_str).collect())
    }

    fn made(api: &str, kind: &str, spec: &Value) -> Vec<(Key, Sealed)> {
        secrets_made_by(api, kind, &Key::new("ns", "own"), &json!({ "spec": spec })).unwrap()
    }

    #[test]
    fn sops_and_templates_hide_values_and_show_keys() {
        let sops =
            json!({"sops": {}, "data": {"a": "ENC[AES256_GCM,data:x]"}, "stringData": {"b": ""}});
        let sealed = secret(&sops).unwrap();
        assert_eq!(sealed.by, "encrypted by SOPS");
        assert_eq!(keys(&sealed), Some(vec!["a", "b"]));
        let template = json!({"stringData": {"a": "{{ .Values.ca }}"}});
        assert_eq!(secret(&template).unwrap().by, "a template");
        let vault = json!({"data": {"a": "<path:secret/data/ca#ca.crt>"}});
        assert_eq!(secret(&vault).unwrap().by, "a template");
        // SOPS may leave some values unencrypted.
        assert_eq!(secret(&json!({"sops": {}, "data": {"a": "YQ=="}})), None);
    }

    #[test]
    fn a_sealed_secret_has_the_name_of_its_secret() {
        let spec = json!({"encryptedData": {"a": "Ag"}, "template": {"data": {"b": ""}}});
        let [(key, sealed)] = &made("bitnami.com/v1alpha1", "SealedSecret", &spec)[..] else {
            panic!()
        };
        assert_eq!(*key, Key::new("ns", "own"));
        assert_eq!(keys(sealed), Some(vec!["a", "b"]));
        let old = made(
            "bitnami.com/v1alpha1",
            "SealedSecret",
            &json!({"data": "Ag"}),
        );
        assert_eq!(old[0].1.keys, None);
    }

    #[test]
    fn an_external_secret_names_its_target_and_some_keys() {
        let of = |spec: Value| {
            let mut made = made("external-secrets.io/v1", "ExternalSecret", &spec);
            made.remove(0)
        };
        let data = json!([{"secretKey": "a", "remoteRef": {"key": "x"}}]);
        let (key, sealed) = of(json!({"target": {"name": "other"}, "data": data}));
        assert_eq!(key, Key::new("ns", "other"));
        assert_eq!(keys(&sealed), Some(vec!["a"]));
        let (key, sealed) = of(json!({"data": data, "dataFrom": [{"extract": {"key": "x"}}]}));
        assert_eq!((key.name.as_str(), sealed.keys), ("own", None));
        let (_, sealed) = of(json!({"data": data, "target": {"template": {"data": {"b": ""}}}}));
        assert_eq!(keys(&sealed), Some(vec!["b"]));
        let (_, sealed) = of(json!({"data": data, "target": {"creationPolicy": "Merge"}}));
        assert_eq!(sealed.keys, None);
    }

    #[test]
    fn certificates_and_secret_provider_classes_make_secrets_too() {
        let certificate = made(
            "cert-manager.io/v1",
            "Certificate",
            &json!({"secretName": "s"}),
        );
        assert_eq!(certificate[0].0, Key::new("ns", "s"));
        let objects = json!([{"secretName": "t", "data": [{"key": "a", "objectName": "x"}]}]);
        let class = made(
            "secrets-store.csi.x-k8s.io/v1",
            "SecretProviderClass",
            &json!({ "secretObjects": objects }),
        );
        assert_eq!(class[0].0, Key::new("ns", "t"));
        assert_eq!(keys(&class[0].1), Some(vec!["a"]));
        let foreign = secrets_made_by("apps/v1", "Deployment", &Key::new("ns", "own"), &json!({}));
        assert_eq!(foreign, None);
    }
}
