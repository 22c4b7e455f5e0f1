//! What records and Backups cost while nothing changes. That the working set of the container is within
//! its bound is promised: the benchmark fails beyond it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use velero_trust::integrity::departure::Departure;
use velero_trust::kubernetes::crds::{BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone};
use velero_trust_testing::limited::resident;
use velero_trust_testing::wait;

use super::scene::{Scene, VELERO};
use crate::figures::{self, row};
use crate::usage::Usage;

/// Number of Backups with their records, and of records of Backups that are gone.
const BACKUPS: usize = 1_000;

/// Requests at the same time.
const AT_ONCE: usize = 16;

/// Maximum memory of a record, in KiB, and of the whole server, in MiB.
const EACH: f64 = 1.0;
const IDLE: f64 = 15.0;

/// Time that the server has to come to rest.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn measure(scene: &Scene<'_>) -> Result<()> {
    figures::head(&format!(
        "Recorder: {BACKUPS} records, then as many more with their Backups"
    ));
    let sample = sample(scene)?;
    let none = idle(scene, 0)?;
    let fill = |is_gone| {
        let made = stream::iter(0..BACKUPS).map(|number| add(scene, &sample, number, is_gone));
        let made = made.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        scene.runtime.block_on(made).map(drop)
    };
    fill(true)?;
    let gone = idle(scene, BACKUPS)?;
    fill(false)?;
    let all = idle(scene, 2 * BACKUPS)?;
    let memory = |name: &str, rest: &Rest| row(name, rest.resident, "MiB", Some(IDLE));
    memory("memory, idle, without them", &none);
    row("  of it private", none.private, "MiB", None);
    memory("memory, idle, 1,000 records of gone Backups", &gone);
    let each = |more: &Rest, less: &Rest| (more.private - less.private) * 1024.0 / BACKUPS as f64;
    row("  of each", each(&gone, &none), "KiB", Some(EACH));
    memory("memory, idle, as many with their Backups, too", &all);
    row("  of each with its Backup", each(&all, &gone), "KiB", None);
    row("memory, peak", all.peak, "MiB", None);
    let charged = gone.working_set.unwrap_or(gone.private);
    row(
        "working set of the container, with 1,000",
        charged,
        "MiB",
        Some(IDLE),
    );
    row("CPU of the start, without them", none.cpu, "s", None);
    row("CPU of the start, with all", all.cpu, "s", None);
    ensure!(charged <= IDLE, "the working set has {charged} MiB");
    Ok(())
}

/// Lets a small backup be recorded, and returns its record.
fn sample(scene: &Scene<'_>) -> Result<BackupRecord> {
    let _leader = scene.replica()?;
    scene.upload("sample", 1_000)?;
    scene.complete("sample")?;
    scene.until_recorded("sample")
}

struct Rest {
    /// In MiB.
    resident: f64,
    /// Of it what is no part of a file.
    private: f64,
    peak: f64,
    /// What a kubelet counts of the container, if this machine has memory cgroups. The pages of the
    /// program do not count if something else read them first, such as what unpacked the image.
    working_set: Option<f64>,
    /// In seconds.
    cpu: f64,
}

/// Starts a server, and waits until it knows at least this number of records and is at rest.
fn idle(scene: &Scene<'_>, records: usize) -> Result<Rest> {
    let replica = scene.replica()?;
    wait::poll("the records to be known", 2 * SETTLE, || {
        let metrics = replica.metrics()?;
        let counts = metrics.lines().filter_map(|line| {
            let series = line.strip_prefix("velero_trust_backup_records{")?;
            series.rsplit(' ').next()?.parse::<usize>().ok()
        });
        let known: usize = counts.sum();
        ensure!(known > records, "{known} records");
        Ok(())
    })?;
    std::thread::sleep(SETTLE);
    let memory = resident(replica.id())?;
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(Rest {
        resident: mebibytes(memory.now),
        private: mebibytes(memory.private),
        peak: mebibytes(memory.peak),
        working_set: replica.working_set()?.map(mebibytes),
        cpu: Usage::of(replica.id())?.cpu.as_secs_f64(),
    })
}

/// Adds a record like `sample`, and its Backup unless that is gone.
async fn add(scene: &Scene<'_>, sample: &BackupRecord, number: usize, is_gone: bool) -> Result<()> {
    if is_gone {
        return add_gone(&scene.client, sample, number).await;
    }
    let name = format!("daily-2026{number:010}");
    let status = sample.status.clone().context("no status")?;
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": VELERO, "annotations": {
            "velero-trust.io/checksum": status.checksum,
            "velero-trust.io/manifest": status.manifest,
        }},
        "spec": {"storageLocation": "default"},
        "status": {
            "phase": "Completed", "formatVersion": "1.1.0",
            "startTimestamp": "2026-01-01T00:00:00Z", "completionTimestamp": "2026-01-01T00:01:00Z",
        },
    });
    let object = serde_json::from_value(object)?;
    let backup = scene
        .backups()
        .create(&PostParams::default(), &object)
        .await?;
    let uid = backup.metadata.uid.context("no uid")?;
    add_record(&scene.client, status, &name, &uid).await
}

/// Adds a record like `sample` of a Backup that is gone.
pub(crate) async fn add_gone(client: &Client, sample: &BackupRecord, number: usize) -> Result<()> {
    let mut status = sample.status.clone().context("no status")?;
    status.gone = Some(Gone {
        at: Time(Timestamp::now()),
        how: Departure::Deleted,
    });
    let name = format!("hourly-2026{number:010}");
    let uid = format!("3f2a0000-0000-4000-8000-{number:012}");
    add_record(client, status, &name, &uid).await
}

async fn add_record(
    client: &Client,
    status: BackupRecordStatus,
    name: &str,
    uid: &str,
) -> Result<()> {
    let record = BackupRecord {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{uid}")),
            ..ObjectMeta::default()
        },
        spec: BackupRecordSpec {
            namespace: VELERO.to_owned(),
            backup: name.to_owned(),
            uid: uid.to_owned(),
            observed: true,
        },
        status: None,
    };
    let records = Api::<BackupRecord>::all(client.clone());
    records.create(&PostParams::default(), &record).await?;
    let status = Patch::Merge(json!({"status": status}));
    let name = format!("{name}.{uid}");
    let patch = PatchParams::default();
    records.patch_status(&name, &patch, &status).await?;
    Ok(())
}
