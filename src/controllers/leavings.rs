//! What is left in our own namespace of those that are Velero's no more: also of those that ended
//! while nobody led. Their reports go at once, their memories with the last CA that they retain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use tokio::time::{Instant, timeout};

use super::Controllers;
use super::clock::moment;
use super::store::{self, Store};
use crate::ca::evaluation::forgotten;
use crate::ca::merged_bundle::{Contributions, Memory};
use crate::kubernetes::{error, report};
use crate::names;

/// How often it is looked for them.
const EVERY: Duration = Duration::from_mins(15);

/// Longest time for one look, during which no other namespace begins or ends.
const LONGEST: Duration = Duration::from_secs(10);

/// Removes what is left.
pub(super) struct Leavings {
    controllers: Arc<Controllers>,
    maps: Api<ConfigMap>,
    /// The memories that wait for the end of a retention, by the namespace.
    memories: BTreeMap<String, (Store, Memory)>,
    due: Instant,
}

impl Leavings {
    pub(super) fn new(controllers: Arc<Controllers>) -> Self {
        let own = &controllers.settings.namespace;
        Self {
            maps: Api::namespaced(controllers.client.clone(), own),
            controllers,
            memories: BTreeMap::new(),
            due: Instant::now(),
        }
    }

    /// When to look the next time.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Removes what is left of all but `members`, which must be all that there are. They must not
    /// change meanwhile.
    pub(super) async fn remove(&mut self, members: &BTreeSet<&str>) {
        self.due = Instant::now() + EVERY;
        let why = match timeout(LONGEST, self.remove_all(members)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(why, "cannot remove what gone namespaces left");
    }

    async fn remove_all(&mut self, members: &BTreeSet<&str>) -> kube::Result<()> {
        let ours = ListParams::default().labels(store::OURS);
        let maps = self.maps.list_metadata(&ours).await?;
        let maps: Vec<_> = maps.iter().map(ResourceExt::name_any).collect();
        let gone = |prefix| {
            let maps = maps.iter().filter_map(move |map| map.strip_prefix(prefix));
            maps.filter(|namespace| !members.contains(namespace))
        };
        for namespace in gone(names::REPORT) {
            let name = report::name(namespace);
            let removed = self.maps.delete(&name, &DeleteParams::default()).await;
            match store::missing_is_well(removed) {
                Ok(()) => tracing::info!(namespace, "report of a gone namespace removed"),
                Err(error) => stays(namespace, &error),
            }
        }
        let gone: BTreeSet<_> = gone(names::MEMORY).collect();
        self.memories
            .retain(|namespace, _| gone.contains(namespace.as_str()));
        for namespace in gone {
            if let Err(error) = self.age(namespace).await {
                stays(namespace, &error);
            }
        }
        Ok(())
    }

    /// Nobody names what the memory of `namespace` knows; removes it when nothing is retained any
    /// more. One that cannot be understood stays.
    async fn age(&mut self, namespace: &str) -> kube::Result<()> {
        let settings = &self.controllers.settings;
        let (store, memory) = self
            .memories
            .entry(namespace.to_owned())
            .or_insert_with(|| {
                let client = self.controllers.client.clone();
                let store = Store::new(client, &settings.namespace, namespace);
                (store, Memory::default())
            });
        match store.load().await {
            Ok(Some(read)) => *memory = read,
            Ok(None) => {}
            Err(why) => {
                tracing::debug!(namespace, %why, "memory of a gone namespace");
                return Ok(());
            }
        }
        let retention = i64::try_from(settings.retention.as_secs()).unwrap_or(i64::MAX);
        memory.learn(&Contributions::new(), moment(), retention);
        if let Some(reason) = forgotten(memory, namespace) {
            tracing::error!(namespace, %reason, "memory of a gone namespace");
        }
        if !memory.is_spent() {
            if let Err(why) = store.save(memory).await {
                tracing::debug!(namespace, %why, "memory of a gone namespace");
            }
            return Ok(());
        }
        store.remove().await?;
        tracing::info!(namespace, "memory of a gone namespace removed");
        Ok(())
    }
}

/// One that cannot be removed keeps no other from it.
fn stays(namespace: &str, error: &kube::Error) {
    let why = error::lookup_error(error).message;
    tracing::warn!(namespace, why, "cannot remove what a gone namespace left");
}
