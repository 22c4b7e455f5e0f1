//! Reads what the records of backups need: their kinds, and the key that signs.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec,
};
use kube::{Api, Client};

use super::cluster_snapshot::Read;
use crate::cli::snapshot::read_trusted_keys;
use crate::digest::Sha256;
use crate::kubernetes::crds::{self, TrustedKey};
use crate::kubernetes::error::lookup_error;
use crate::names;
use crate::signing_key::SigningKey;

/// What the records need.
#[derive(Clone, Debug)]
pub(super) struct LedgerSnapshot {
    /// Their kinds.
    pub(super) kinds: Read<LedgerKinds>,
    /// The Secret with the key that signs. Nothing of the key is kept.
    pub(super) secret: Read<KeySecret>,
    /// The keys that verify.
    pub(super) trusted_keys: Read<Vec<TrustedKey>>,
}

/// The CRDs of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LedgerKinds {
    /// At least one is not there.
    Absent,
    /// At least one is not that of this version.
    Different,
    /// They are those of this version.
    Current,
}

/// The Secret with the key that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySecret {
    /// It is not there.
    Absent,
    /// No key can be read from it, for this reason.
    Unusable(String),
    /// It has the private half of the key with this id.
    Key(Sha256),
}

/// Reads the snapshot, for the installation in `namespace`.
pub(super) async fn read(client: &Client, namespace: &str) -> LedgerSnapshot {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let (kinds, secret, trusted_keys) = tokio::join!(
        read_kinds(client),
        secrets.get_opt(names::SIGNING_KEY),
        read_trusted_keys(client)
    );
    LedgerSnapshot {
        kinds,
        secret: secret
            .map(|secret| secret.map_or(KeySecret::Absent, |secret| KeySecret::read(&secret)))
            .map_err(|error| lookup_error(&error).message),
        trusted_keys: trusted_keys.map_err(|error| error.to_string()),
    }
}

async fn read_kinds(client: &Client) -> Read<LedgerKinds> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let mut kinds = LedgerKinds::Current;
    for shipped in crds::all() {
        let name = shipped.metadata.name.clone().unwrap_or_default();
        let found = definitions.get_opt(&name).await;
        let found = found.map_err(|error| lookup_error(&error).message)?;
        let Some(found) = found else {
            return Ok(LedgerKinds::Absent);
        };
        if !is_same(&shipped, &found) {
            kinds = LedgerKinds::Different;
        }
    }
    Ok(kinds)
}

/// Whether the API server keeps and validates the objects of two definitions alike.
fn is_same(shipped: &CustomResourceDefinition, found: &CustomResourceDefinition) -> bool {
    let (shipped, found) = (&shipped.spec, &found.spec);
    let versions = |spec: &CustomResourceDefinitionSpec| {
        let versions = spec.versions.iter();
        let parts = versions.map(|one| (one.name.clone(), one.schema.clone()));
        parts.collect::<Vec<_>>()
    };
    shipped.scope == found.scope && versions(shipped) == versions(found)
}

impl KeySecret {
    fn read(secret: &Secret) -> Self {
        let data = secret.data.as_ref();
        let pem = data.and_then(|data| data.get(names::PRIVATE_KEY));
        let Some(pem) = pem.and_then(|pem| std::str::from_utf8(&pem.0).ok()) else {
            return Self::Unusable(format!("it has no key {} with text", names::PRIVATE_KEY));
        };
        match SigningKey::from_pem(pem) {
            Ok(key) => Self::Key(key.public().id()),
            Err(error) => Self::Unusable(format!("its key {}: {error}", names::PRIVATE_KEY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::Algorithm;
    use serde_json::{Value, json};

    #[test]
    fn a_definition_with_another_schema_is_of_another_version() {
        let [shipped, other] = crds::all();
        // What the API server writes: it has no type for whole numbers, and adds to the object.
        let text = serde_json::to_string(&shipped).unwrap().replace(".0,", ",");
        let mut stored: Value = serde_json::from_str(&text).unwrap();
        stored["spec"]["conversion"] = json!({"strategy": "None"});
        let typed = |stored: &Value| serde_json::from_value(stored.clone()).unwrap();
        assert!(is_same(&shipped, &typed(&stored)));
        assert!(!is_same(&shipped, &other));
        let schema = &mut stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["status"] = json!({"type": "object"});
        assert!(!is_same(&shipped, &typed(&stored)));
    }

    #[test]
    fn a_key_is_read_and_nothing_of_its_text_is_told() {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let secret = |data: Value| {
            let secret: Secret = serde_json::from_value(json!({"stringData": data})).unwrap();
            let data = secret.string_data.unwrap_or_default().into_iter();
            let data = data.map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes())));
            KeySecret::read(&Secret {
                data: Some(data.collect()),
                ..Secret::default()
            })
        };
        let found = secret(json!({"key.pem": key.to_pem()}));
        assert_eq!(found, KeySecret::Key(key.public().id()));
        assert!(matches!(secret(json!({})), KeySecret::Unusable(_)));
        let cut = key.to_pem().replacen("-----END", "-----EN", 1);
        let KeySecret::Unusable(why) = secret(json!({"key.pem": cut})) else {
            panic!("half a key is none");
        };
        assert!(why.contains("key.pem") && !why.contains("BEGIN"), "{why}");
    }
}
