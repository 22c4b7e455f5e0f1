//! Keeps the merged CA bundle of every namespace that holds BSLs.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::keeper::Keeper;
use super::locations::{self, Locations, Namespaces};
use crate::sources::Source;

/// Watches BSLs and keeps the bundle of each of their namespaces. Ends only when its task is
/// cancelled.
///
/// Every replica publishes: what they write is the same, and nothing is written when equal.
pub async fn run(client: Client, source: Arc<dyn Source>) {
    let mut watch = locations::watch(client.clone());
    let mut namespaces = Namespaces::default();
    let mut keepers = BTreeMap::<String, watch::Sender<Locations>>::new();
    let mut tasks = JoinSet::new();
    while let Some(event) = watch.next().await {
        let changes = match event {
            Ok(event) => namespaces.take(event),
            Err(error) => {
                // Among others: Velero is not installed yet. The watch tries again by itself.
                tracing::warn!(%error, "cannot watch BackupStorageLocations");
                continue;
            }
        };
        for change in changes {
            if change.locations.is_empty() {
                // The keeper ends; the bundle stays for the pods that mount it.
                keepers.remove(&change.namespace);
                continue;
            }
            let keeper = keepers.get(&change.namespace);
            // Closed: it panicked, and another takes its place.
            if let Some(keeper) = keeper.filter(|keeper| !keeper.is_closed()) {
                keeper.send_replace(change.locations);
            } else {
                let (sender, receiver) = watch::channel(change.locations);
                keepers.insert(change.namespace.clone(), sender);
                let source = Arc::clone(&source);
                let keeper = Keeper::new(client.clone(), source, change.namespace);
                tasks.spawn(keeper.run(receiver));
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the keeper of a bundle ended");
            }
        }
    }
}
