//! The Secret with the CA of the serving certificates, and what this replica holds of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Error, ResourceExt as _};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::keep;
use crate::ca::certificate::Fingerprint;
use crate::names;
use crate::serving_ca::{Authorities, Data};

/// What the Secret holds, as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stored {
    /// It could not be read yet.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// It holds no CA that can be used.
    Broken {
        /// Why.
        why: String,
        /// Its resourceVersion.
        version: String,
    },
    /// It holds a CA that nobody here made, and that the API server does not trust.
    Foreign {
        /// Its resourceVersion.
        version: String,
    },
    /// It holds what this replica holds.
    Held {
        /// Its resourceVersion.
        version: String,
        /// Whether somebody asked for a new CA.
        is_rotation_requested: bool,
    },
}

/// What this replica knows of the CA.
#[derive(Clone, Debug, Default)]
pub struct ServingCa {
    /// The CAs that it issues with. They outlive their Secret.
    pub held: Option<Arc<Authorities>>,
    /// What the Secret holds.
    pub stored: Stored,
    /// A foreign CA that every webhook trusts, and since when.
    pub trusted_foreign: Option<(Fingerprint, Instant)>,
}

impl ServingCa {
    /// Returns the CAs that it holds, if the one that signs is valid at `now`, in seconds since 1970.
    pub fn valid(&self, now: i64) -> Option<&Arc<Authorities>> {
        let held = self.held.as_ref()?;
        held.signing().is_valid(now).then_some(held)
    }
}

/// Shares what this replica knows of the CA: one task reads the Secret, and the leader changes it.
#[derive(Clone, Debug)]
pub struct ServingCaHandle {
    sender: watch::Sender<ServingCa>,
    look: Arc<Notify>,
}

impl Default for ServingCaHandle {
    fn default() -> Self {
        Self {
            sender: watch::Sender::new(ServingCa::default()),
            look: Arc::default(),
        }
    }
}

impl ServingCaHandle {
    /// Returns a receiver.
    pub fn subscribe(&self) -> watch::Receiver<ServingCa> {
        self.sender.subscribe()
    }

    /// Publishes what is known.
    pub fn publish(&self, known: ServingCa) {
        self.sender.send_replace(known);
    }

    /// Lets the Secret be read again now.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Waits until the Secret is to be read again.
    pub async fn looked_for(&self) {
        self.look.notified().await;
    }
}

/// The Secret as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSecret {
    /// Its data.
    pub data: Data,
    /// Its resourceVersion.
    pub version: String,
    /// Whether somebody asked for a new CA.
    pub is_rotation_requested: bool,
}

/// Reads the Secret in namespace `own`; `None` if there is none.
pub async fn read(client: &Client, own: &str) -> kube::Result<Option<CaSecret>> {
    let secret = secrets(client, own).get_opt(names::SERVING_CA).await?;
    Ok(secret.map(|secret| CaSecret {
        version: secret.resource_version().unwrap_or_default(),
        is_rotation_requested: secret.annotations().contains_key(names::ROTATE),
        data: secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
    }))
}

/// Creates the Secret. Of two replicas at the same moment, one makes it: returns whether it was this one.
pub async fn create(client: &Client, own: &str, authorities: &Authorities) -> kube::Result<bool> {
    let secret = secret(authorities, None);
    match secrets(client, own)
        .create(&keep::create_params(), &secret)
        .await
    {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Replaces what the Secret holds; a request for a new CA stays only if `keeps_request`. Fails with 409 if it has another
/// resourceVersion than `version`.
pub async fn replace(
    client: &Client,
    own: &str,
    authorities: &Authorities,
    version: &str,
    keeps_request: bool,
) -> kube::Result<()> {
    let mut secret = secret(authorities, Some(version.to_owned()));
    if keeps_request {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE.to_owned(), "kept".to_owned());
    }
    let secrets = secrets(client, own);
    let params = keep::create_params();
    let replaced = secrets.replace(names::SERVING_CA, &params, &secret);
    replaced.await.map(drop)
}

/// Asks the leader for a new CA. Fails with 404 if there is no CA yet.
pub async fn request_rotation(client: &Client, own: &str, at: &str) -> kube::Result<()> {
    let patch = json!({"metadata": {"annotations": {names::ROTATE: at}}});
    let patched = secrets(client, own)
        .patch(
            names::SERVING_CA,
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
    patched.map(drop)
}

fn secrets(client: &Client, own: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), own)
}

fn secret(authorities: &Authorities, version: Option<String>) -> Secret {
    let data = authorities.data().into_iter();
    let data: BTreeMap<_, _> = data.map(|(key, value)| (key, ByteString(value))).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(names::SERVING_CA.to_owned()),
            resource_version: version,
            ..keep::metadata()
        },
        data: Some(data),
        ..Secret::default()
    }
}
