//! The Secret with the key that signs, as the user may read and write it. No error has anything of its content.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::object::FIELD_MANAGER;
use super::signing::stored_at;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::keep;
use crate::names;
use crate::signing_key::SigningKey;

/// The Secret as it was read.
pub(super) struct KeySecret {
    secret: Secret,
    /// The key in it, or why there is none.
    pub(super) key: anyhow::Result<SigningKey>,
}

/// Returns how the Secret is called.
pub(super) fn shown(namespace: &str) -> String {
    format!("Secret {namespace}/{}", names::SIGNING_KEY)
}

/// Reads the Secret.
pub(super) async fn read(client: &Client, namespace: &str) -> anyhow::Result<KeySecret> {
    let found = find(client, namespace).await?;
    found.with_context(|| {
        format!(
            "{} does not exist: the leader makes it before it records the first backup; is velero-trust installed \
             in {namespace} (--namespace)?",
            shown(namespace)
        )
    })
}

/// Reads the Secret; `None` if there is none.
pub(super) async fn find(client: &Client, namespace: &str) -> anyhow::Result<Option<KeySecret>> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let what = shown(namespace);
    let secret = match secrets.get_opt(names::SIGNING_KEY).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Ok(None),
        Err(error) => bail!("cannot read {what}: {}", lookup_error(&error).message),
    };
    let key = key(&secret).with_context(|| what);
    Ok(Some(KeySecret { secret, key }))
}

fn key(secret: &Secret) -> anyhow::Result<SigningKey> {
    let data = secret.data.as_ref();
    let pem = data.and_then(|data| data.get(names::PRIVATE_KEY));
    let pem = pem.and_then(|pem| std::str::from_utf8(&pem.0).ok());
    let pem = pem.with_context(|| format!("it has no key {}", names::PRIVATE_KEY))?;
    SigningKey::from_pem(pem).context(names::PRIVATE_KEY)
}

/// Makes the Secret. Fails if there is one. Returns when the API server stored it.
pub(super) async fn create(
    client: &Client,
    namespace: &str,
    key: &SigningKey,
) -> anyhow::Result<Timestamp> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(names::SIGNING_KEY.to_owned()),
            ..keep::metadata()
        },
        data: Some(data(key)),
        ..Secret::default()
    };
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    match secrets.create(&params(), &secret).await {
        Ok(created) => Ok(stored_at(&created.metadata)),
        Err(error) => {
            let why = lookup_error(&error).message;
            bail!("cannot create {}: {why}", shown(namespace))
        }
    }
}

/// Puts another key into the Secret, unless somebody changed it since it was read. Returns when the API server
/// stored it.
pub(super) async fn replace(
    client: &Client,
    namespace: &str,
    old: KeySecret,
    key: &SigningKey,
) -> anyhow::Result<Timestamp> {
    let secret = with_key(old.secret, key);
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let replaced = secrets
        .replace(names::SIGNING_KEY, &params(), &secret)
        .await;
    match replaced {
        Ok(replaced) => Ok(stored_at(&replaced.metadata)),
        Err(error) => {
            let why = lookup_error(&error).message;
            bail!(
                "cannot replace the key in {}, which signs as before: {why}",
                shown(namespace)
            )
        }
    }
}

/// Returns `secret` with another key. It has its resourceVersion still, by which the API server tells whether somebody
/// changed it since.
fn with_key(mut secret: Secret, key: &SigningKey) -> Secret {
    secret.data = Some(data(key));
    secret.metadata.managed_fields = None;
    secret
}

fn data(key: &SigningKey) -> BTreeMap<String, ByteString> {
    let entry = |name: &str, pem: String| (name.to_owned(), ByteString(pem.into_bytes()));
    BTreeMap::from([
        entry(names::PRIVATE_KEY, key.to_pem()),
        entry(names::PUBLIC_KEY, key.public_pem()),
    ])
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integrity::public_key::Algorithm;

    #[test]
    fn a_secret_is_replaced_only_if_it_is_as_it_was_read() {
        let read = json!({
            "metadata": {"name": "s", "uid": "u", "resourceVersion": "7", "managedFields": []},
            "data": {"other": "QQ=="},
        });
        let signing = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let replaced = with_key(serde_json::from_value(read).unwrap(), &signing);
        let metadata = &replaced.metadata;
        assert_eq!(metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(metadata.uid.as_deref(), Some("u"));
        assert_eq!(metadata.managed_fields, None);
        let stored = key(&replaced).unwrap();
        assert_eq!(stored.public().id(), signing.public().id());
    }
}
