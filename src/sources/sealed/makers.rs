//! The objects from which a controller makes Secrets.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::custom;
use crate::decision::{Key, Sealed};

/// The namespace of a Secret that may be in any namespace: a selector chooses it.
pub(in crate::sources) const ANY_NAMESPACE: &str = "";

/// A kind whose objects name the Secret that is made of them.
struct Maker {
    group: &'static str,
    kinds: &'static [&'static str],
    /// JSON pointer to the name of the Secret; empty if it has the name of the object.
    name: &'static str,
    /// JSON pointer to its namespace; empty if it is in that of the object.
    namespace: &'static str,
}

const MAKERS: [Maker; 11] = [
    // The keys of a certificate depend on the issuer.
    maker("cert-manager.io", &["Certificate"], "/spec/secretName", ""),
    maker(
        "k8s.bitwarden.com",
        &["BitwardenSecret"],
        "/spec/secretName",
        "",
    ),
    maker("onepassword.com", &["OnePasswordItem"], "", ""),
    maker(
        "redhatcop.redhat.io",
        &["VaultSecret"],
        "/spec/output/name",
        "",
    ),
    maker("ricoberger.de", &["VaultSecret"], "", ""),
    maker(
        "secretgen.carvel.dev",
        &["SecretImport", "SecretTemplate"],
        "",
        "",
    ),
    maker(
        "secrets.doppler.com",
        &["DopplerSecret"],
        "/spec/managedSecret/name",
        "/spec/managedSecret/namespace",
    ),
    maker(
        "secrets.hashicorp.com",
        &[
            "HCPVaultSecretsApp",
            "VaultDynamicSecret",
            "VaultPKISecret",
            "VaultStaticSecret",
        ],
        "/spec/destination/name",
        "",
    ),
    maker(
        "secrets.infisical.com",
        &["InfisicalSecret"],
        "/spec/managedSecretReference/secretName",
        "/spec/managedSecretReference/secretNamespace",
    ),
    maker(
        "spv.no",
        &["AzureKeyVaultSecret"],
        "/spec/output/secret/name",
        "",
    ),
    maker(
        "keyvault.azure.com",
        &["SyncedSecret"],
        "/spec/secretName",
        "",
    ),
];

const fn maker(
    group: &'static str,
    kinds: &'static [&'static str],
    name: &'static str,
    namespace: &'static str,
) -> Maker {
    Maker {
        group,
        kinds,
        name,
        namespace,
    }
}

/// Returns the Secrets that are made of `object`, if there are any; `own` is its name. The namespace
/// of one that may be anywhere is [`ANY_NAMESPACE`].
pub(in crate::sources) fn secrets_made_by(
    api: &str,
    kind: &str,
    own: &Key,
    object: &Value,
) -> Option<Vec<(Key, Sealed)>> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (group, _) = api.split_once('/')?;
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let known = MAKERS
        .iter()
        .find(|maker| maker.group == group && maker.kinds.contains(&kind));
    if let Some(maker) = known {
        let name = match maker.name {
            "" => Some(own.name.as_str()),
            pointer => text(pointer),
        };
        let namespace = text(maker.namespace).unwrap_or(&own.namespace);
        return one_secret(namespace, name, made_by(kind), None);
    }
    match (group, kind) {
        ("bitnami.com", "SealedSecret") => one_secret(
            &own.namespace,
            Some(&own.name),
            "a SealedSecret",
            sealed_secret_keys(spec),
        ),
        ("external-secrets.io", "ExternalSecret")
            if text("/spec/target/manifest/kind").is_some_and(|kind| kind != "Secret") =>
        {
            None
        }
        ("external-secrets.io", "ExternalSecret") => {
            let name = text("/spec/target/name").or(Some(&own.name));
            let keys = external_secret_keys(spec);
            one_secret(&own.namespace, name, "an ExternalSecret", keys)
        }
        ("external-secrets.io", "ClusterExternalSecret") => {
            let spec = spec.get("externalSecretSpec").unwrap_or(&Value::Null);
            let name = spec.pointer("/target/name").and_then(Value::as_str);
            let name = name
                .or_else(|| text("/spec/externalSecretName"))
                .or(Some(&own.name));
            let keys = external_secret_keys(spec);
            one_secret(ANY_NAMESPACE, name, made_by(kind), keys)
        }
        // They read Secrets.
        ("cert-manager.io", _) | ("external-secrets.io", "PushSecret" | "ClusterPushSecret") => {
            None
        }
        ("isindir.github.com", "SopsSecret") => {
            let templates = items(spec.get("secretTemplates")).filter_map(|template| {
                let name = template.get("name").and_then(Value::as_str);
                let pairs =
                    super::pairs(template, "data").chain(super::pairs(template, "stringData"));
                let keys = pairs.map(|(key, _)| key.clone()).collect();
                one_secret(&own.namespace, name, made_by(kind), Some(keys))
            });
            Some(templates.flatten().collect())
        }
        ("secrets-store.csi.x-k8s.io", "SecretProviderClass") => {
            let objects = items(spec.get("secretObjects")).filter_map(|object| {
                let name = object.get("secretName").and_then(Value::as_str);
                let keys = texts(object.get("data"), "key").collect();
                one_secret(&own.namespace, name, made_by(kind), Some(keys))
            });
            Some(objects.flatten().collect())
        }
        ("trust.cert-manager.io", "Bundle" | "ClusterBundle") => {
            let key = spec.pointer("/target/secret/key").and_then(Value::as_str)?;
            let keys = BTreeSet::from([key.to_owned()]);
            one_secret(ANY_NAMESPACE, Some(&own.name), made_by(kind), Some(keys))
        }
        _ => {
            let names = custom::secret_names(group, kind, own, object);
            let made = names
                .into_iter()
                .filter_map(|name| one_secret(&own.namespace, Some(&name), made_by(kind), None));
            let made: Vec<_> = made.flatten().collect();
            (!made.is_empty()).then_some(made)
        }
    }
}

fn made_by(kind: &str) -> String {
    let is_vowel = kind.starts_with(['A', 'E', 'I', 'O']) && !kind.starts_with("One");
    let article = if is_vowel { "an" } else { "a" };
    format!("made by {article} {kind}")
}

fn one_secret(
    namespace: &str,
    name: Option<&str>,
    by: impl Into<Cow<'static, str>>,
    keys: Option<BTreeSet<String>>,
) -> Option<Vec<(Key, Sealed)>> {
    let name = name.filter(|name| !name.is_empty())?;
    let by = by.into();
    Some(vec![(Key::new(namespace, name), Sealed { by, keys })])
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

    #[test]
    fn a_secret_may_be_in_another_namespace_or_in_any() {
        let managed = json!({"managedSecret": {"name": "s", "namespace": "velero"}});
        let doppler = made("secrets.doppler.com/v1alpha1", "DopplerSecret", &managed);
        assert_eq!(doppler[0].0, Key::new("velero", "s"));
        let target = json!({"target": {"secret": {"key": "ca.crt"}}});
        let bundle = made("trust.cert-manager.io/v1alpha1", "Bundle", &target);
        assert_eq!(bundle[0].0, Key::new(ANY_NAMESPACE, "own"));
        assert_eq!(keys(&bundle[0].1), Some(vec!["ca.crt"]));
        let spec = json!({"externalSecretSpec": {"data": [{"secretKey": "a"}]}});
        let cluster = made("external-secrets.io/v1", "ClusterExternalSecret", &spec);
        assert_eq!(cluster[0].0, Key::new(ANY_NAMESPACE, "own"));
        assert_eq!(cluster[0].1.by, "made by a ClusterExternalSecret");
        // A bundle may be a ConfigMap only.
        let map = json!({"target": {"configMap": {"key": "ca.crt"}}});
        let own = Key::new("ns", "own");
        let object = json!({ "spec": map });
        let none = secrets_made_by("trust.cert-manager.io/v1alpha1", "Bundle", &own, &object);
        assert_eq!(none, None);
    }
}
