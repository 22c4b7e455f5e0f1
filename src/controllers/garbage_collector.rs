//! Deletes the reports and memories of former Velero namespaces from our own namespace. These
//! include namespaces that stopped being Velero's while no replica led. A report is deleted at
//! once, a memory after the last CA in it is no longer retained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::ControllerContext;
use crate::ca::evaluation::dropped_certificates;
use crate::ca::merged_bundle::{Contributions, Memory};
use crate::clock::moment;
use crate::kubernetes::memory_store::MemoryStore;
use crate::kubernetes::{error, owned_config_map, report};
use crate::names;

/// Interval between collections.
const COLLECTION_INTERVAL: Duration = Duration::from_mins(15);

/// Longest time for one collection. No reconciler of a namespace starts or ends meanwhile.
const COLLECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Deletes the reports and memories of former Velero namespaces.
pub(super) struct GarbageCollector {
    controllers: Arc<ControllerContext>,
    config_maps: Api<ConfigMap>,
    /// The memories that still retain a CA, by namespace.
    memories: BTreeMap<String, (MemoryStore, Memory)>,
    next_run: Instant,
}

impl GarbageCollector {
    pub(super) fn new(controllers: Arc<ControllerContext>) -> Self {
        let own = &controllers.settings.namespace;
        Self {
            config_maps: Api::namespaced(controllers.client.clone(), own),
            controllers,
            memories: BTreeMap::new(),
            next_run: Instant::now(),
        }
    }

    /// Returns the time of the next collection.
    pub(super) const fn next_run(&self) -> Instant {
        self.next_run
    }

    /// Deletes what belongs to namespaces other than `members`, which must be complete and must not
    /// change meanwhile.
    pub(super) async fn collect(&mut self, members: &BTreeSet<&str>) {
        self.next_run = Instant::now() + COLLECTION_INTERVAL;
        let why = match timeout(COLLECTION_TIMEOUT, self.try_collect(members)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(
            why,
            "cannot delete reports and memories of former Velero namespaces"
        );
    }

    async fn try_collect(&mut self, members: &BTreeSet<&str>) -> kube::Result<()> {
        let owned = ListParams::default().labels(owned_config_map::SELECTOR);
        let config_maps = self.config_maps.list_metadata(&owned).await?;
        let config_maps: Vec<_> = config_maps.iter().map(ResourceExt::name_any).collect();
        for namespace in former_namespaces(&config_maps, names::REPORT_PREFIX, members) {
            self.delete_report(namespace)
                .instrument(tracing::error_span!("collect_garbage", namespace))
                .await;
        }
        let with_memory = former_namespaces(&config_maps, names::MEMORY_PREFIX, members);
        self.memories
            .retain(|namespace, _| with_memory.contains(namespace.as_str()));
        for namespace in with_memory {
            self.expire_memory(namespace)
                .instrument(tracing::error_span!("collect_garbage", namespace))
                .await;
        }
        Ok(())
    }

    async fn delete_report(&self, namespace: &str) {
        let name = report::name(namespace);
        let params = DeleteParams::default();
        match owned_config_map::delete(&self.config_maps, &name, &params).await {
            Ok(()) => tracing::info!("deleted the report on a former Velero namespace"),
            Err(error) => {
                let why = error::lookup_error(&error).message;
                tracing::warn!(why, "cannot delete the report on a former Velero namespace");
            }
        }
    }

    /// Removes the CAs whose retention ended from the memory of a former Velero namespace, which
    /// names no CA any longer. Deletes the memory when it is empty. A memory that cannot be parsed
    /// stays.
    async fn expire_memory(&mut self, namespace: &str) {
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
            Ok(Some(loaded)) => *memory = loaded,
            Ok(None) => {}
            // Nothing of it is used.
            Err(_) if store.is_restored() => *memory = Memory::default(),
            Err(issue) => {
                tracing::debug!(%issue, "cannot load the memory of a former Velero namespace");
                return;
            }
        }
        let retention = i64::try_from(settings.retention.as_secs()).unwrap_or(i64::MAX);
        memory.learn(&Contributions::new(), moment(), retention);
        if let Some(issue) = dropped_certificates(memory, namespace) {
            tracing::error!(%issue, "memory of a former Velero namespace");
        }
        if memory.has_certificates() {
            if let Err(issue) = store.save(memory).await {
                tracing::debug!(%issue, "cannot save the memory of a former Velero namespace");
            }
            return;
        }
        match store.delete().await {
            Ok(()) => tracing::info!("deleted the memory of a former Velero namespace"),
            Err(error) => {
                let why = error::lookup_error(&error).message;
                tracing::warn!(why, "cannot delete the memory of a former Velero namespace");
            }
        }
    }
}

/// Returns the namespaces with a ConfigMap of this name prefix that are not `members`.
fn former_namespaces<'m>(
    config_maps: &'m [String],
    prefix: &str,
    members: &BTreeSet<&str>,
) -> BTreeSet<&'m str> {
    let namespaces = config_maps
        .iter()
        .filter_map(|map| map.strip_prefix(prefix));
    namespaces
        .filter(|namespace| !members.contains(namespace))
        .collect()
}
