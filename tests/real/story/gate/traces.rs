//! Dry runs.

use super::{Bed, restore_of};
use crate::story::recorded::{bytes_read, record_of};
use crate::story::{at, ensure_passed, restore, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::wait;

/// A dry run is answered as what it stands for, and leaves no trace. Nothing was read of `backup` for a
/// Restore. Returns what has to be so at the end.
pub(super) fn of_create(bed: &Bed, backup: &str) -> Result<Value> {
    let record = record_of(&bed.cluster, backup)?;
    ensure!(at(&record, "/status/verification").is_null(), "{record}");
    let dry = ["create", "--dry-run=server", "-f", "-"];
    let tried = bed.cluster.kubectl();
    let tried = tried.run_with_input(&dry, &restore("dry", backup))?;
    ensure_passed("a dry run", &tried)?;
    Ok(record)
}

/// Fails if anything tells of the dry run.
pub(super) fn has_none(bed: &Bed, backup: &str, before: &Value) -> Result<()> {
    let record = record_of(&bed.cluster, backup)?;
    ensure!(record == *before, "{record}, not {before}");
    let kubectl = bed.cluster.kubectl();
    let restore = kubectl.run(&["get", "restore", "dry", "-n", VELERO_NAMESPACE])?;
    ensure!(restore.stderr.contains("NotFound"), "{restore:?}");
    let of = "--field-selector=involvedObject.name=dry";
    let events = kubectl.get(&["events", "-n", VELERO_NAMESPACE, of])?;
    ensure!(*at(&events, "/items") == json!([]), "{events}");
    Ok(())
}

/// Somebody tries what Velero does when it begins a Restore.
pub(super) fn of_begin(bed: &Bed, backup: &str) -> Result<()> {
    let (cluster, kubectl) = (&bed.cluster, bed.cluster.kubectl());
    bed.velero.signal("STOP")?;
    ensure_passed("begun", &bed.create("begun", backup, &Value::Null)?)?;
    let begin = json!({"status": {"phase": "InProgress"}}).to_string();
    let patch = ["patch", "restore", "begun", "-n", VELERO_NAMESPACE];
    let dry = [
        "--dry-run=server",
        "--type=merge",
        "-o",
        "json",
        "-p",
        &begin,
    ];
    let state = || {
        let events = ["events", "-n", VELERO_NAMESPACE, "-o", "name"];
        let events = kubectl.ok(&[&["get"], &events[..]].concat())?;
        let (restore, record) = (restore_of(cluster, "begun")?, record_of(cluster, backup)?);
        anyhow::Ok((restore, record, events, bytes_read(&bed.installation)?))
    };
    // Its files are read, and Velero is told so.
    wait::poll("the Restore to be ready", wait::PATIENCE, || {
        let annotation = "/metadata/annotations/velero-trust.io~1reconcile-requested-at";
        let restore = restore_of(cluster, "begun")?;
        ensure!(at(&restore, annotation).is_string(), "{restore}");
        Ok(())
    })?;
    let before = state()?;
    let tried = kubectl.run(&[&patch[..], &dry].concat())?;
    ensure_passed("a dry run", &tried)?;
    let tried: Value = serde_json::from_str(&tried.stdout)?;
    let verdict = at(&tried, "/metadata/annotations/velero-trust.io~1verdict");
    let verdict = verdict.as_str().context("no verdict")?;
    ensure!(verdict.contains("observed"), "{verdict}");
    let after = state()?;
    ensure!(after == before, "{after:?}, not {before:?}");
    bed.velero.signal("CONT")?;
    wait_for_phase(cluster, "restore", "begun", "Completed")?;
    bed.close()
}
