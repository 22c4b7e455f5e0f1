//! A Restore is checked when it is created. Nobody can exchange its backup afterwards: not while it
//! waits for Velero, and not after it is finished. What Velero itself writes passes, even while
//! velero-trust is down.

use super::recorded::{install_ledger, record_of, wait_for_annotation};
use super::{
    PATIENCE, ensure_passed, ensure_refused, get, install, restore, velero, wait_for_phase,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

/// A backup that is recorded, and one that has no files.
const VOUCHED: &str = "vouched";
const BARE: &str = "bare";

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    let server = cluster.velero()?;
    install_ledger(&cluster)?;
    let mut installation = install(&cluster)?;
    prepare(&cluster, server)?;

    finished_ones_stay_finished(&cluster)?;
    server.signal("STOP")?;
    waiting_ones_keep_their_backup(&cluster)?;
    installation.kill()?;
    while_we_are_down_nobody_rewrites(&cluster)?;
    server.signal("CONT")?;
    while_we_are_down_nothing_begins(&cluster, server)?;
    installation.start_again(&[])?;
    velero_goes_on(&cluster).with_context(|| server.tail())
}

/// Makes both backups, and a finished Restore of the one with a checksum.
fn prepare(cluster: &Cluster, server: &Velero) -> Result<()> {
    let minio = cluster.minio()?;
    let (mut location, secret) = minio.location_with_ca(VELERO_NAMESPACE, "default", BUCKET);
    json_patch::merge(
        &mut location,
        &json!({"spec": {"default": true, "validationFrequency": "1s"}}),
    );
    let kubectl = cluster.kubectl();
    kubectl.apply(&secret.to_string())?;
    ensure_passed("a location", &kubectl.create(&location.to_string())?)?;
    wait_for_phase(cluster, "bsl", "default", "Available").with_context(|| server.tail())?;
    // The label by which Velero finds the backups of a schedule.
    let schedule = "velero.io/schedule-name=nightly";
    let create = ["backup", "create", VOUCHED, "--labels", schedule];
    let of = ["--include-namespaces", "default", "--wait"];
    let created = velero(cluster, &[&create[..], &of].concat())?;
    ensure_passed(VOUCHED, &created).with_context(|| server.tail())?;
    wait_for_annotation(cluster, VOUCHED)?;
    let bare = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": BARE, "namespace": VELERO_NAMESPACE},
        "spec": {"storageLocation": "default"},
        "status": {"phase": "Completed"},
    });
    kubectl.apply(&bare.to_string())?;
    wait::poll("a backup without files to be unreadable", PATIENCE, || {
        let record = record_of(cluster, BARE)?;
        ensure!(record["status"]["state"] == "Unreadable", "{record}");
        Ok(())
    })?;
    ensure_passed("a Restore", &kubectl.create(&restore("done", VOUCHED))?)?;
    wait_for_phase(cluster, "restore", "done", "Completed").with_context(|| server.tail())?;
    Ok(())
}

fn finished_ones_stay_finished(cluster: &Cluster) -> Result<()> {
    for (what, change) in [
        (
            "a finished Restore of another backup",
            json!({"spec": {"backupName": BARE, "scheduleName": null}, "status": null}),
        ),
        (
            "the same, marked new",
            json!({"spec": {"backupName": BARE, "scheduleName": null}, "status": {"phase": "New"}}),
        ),
        (
            "another backup in a finished Restore",
            json!({"spec": {"backupName": BARE}}),
        ),
    ] {
        let output = patch(cluster, "done", &change)?;
        ensure_refused(what, &output, &["[VT101]", "spec.backupName: Backup "])?;
    }
    // Velero has filled in the schedule, and refuses a Restore that names both.
    let again = json!({"spec": {"scheduleName": null}, "status": null});
    let output = patch(cluster, "done", &again)?;
    let says = ["[VT120]", "it was Completed already, and would run again"];
    ensure_refused("the same Restore again", &output, &says)?;
    let done = wait_for_phase(cluster, "restore", "done", "Completed")?;
    ensure!(done["spec"]["backupName"] == VOUCHED, "{done}");
    Ok(())
}

/// Velero handles one Restore at a time, so a Restore can wait for long.
fn waiting_ones_keep_their_backup(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    ensure_passed("a Restore", &kubectl.create(&restore("waits", VOUCHED))?)?;
    let by_schedule = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "of-the-newest", "namespace": VELERO_NAMESPACE},
        "spec": {"scheduleName": "nightly"},
    });
    let output = kubectl.create(&by_schedule.to_string())?;
    ensure_passed("a Restore by schedule", &output)?;
    let change = json!({"spec": {"backupName": BARE}});
    let output = patch(cluster, "waits", &change)?;
    ensure_refused("another backup in a waiting Restore", &output, &["[VT101]"])?;
    let change = json!({"spec": {"backupName": BARE, "scheduleName": null}});
    let output = patch(cluster, "of-the-newest", &change)?;
    ensure_refused("a backup instead of a schedule", &output, &["[VT101]"])
}

fn while_we_are_down_nobody_rewrites(cluster: &Cluster) -> Result<()> {
    let down = ["failed calling webhook \"restores.velero-trust.io\""];
    for (name, change) in [
        (
            "done",
            json!({"spec": {"backupName": BARE}, "status": null}),
        ),
        ("waits", json!({"spec": {"backupName": BARE}})),
    ] {
        ensure_refused(name, &patch(cluster, name, &change)?, &down)?;
    }
    // What decides nothing can be changed.
    for name in ["done", "waits"] {
        let change = json!({"metadata": {"labels": {"seen": "yes"}, "annotations": {"note": "x"}}});
        ensure_passed("a label", &patch(cluster, name, &change)?)?;
    }
    Ok(())
}

/// Velero tries, and tries again once velero-trust is there.
fn while_we_are_down_nothing_begins(cluster: &Cluster, server: &Velero) -> Result<()> {
    let refused = "failed calling webhook \\\"restores.velero-trust.io\\\"";
    for name in ["waits", "of-the-newest"] {
        wait::poll("Velero to try", PATIENCE, || {
            let log = server.log();
            let mut lines = log.lines();
            let tried = lines.any(|line| line.contains(refused) && line.contains(name));
            ensure!(tried, "it did not try {name}");
            Ok(())
        })?;
        let phase = get(cluster, "restore", name)?["status"]["phase"].clone();
        ensure!(phase.is_null(), "{name} is {phase}");
    }
    Ok(())
}

/// Velero adds its finalizer, writes the backup of the schedule, and every phase.
fn velero_goes_on(cluster: &Cluster) -> Result<()> {
    for name in ["waits", "of-the-newest"] {
        let restored = wait_for_phase(cluster, "restore", name, "Completed")?;
        ensure!(restored["spec"]["backupName"] == VOUCHED, "{restored}");
    }
    let output = velero(cluster, &["restore", "delete", "done", "--confirm"])?;
    ensure_passed("the deletion of a Restore", &output)?;
    let gone = ["restore/done", "-n", VELERO_NAMESPACE, "--timeout=60s"];
    cluster
        .kubectl()
        .ok(&[&["wait", "--for=delete"], &gone[..]].concat())?;
    let bare = get(cluster, "backup", BARE)?;
    ensure!(
        bare["metadata"]["annotations"]["velero-trust.io/checksum"].is_null(),
        "this backup was to have no checksum: {bare}"
    );
    Ok(())
}

fn patch(cluster: &Cluster, name: &str, change: &Value) -> Result<Output> {
    let change = change.to_string();
    let arguments = ["patch", "restore", name, "-n", VELERO_NAMESPACE];
    let change = ["--type=merge", "-p", &change];
    cluster.kubectl().run(&[&arguments[..], &change].concat())
}
