//! Runs backups one after another while other things happen.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::wait;

/// Time limit for one backup or a few backups.
const PATIENCE: Duration = Duration::from_mins(2);

/// Final phases of a Backup.
const OVER: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

/// A backup that has ended.
#[derive(Clone, Debug)]
#[expect(
    dead_code,
    reason = "what is not read is for the person who reads of a failure"
)]
pub(super) struct Ended {
    name: String,
    pub(super) phase: String,
    status: Value,
}

/// Backups to several locations, in turn.
pub(super) struct Backups<'c> {
    cluster: &'c Cluster,
    locations: &'c [&'c str],
    api: Api<DynamicObject>,
    made: AtomicUsize,
    ended: AtomicUsize,
}

impl<'c> Backups<'c> {
    pub(super) fn of(cluster: &'c Cluster, locations: &'c [&'c str]) -> Self {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
        let resource = ApiResource::from_gvk(&kind);
        Self {
            cluster,
            locations,
            api: Api::namespaced_with(cluster.client(), VELERO_NAMESPACE, &resource),
            made: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
        }
    }

    /// Creates one backup and waits until it ends, successfully or not.
    pub(super) fn one(&self, location: &str, patience: Duration) -> Result<Ended> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("backup-{number:03}");
        let backup = json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {"name": name, "namespace": VELERO_NAMESPACE},
            "spec": {
                "storageLocation": location,
                "includedNamespaces": ["default"],
                "includedResources": ["configmaps"],
                "ttl": "1h",
            },
        });
        let backup: DynamicObject = serde_json::from_value(backup)?;
        let params = PostParams::default();
        self.cluster.block_on(self.api.create(&params, &backup))?;
        wait::poll("the backup to end", patience, || {
            let backup = self.cluster.block_on(self.api.get(&name))?;
            let status = backup.data.pointer("/status").context("no status")?;
            let phase = status["phase"].as_str().unwrap_or_default();
            ensure!(OVER.contains(&phase), "{status}");
            Ok(Ended {
                name: format!("{name} into {location}"),
                phase: phase.to_owned(),
                status: status.clone(),
            })
        })
    }

    /// Creates backups in turn while `steps` runs, and returns all that ended.
    pub(super) fn run_while(&self, steps: impl FnOnce(&Self) -> Result<()>) -> Result<Vec<Ended>> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let backups = scope.spawn(|| {
                let mut ended = Vec::new();
                for location in self.locations.iter().cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    ended.push(self.one(location, PATIENCE)?);
                    self.ended.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(ended)
            });
            let outcome = steps(self);
            over.store(true, Ordering::Relaxed);
            let ended = backups.join().ok().context("the thread panicked")??;
            outcome.map(|()| ended)
        })
    }

    /// Waits until `count` more backups have started and ended.
    pub(super) fn wait_for(&self, count: usize) -> Result<()> {
        // The backup that is running now started before the call.
        let wanted = self.ended.load(Ordering::Relaxed) + count + 1;
        wait::poll("some more backups", PATIENCE, || {
            let ended = self.ended.load(Ordering::Relaxed);
            ensure!(ended >= wanted, "{ended} of {wanted}");
            Ok(())
        })
    }
}
