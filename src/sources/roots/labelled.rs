//! The CAs of labelled objects in our own namespace.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::sleep;

use super::said;
use crate::ca::merged_bundle::{Contribution, Contributions, Owner};
use crate::ca::pem;
use crate::kubernetes::error;
use crate::names::EXTRA_CA_LABEL;

/// How often we try again to watch what we may not.
const REFUSED: Duration = Duration::from_secs(30);

/// What a labelled object holds, by key.
type Data = Vec<(String, Vec<u8>)>;

pub(in crate::sources) fn data_of_map(map: ConfigMap) -> Data {
    let texts = map.data.unwrap_or_default().into_iter();
    let texts = texts.map(|(key, text)| (key, text.into_bytes()));
    let bytes = map.binary_data.unwrap_or_default().into_iter();
    texts
        .chain(bytes.map(|(key, value)| (key, value.0)))
        .collect()
}

pub(super) fn data_of_secret(secret: Secret) -> Data {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| (key, value.0)).collect()
}

/// Keeps `sender` at what the labelled objects of one kind hold. Each key is an owner of its own.
pub(super) async fn follow<K>(
    client: Client,
    namespace: &str,
    sender: watch::Sender<Option<Contributions>>,
    data: fn(K) -> Data,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&());
    let objects = Api::<K>::namespaced(client, namespace);
    let only = Config::default().labels(&format!("{EXTRA_CA_LABEL}=true"));
    let mut watch = watcher(objects, only).default_backoff().boxed();
    let mut now = Contributions::new();
    let mut was_refused = false;
    while let Some(event) = watch.next().await {
        match event {
            Ok(Event::Init) => now.clear(),
            Ok(Event::InitApply(object)) => {
                add(&mut now, &kind, &object.name_any(), data(object));
            }
            Ok(Event::InitDone) => {
                sender.send_replace(Some(now.clone()));
            }
            Ok(Event::Apply(object)) => {
                remove(&mut now, &kind, &object.name_any());
                add(&mut now, &kind, &object.name_any(), data(object));
                sender.send_replace(Some(now.clone()));
            }
            Ok(Event::Delete(object)) => {
                remove(&mut now, &kind, &object.name_any());
                sender.send_replace(Some(now.clone()));
            }
            Err(error) if error::is_forbidden(&error) => {
                if !was_refused {
                    tracing::warn!(%kind, namespace, "may not watch objects labelled {EXTRA_CA_LABEL}");
                }
                was_refused = true;
                // What was listed before stays.
                sender.send_if_modified(|contributions| {
                    let is_first = contributions.is_none();
                    contributions.get_or_insert_default();
                    is_first
                });
                sleep(REFUSED).await;
            }
            Err(error) => tracing::debug!(%kind, %error, "cannot watch"),
        }
    }
}

fn prefix(kind: &str, name: &str) -> String {
    format!("{kind} {name} key ")
}

/// Adds what a labelled object holds, each key as an owner of its own.
pub(in crate::sources) fn add(
    contributions: &mut Contributions,
    kind: &str,
    name: &str,
    data: impl IntoIterator<Item = (String, Vec<u8>)>,
) {
    let prefix = prefix(kind, name);
    for (key, bytes) in data {
        let contents = pem::read(&bytes);
        let name = format!("{prefix}{key}");
        if let Some(fault) = contents.faults.first() {
            let fault = said(fault);
            tracing::error!(
                extra = name,
                fault,
                "extra CA left out as far as it is broken"
            );
        }
        let contribution = Contribution {
            whole: contents.faults.is_empty(),
            certificates: contents.certificates,
        };
        contributions.insert(Owner::Extra(name), contribution);
    }
}

pub(super) fn remove(contributions: &mut Contributions, kind: &str, name: &str) {
    let prefix = prefix(kind, name);
    contributions
        .retain(|owner, _| !matches!(owner, Owner::Extra(name) if name.starts_with(&prefix)));
}
