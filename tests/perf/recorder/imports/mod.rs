//! What the import of many backups costs: another cluster made and signed them, and this one gets their Backups.

mod burst;
mod other;
mod revoked;
mod sync;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::json;
use velero_trust::bucket::{Locations, OpenLocation, Timing};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust::kubernetes::crds::BackupRecord;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

use self::other::Other;
use super::scene::{Scene, VELERO};
use crate::figures::{self, row};

/// Number of backups in the bucket.
const BACKUPS: usize = 5_000;

/// Maximum CPU time to verify an envelope, in microseconds.
const VERIFY: f64 = 200.0;

/// Longest time for everything to be imported.
const PATIENCE: Duration = Duration::from_mins(30);

pub(super) fn measure(scene: &Scene<'_>) -> Result<()> {
    figures::head(&format!("Recorder: {BACKUPS} backups of another cluster"));
    let other = Other::new()?;
    let verify = other.verify()?.as_secs_f64() * 1e6;
    row("CPU of verifying an envelope", verify, "µs", Some(VERIFY));
    fill(scene, &other)?;
    scene.runtime.block_on(other.trust(scene))?;
    let leader = burst::measure(scene)?;
    revoked::measure(scene, &leader)?;
    drop(leader);
    clear(scene)?;
    sync::measure(scene)
}

/// Puts the files of all backups into the bucket.
fn fill(scene: &Scene<'_>, other: &Other) -> Result<()> {
    // It merges the certificates of the location, with which that is opened.
    let _leader = scene.replica()?;
    let location = wait::poll("the location to be open", PATIENCE, || {
        scene.runtime.block_on(open(scene))
    })?;
    scene.runtime.block_on(other.fill(&location))
}

async fn open(scene: &Scene<'_>) -> Result<OpenLocation> {
    let locations = Locations {
        client: scene.client.clone(),
        denied: DeniedAddresses::nothing(),
        proxies: Proxies::default(),
        timing: Timing::default(),
    };
    let location = locations.open(VELERO, "default").await?;
    location.context("no location")
}

/// Removes all Backups, and all that is known of them, while no replica runs.
fn clear(scene: &Scene<'_>) -> Result<()> {
    let (all, at_once) = (ListParams::default(), DeleteParams::default());
    let records = Api::<BackupRecord>::all(scene.client.clone());
    scene.runtime.block_on(async {
        scene.backups().delete_collection(&at_once, &all).await?;
        records.delete_collection(&at_once, &all).await?;
        let restores = scene.objects("Restore");
        restores.delete_collection(&at_once, &all).await?;
        Ok(())
    })
}

/// Starts a replica that has imported the first backup, so that it keeps what it needs to import.
fn leader(scene: &Scene<'_>) -> Result<Webhook> {
    let leader = scene.replica()?;
    scene.runtime.block_on(other::create(scene, 0))?;
    until_imported(&leader, 1)?;
    Ok(leader)
}

/// Creates a Restore of a backup.
async fn begin_restore(scene: &Scene<'_>, name: &str, number: usize) -> Result<DynamicObject> {
    let restore = json!({
        "apiVersion": "velero.io/v1", "kind": "Restore",
        "metadata": {"name": name, "namespace": VELERO},
        "spec": {"backupName": other::name(number)},
    });
    let restore = serde_json::from_value(restore)?;
    let restores = scene.objects("Restore");
    Ok(restores.create(&PostParams::default(), &restore).await?)
}

/// Returns how many records count, as the server says, which costs less than to read them all.
fn recorded(leader: &Webhook) -> Result<usize> {
    let metrics = leader.metrics()?;
    let recorded = metrics.lines().filter_map(|line| {
        let series = line.strip_prefix("velero_trust_backup_records{")?;
        let (labels, value) = series.rsplit_once(' ')?;
        let is_recorded = labels.contains(r#"state="Recorded""#);
        is_recorded.then(|| value.parse::<usize>().ok())?
    });
    Ok(recorded.sum())
}

fn until_imported(leader: &Webhook, count: usize) -> Result<()> {
    wait::poll("the backups to be imported", PATIENCE, || {
        let recorded = recorded(leader)?;
        ensure!(recorded >= count, "{recorded} of {count}");
        Ok(())
    })
}
