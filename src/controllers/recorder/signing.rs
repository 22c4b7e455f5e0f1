//! The key that signs, in a Secret of our own namespace, and its public half as a TrustedKey.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client, Error, ResourceExt};
use tokio::time::sleep;

use super::super::ControllerContext;
use super::Context;
use super::stop::Stop;
use crate::integrity::public_key::{Algorithm, PublicKey};
use crate::kubernetes::crds::{KeyState, TrustedKey, TrustedKeySpec};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::keep;
use crate::kubernetes::owned_config_map::SELECTOR;
use crate::names;
use crate::signing_key::{SigningKey, SigningKeyError};
use crate::telemetry::LogOnce;

/// TrustedKeys in one page of the list. Only their metadata is read.
const PAGE_SIZE: u32 = 50;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(15);

/// What signs in this cluster.
pub(super) struct Signer {
    pub(super) key: SigningKey,
    /// The name of its TrustedKey.
    pub(super) name: String,
    /// The uid of the namespace kube-system.
    pub(super) cluster: String,
}

#[derive(Debug, thiserror::Error)]
enum SignerError {
    #[error("{}", lookup_error(.0).message)]
    Api(#[from] Error),
    #[error("Secret {secret}: {0}", secret = names::SIGNING_KEY)]
    Key(#[from] SigningKeyError),
    #[error(
        "Secret {secret} has no key {key} with the text of a private key",
        secret = names::SIGNING_KEY,
        key = names::PRIVATE_KEY
    )]
    NoKey,
    #[error("the namespace kube-system has no uid")]
    NoCluster,
    #[error("TrustedKey {0} holds another key than Secret {secret}; delete the TrustedKey", secret = names::SIGNING_KEY)]
    OtherKey(String),
    #[error(
        "TrustedKey {name} is {state:?}, so its key signs no more; to go on with a new one, run `velero-trust keys \
         rotate` or delete Secret {secret}, or set spec.state to Active",
        secret = names::SIGNING_KEY
    )]
    NotActive { name: String, state: KeyState },
}

/// Fails if the key that `trusted` is for is not to sign.
fn check_active(trusted: &TrustedKey) -> Result<(), SignerError> {
    match trusted.spec.state {
        KeyState::Active => Ok(()),
        state => Err(SignerError::NotActive {
            name: trusted.name_any(),
            state,
        }),
    }
}

/// Fails if somebody ended the use of the key since it was read.
pub(super) async fn check_signs(context: &Context, signer: &Signer) -> Result<(), Stop> {
    let client = context.controllers.client.clone();
    let found = Api::<TrustedKey>::all(client).get_opt(&signer.name).await;
    let found = found.map_err(|error| Stop::unanswered("KeyUnreadable", &error))?;
    // Without one, nothing that is signed counts; it is made again when a replica leads.
    let checked = found.as_ref().map_or(Ok(()), check_active);
    checked.map_err(|error| Stop::unreadable("KeyNotActive", error.to_string()))
}

/// Reads the key, or makes one if there is none. Waits until that succeeds.
///
/// A key that is made is of `key_type`. One that is there stays: what a user put there is not replaced.
pub(super) async fn wait_for_signer(
    controllers: &ControllerContext,
    key_type: Algorithm,
) -> Signer {
    let mut failures = LogOnce::default();
    loop {
        match signer(controllers, key_type).await {
            Ok(signer) => {
                let found = signer.key.public().algorithm();
                if found != key_type {
                    tracing::warn!(
                        key = signer.name,
                        "the key that signs is of type {found}, not {key_type} as --key-type asks: one that \
                         is there is used; docs/records.md shows how to change it"
                    );
                }
                return signer;
            }
            Err(error) => {
                let message = error.to_string();
                if failures.is_new(&message) {
                    tracing::error!(
                        why = message,
                        "no backup is recorded: there is no key to sign with"
                    );
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn signer(
    controllers: &ControllerContext,
    key_type: Algorithm,
) -> Result<Signer, SignerError> {
    let client = &controllers.client;
    let namespaces = Api::<Namespace>::all(client.clone());
    let system = namespaces.get(names::EXCLUDED_NAMESPACE).await?;
    let cluster = system.metadata.uid.ok_or(SignerError::NoCluster)?;
    let secrets = Api::<Secret>::namespaced(client.clone(), &controllers.settings.namespace);
    let (key, is_new) = match secrets.get_opt(names::SIGNING_KEY).await? {
        Some(secret) => (read(&secret)?, false),
        None => create(&secrets, key_type).await?,
    };
    let trusted = trust(controllers, &key).await?;
    check_active(&trusted)?;
    if is_new {
        tell_of_lost(controllers, &trusted.name_any()).await;
    }
    Ok(Signer {
        name: trusted.name_any(),
        key,
        cluster,
    })
}

/// Returns when the oldest TrustedKey was made that a leader made in this cluster, in seconds since 1970. Since
/// then, the policies let nobody else set the annotations of a record.
pub(super) async fn first_key_made(client: &Client) -> kube::Result<Option<i64>> {
    let keys = Api::<TrustedKey>::all(client.clone());
    let mut params = ListParams::default().labels(SELECTOR).limit(PAGE_SIZE);
    let mut first = None;
    loop {
        let page = keys.list_metadata(&params).await?;
        let made = page
            .items
            .iter()
            .filter_map(ResourceExt::creation_timestamp);
        first = made.map(|time| time.0.as_second()).chain(first).min();
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => return Ok(first),
        }
    }
}

fn read(secret: &Secret) -> Result<SigningKey, SignerError> {
    let data = secret
        .data
        .as_ref()
        .and_then(|data| data.get(names::PRIVATE_KEY));
    let pem = data.and_then(|pem| std::str::from_utf8(&pem.0).ok());
    Ok(SigningKey::from_pem(pem.ok_or(SignerError::NoKey)?)?)
}

/// Makes a key. Of two leaders at the same moment, one makes it and the other reads it. Returns whether
/// it is made.
async fn create(
    secrets: &Api<Secret>,
    key_type: Algorithm,
) -> Result<(SigningKey, bool), SignerError> {
    let key = SigningKey::generate(key_type)?;
    let data = [
        (
            names::PRIVATE_KEY.to_owned(),
            ByteString(key.to_pem().into_bytes()),
        ),
        (
            names::PUBLIC_KEY.to_owned(),
            ByteString(key.public_pem().into_bytes()),
        ),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(names::SIGNING_KEY.to_owned()),
            ..keep::metadata()
        },
        data: Some(BTreeMap::from(data)),
        ..Secret::default()
    };
    match secrets.create(&keep::create_params(), &secret).await {
        Ok(_) => {
            let id = key.public().id().to_string();
            tracing::info!(key = id, "made a new key that signs backups");
            Ok((key, true))
        }
        Err(Error::Api(status)) if status.is_already_exists() => {
            let secret = secrets.get(names::SIGNING_KEY).await?;
            Ok((read(&secret)?, false))
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells of the keys that were lost before `new` was made: they are to sign still, and their Secret is
/// gone. `velero-trust status` tells of them, too, until the new one is exported.
async fn tell_of_lost(controllers: &ControllerContext, new: &str) {
    let keys = Api::<TrustedKey>::all(controllers.client.clone());
    let keys = match keys.list(&ListParams::default().labels(SELECTOR)).await {
        Ok(keys) => keys.items,
        Err(error) => {
            let why = lookup_error(&error).message;
            tracing::warn!(why, "cannot see whether another key was lost");
            return;
        }
    };
    let lost = keys.iter().filter(|key| check_active(key).is_ok());
    let lost: Vec<_> = lost.map(ResourceExt::name_any).collect();
    let lost: Vec<_> = lost.into_iter().filter(|name| name != new).collect();
    if lost.is_empty() {
        return;
    }
    let note = format!(
        "the Secret {secret} is gone, with the private half of {lost}; {new}, which was just made, signs \
         from now on. What was signed before stays good. Export the new key with `velero-trust keys export \
         --private FILE`; if the old one was deleted on purpose, set spec.state of its TrustedKey to \
         VerifyOnly",
        secret = names::SIGNING_KEY,
        lost = lost.join(", "),
    );
    tracing::warn!("{note}");
    let about = controllers.own_deployment();
    let reason = EventReason::SigningKeyLost;
    controllers.events.emit(&about, reason, &note).await;
}

/// Returns the TrustedKey of `key`, which is made if there is none.
async fn trust(
    controllers: &ControllerContext,
    key: &SigningKey,
) -> Result<TrustedKey, SignerError> {
    let keys = Api::<TrustedKey>::all(controllers.client.clone());
    // `velero-trust keys import` may have found it under another name.
    let own = keys.list(&ListParams::default().labels(SELECTOR)).await?;
    let id = key.public().id();
    let mut own = own.items.into_iter();
    if let Some(known) = own.find(|one| {
        let public = PublicKey::from_pem(&one.spec.public_key);
        public.is_ok_and(|public| public.id() == id)
    }) {
        return Ok(known);
    }
    let id = id.to_string();
    let digits = id.get(..16).unwrap_or(&id);
    let trusted = TrustedKey {
        metadata: ObjectMeta {
            name: Some(format!("{}-{digits}", names::APP)),
            ..keep::metadata()
        },
        spec: TrustedKeySpec {
            public_key: key.public_pem(),
            algorithm: Some(key.public().algorithm().to_string()),
            ..TrustedKeySpec::default()
        },
    };
    match keys.create(&keep::create_params(), &trusted).await {
        Err(Error::Api(status)) if status.is_already_exists() => {
            let name = format!("{}-{digits}", names::APP);
            let trusted = keys.get(&name).await?;
            let stored = PublicKey::from_pem(&trusted.spec.public_key);
            if stored.is_ok_and(|stored| stored.id() == key.public().id()) {
                return Ok(trusted);
            }
            Err(SignerError::OtherKey(name))
        }
        created => Ok(created?),
    }
}
