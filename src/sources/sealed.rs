//! Secrets that are not readable in Git: encrypted, or generated in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::placeholder::placeholder;
use crate::decision::{Fact, Key, Sealed, Secret};

/// Values of a Secret that cannot be read here, beside those that can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HiddenValues {
    /// What hides them, and all keys of the Secret: SOPS and templates keep the keys readable.
    sealed: Arc<Sealed>,
    keys: BTreeSet<String>,
}

impl HiddenValues {
    /// Returns what stands for `key`, unless its value can be read.
    pub(super) fn instead_of(&self, key: &str) -> Option<Fact> {
        let is_hidden = self.keys.contains(key) || self.sealed.lacks(key);
        is_hidden.then(|| Fact::Sealed(Arc::clone(&self.sealed)))
    }

    /// Whether the value of `key` is one of them.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }
}

/// A Secret that stands in a file.
#[derive(Clone, Debug)]
pub(super) struct StoredSecret {
    fact: Fact,
    hidden: Option<HiddenValues>,
}

impl StoredSecret {
    /// One whose values can be read, except for those that are `hidden`.
    pub(super) fn readable(secret: Secret, hidden: Option<HiddenValues>) -> Self {
        Self {
            fact: Fact::Secret(Arc::new(secret)),
            hidden,
        }
    }

    /// One that another object stands for.
    pub(super) fn sealed(sealed: Sealed) -> Self {
        Self {
            fact: Fact::Sealed(Arc::new(sealed)),
            hidden: None,
        }
    }

    pub(super) const fn is_readable(&self) -> bool {
        matches!(self.fact, Fact::Secret(_))
    }

    /// Returns the answer to a look-up of `key`.
    pub(super) fn fact(&self, key: &str) -> Fact {
        let hidden = self.hidden.as_ref();
        hidden
            .and_then(|hidden| hidden.instead_of(key))
            .unwrap_or_else(|| self.fact.clone())
    }
}

/// Returns the values of `object`, a Secret, that another tool replaces.
pub(super) fn hidden_values(object: &Value) -> Option<HiddenValues> {
    let values = || pairs(object, "data").chain(pairs(object, "stringData"));
    let hidden = values().filter_map(|(key, value)| Some((key, placeholder(value.as_str()?)?)));
    let hidden: BTreeMap<_, _> = hidden.collect();
    let sealed = Sealed {
        by: hidden.values().next()?,
        keys: Some(values().map(|(key, _)| key.clone()).collect()),
    };
    Some(HiddenValues {
        sealed: Arc::new(sealed),
        keys: hidden.into_keys().cloned().collect(),
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
    fn a_value_hides_only_itself() {
        let object = json!({
            "data": {"a": "ENC[AES256_GCM,data:x]", "c": "YQ=="},
            "stringData": {"b": "plain"},
        });
        let hidden = hidden_values(&object).unwrap();
        let by = |key| match hidden.instead_of(key)? {
            Fact::Sealed(sealed) => Some((sealed.by, sealed.lacks(key))),
            _ => None,
        };
        assert_eq!(by("a"), Some(("encrypted by SOPS", false)));
        assert_eq!(by("b"), None);
        assert_eq!(by("c"), None);
        // Whatever makes the value may make other keys as well.
        assert_eq!(by("d"), Some(("encrypted by SOPS", true)));
        assert_eq!(
            hidden_values(&json!({"sops": {}, "data": {"a": "YQ=="}})),
            None
        );
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
