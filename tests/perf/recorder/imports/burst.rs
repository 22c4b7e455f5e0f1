//! Backups that come faster than Velero syncs them, so that most wait to be imported.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::Api;
use kube::runtime::wait::await_condition;
use velero_trust::integrity::recording::RecordState;
use velero_trust::kubernetes::crds::BackupRecord;
use velero_trust_testing::limited::{reset_peak, resident};
use velero_trust_testing::webhook::Webhook;

use super::super::scene::Scene;
use super::{BACKUPS, begin_restore, clear, leader, other, recorded, until_imported};
use crate::figures::row;
use crate::usage::Usage;

/// Time that the server has to come to rest, and MinIO to count the last requests.
const SETTLE: Duration = Duration::from_secs(20);

/// Maximum requests to the bucket for each backup.
const REQUESTS: f64 = 2.0;

/// Maximum memory above idle, in MiB.
const ABOVE_IDLE: f64 = 8.0;

/// Maximum time to the record of a backup for which a Restore waits in the middle, in seconds.
const WAITED_FOR: f64 = 60.0;

/// Returns the leader that has imported all.
pub(super) fn measure(scene: &Scene<'_>) -> Result<Webhook> {
    scene.runtime.block_on(other::create(scene, 0))?;
    let alone = create(scene)?;
    clear(scene)?;
    let leader = leader(scene)?;
    std::thread::sleep(SETTLE);
    let requests = scene.requests_to_bucket()?;
    let idle = resident(leader.id())?;
    reset_peak(leader.id())?;
    let before = Usage::of(leader.id())?.cpu;
    let began = Instant::now();
    let beside = create(scene)?;
    let then = recorded(&leader)?;
    // They are imported in the order in which they came.
    let waited_for = restore(scene, BACKUPS - 1)?;
    let at_record = recorded(&leader)?;
    until_imported(&leader, BACKUPS)?;
    let all = began.elapsed();
    let cpu = Usage::of(leader.id())?.cpu.saturating_sub(before);
    let peak = resident(leader.id())?.peak;
    std::thread::sleep(SETTLE);
    let rest = resident(leader.id())?;
    let requests = scene.requests_to_bucket()? - requests;

    let each = |all: f64| all / (BACKUPS - 1) as f64;
    let name = "all at once: requests to the bucket for each";
    // The files of one are read for the Restore, which are few requests beside 10,000.
    let rounded = (each(requests) * 100.0).round() / 100.0;
    row(name, rounded, "", Some(REQUESTS));
    row("  all of them", requests, "", None);
    let above = |now: u64, idle: u64| now.saturating_sub(idle) as f64 / 1_048_576.0;
    let memory = above(peak, idle.now);
    row("  peak memory above idle", memory, "MiB", Some(ABOVE_IDLE));
    let kept = above(rest.private, idle.private);
    row("  kept for the Backups and records", kept, "MiB", None);
    row(
        "  CPU of each import",
        each(cpu.as_secs_f64() * 1e3),
        "ms",
        None,
    );
    row(
        "  imported when the Restore was made",
        then as f64,
        "",
        None,
    );
    let waited_for = waited_for.as_secs_f64();
    row(
        "  record of its backup after",
        waited_for,
        "s",
        Some(WAITED_FOR),
    );
    row("  imported until then", at_record as f64, "", None);
    row("  all of them after", all.as_secs_f64(), "s", None);
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    row(
        "  time to create them, without velero-trust",
        alone.as_secs_f64(),
        "s",
        None,
    );
    row("  time to create them, compared with that", ratio, "", None);
    Ok(leader)
}

/// Creates all Backups but the first, one after the other. Returns how long that takes.
fn create(scene: &Scene<'_>) -> Result<Duration> {
    let began = Instant::now();
    scene.runtime.block_on(async {
        for number in 1..BACKUPS {
            other::create(scene, number).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(began.elapsed())
}

/// Asks for a Restore of a backup. Returns how long it takes then until that is imported.
fn restore(scene: &Scene<'_>, number: usize) -> Result<Duration> {
    let began = Instant::now();
    let records = Api::<BackupRecord>::all(scene.client.clone());
    let name = other::record(number);
    scene.runtime.block_on(async {
        begin_restore(scene, "wanted", number).await?;
        await_condition(records, &name, |record: Option<&BackupRecord>| {
            record.is_some_and(is_imported)
        })
        .await
        .context("the records cannot be watched")
    })?;
    Ok(began.elapsed())
}

fn is_imported(record: &BackupRecord) -> bool {
    let status = record.status.as_ref();
    status.is_some_and(|status| status.state == RecordState::Recorded && status.imported.is_some())
}
