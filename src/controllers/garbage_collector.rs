//! Deletes what namespaces that are no longer Velero's left in our own namespace, including those
//! that went while nobody led. Their reports go at once, their memories with the last retained CA.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use tokio::time::{Instant, timeout};

use super::Controllers;
use crate::ca::evaluation::dropped_certificates;
use crate::ca::merged_bundle::{Contributions, Memory};
use crate::clock::moment;
use crate::kubernetes::memory_store::MemoryStore;
use crate::kubernetes::{error, owned_config_map, report};
use crate::names;

/// Interval between collections.
const COLLECTION_INTERVAL: Duration = Duration::from_mins(15);

/// Longest time for one collection, during which no namespace starts or stops.
const COLLECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Deletes what gone namespaces left.
pub(super) struct GarbageCollector {
    controllers: Arc<Controllers>,
    maps: Api<ConfigMap>,
    /// The memories that wait for the end of a retention, by namespace.
    memories: BTreeMap<String, (MemoryStore, Memory)>,
    due: Instant,
}

impl GarbageCollector {
    pub(super) fn new(controllers: Arc<Controllers>) -> Self {
        let own = &controllers.settings.namespace;
        Self {
            maps: Api::namespaced(controllers.client.clone(), own),
            controllers,
            memories: BTreeMap::new(),
            due: Instant::now(),
        }
    }

    /// Returns the time of the next collection.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Deletes what is left of all namespaces but `members`, which must be complete and must not
    /// change meanwhile.
    pub(super) async fn collect(&mut self, members: &BTreeSet<&str>) {
        self.due = Instant::now() + COLLECTION_INTERVAL;
        let why = match timeout(COLLECTION_TIMEOUT, self.collect_all(members)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(why, "cannot remove what gone namespaces left");
    }

    async fn collect_all(&mut self, members: &BTreeSet<&str>) -> kube::Result<()> {
        let ours = ListParams::default().labels(owned_config_map::SELECTOR);
        let maps = self.maps.list_metadata(&ours).await?;
        let maps: Vec<_> = maps.iter().map(ResourceExt::name_any).collect();
        let gone = |prefix| {
            let maps = maps.iter().filter_map(move |map| map.strip_prefix(prefix));
            maps.filter(|namespace| !members.contains(namespace))
        };
        for namespace in gone(names::REPORT_PREFIX) {
            let name = report::name(namespace);
            let params = DeleteParams::default();
            match owned_config_map::delete(&self.maps, &name, &params).await {
                Ok(()) => tracing::info!(namespace, "report of a gone namespace removed"),
                Err(error) => log_failure(namespace, &error),
            }
        }
        let gone: BTreeSet<_> = gone(names::MEMORY_PREFIX).collect();
        self.memories
            .retain(|namespace, _| gone.contains(namespace.as_str()));
        for namespace in gone {
            if let Err(error) = self.age_memory(namespace).await {
                log_failure(namespace, &error);
            }
        }
        Ok(())
    }

    /// Ages the memory of `namespace`, whose CAs nothing names any more, and deletes it when it
    /// retains none. A memory that cannot be parsed stays.
    async fn age_memory(&mut self, namespace: &str) -> kube::Result<()> {
        let settings = &self.controllers.settings;
        let (store, memory) = self
            .memories
            .entry(namespace.to_owned())
            .or_insert_with(|| {
                let client = self.controllers.client.clone();
                let store = MemoryStore::new(client, &settings.namespace, namespace);
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
        if let Some(reason) = dropped_certificates(memory, namespace) {
            tracing::error!(namespace, %reason, "memory of a gone namespace");
        }
        if memory.has_certificates() {
            if let Err(why) = store.save(memory).await {
                tracing::debug!(namespace, %why, "memory of a gone namespace");
            }
            return Ok(());
        }
        store.delete().await?;
        tracing::info!(namespace, "memory of a gone namespace removed");
        Ok(())
    }
}

/// Logs that something could not be deleted; the others are deleted all the same.
fn log_failure(namespace: &str, error: &kube::Error) {
    let why = error::lookup_error(error).message;
    tracing::warn!(namespace, why, "cannot remove what a gone namespace left");
}
