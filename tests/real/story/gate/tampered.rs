//! Files, Backups and Restores that somebody changed.

use super::forged::{self, Files};
use super::{Bed, SHOP, restore_of};
use crate::story::recorded::open;
use crate::story::{at, ensure_passed, ensure_refused, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust::bucket::Store;
use velero_trust_testing::cluster::VELERO_NAMESPACE;

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    let store = bed.cluster.block_on(open(&bed.cluster))?;
    let older = backups(bed, &store)?;
    untouched_restores(bed)?;
    forged::unchanged_list(bed, &store)?;
    each_file(bed, &store)?;
    copied_directory(bed, &store)?;
    swapped_between(bed, &store)?;
    forged_backup(bed)?;
    presets(bed)?;
    forged::swapped_behind(bed, &store)?;
    forged::older_backup(bed, &store, &older)?;
    forged::directories(bed, &store, &older)
}

/// Makes all backups of this story at once. Returns the files of the backup `again` that was deleted
/// before another one of its name was made.
fn backups(bed: &Bed, store: &Store) -> Result<Files> {
    bed.open()?;
    bed.make("again", &[])?;
    bed.make("other", &["--labels", "velero.io/schedule-name=nightly"])?;
    let once = ["good", "swapped", "moved", "volumes", "whole", "planned"];
    for name in once {
        bed.make(name, &[])?;
    }
    bed.are_recorded(&["again"])?;
    let older = forged::files(bed, store, "again")?;
    let delete = ["backup", "delete", "again", "--confirm"];
    ensure_passed("the deletion", &velero(&bed.cluster, &delete)?)?;
    let gone = ["backup/again", "-n", VELERO_NAMESPACE, "--timeout=60s"];
    let gone = [&["wait", "--for=delete"], &gone[..]].concat();
    bed.cluster.kubectl().ok(&gone)?;
    bed.make("again", &[])?;
    bed.are_recorded(&once)?;
    bed.are_recorded(&["other", "again"])?;
    bed.close()?;
    Ok(older)
}

/// Nobody notices.
fn untouched_restores(bed: &Bed) -> Result<()> {
    let verdict = bed.restores("untouched", "good", "observed")?;
    ensure!(verdict["listing"].is_string(), "{verdict}");
    ensure!(verdict["accepted"].is_null(), "{verdict}");
    Ok(())
}

/// Each file that Velero reads is changed, removed and added.
fn each_file(bed: &Bed, store: &Store) -> Result<()> {
    let cluster = &bed.cluster;
    let listing = cluster.block_on(store.list("good"))?;
    let mut index = 0;
    let mut name = || {
        index += 1;
        format!("file-{index}")
    };
    for artifact in &listing.artifacts {
        let file = &artifact.name;
        let is_shown = ["-logs.gz", "-results.gz", "-resource-list.json.gz"];
        if file.ends_with(".dsse.json") || is_shown.iter().any(|end| file.ends_with(end)) {
            continue;
        }
        let reading = cluster.block_on(store.read("good", artifact))?;
        let original = cluster.block_on(reading.bytes(artifact.size))?;
        let mut changed = original.clone();
        *changed.last_mut().context("an empty file")? ^= 1;
        cluster.block_on(store.put("good", file, changed))?;
        let restore = name();
        ensure_passed(file, &bed.create(&restore, "good", &Value::Null)?)?;
        let words = [
            "[VT115]",
            file,
            "differ from those that were signed",
            "expected sha256:",
            "found sha256:",
        ];
        bed.is_stopped(&restore, &words)?;
        // It is known now, so the next one is not even created.
        let again = bed.create(&name(), "good", &Value::Null)?;
        ensure_refused("the same again", &again, &["[VT115]", file])?;

        // A tarball that is missing lets Velero forget the Backup at its next sync.
        if file != "velero-backup.json" {
            cluster.block_on(store.delete("good", file))?;
            let restore = name();
            ensure_passed(file, &bed.create(&restore, "good", &Value::Null)?)?;
            bed.is_stopped(&restore, &["[VT115]", file, "was signed and is missing"])?;
        }
        cluster.block_on(store.put("good", file, original))?;
    }
    let added = "good-csi-volumesnapshots.json.gz";
    let has_it = listing
        .artifacts
        .iter()
        .any(|artifact| artifact.name == added);
    ensure!(!has_it, "{added} is there already");
    cluster.block_on(store.put("good", added, b"forged".to_vec()))?;
    let restore = name();
    ensure_passed(added, &bed.create(&restore, "good", &Value::Null)?)?;
    bed.is_stopped(&restore, &["[VT115]", added, "was added"])?;
    cluster.block_on(store.delete("good", added))?;

    // What only people read, and what Velero does not know, is told.
    cluster.block_on(store.put("good", "good-logs.gz", b"forged".to_vec()))?;
    cluster.block_on(store.put("good", "notes.txt", b"x".to_vec()))?;
    bed.restores("mended", "good", "observed")?;
    ensure!(
        bed.velero.log().contains("[VT116]"),
        "no warning in Velero's log"
    );
    cluster
        .block_on(store.delete("good", "notes.txt"))
        .context("the note")
}

/// The tarball of another backup, and a directory under another name.
fn copied_directory(bed: &Bed, store: &Store) -> Result<()> {
    let cluster = &bed.cluster;
    let listing = cluster.block_on(store.list("good"))?;
    let tarball = listing.get("good.tar.gz").context("no tarball")?;
    let reading = cluster.block_on(store.read("good", tarball))?;
    let bytes = cluster.block_on(reading.bytes(tarball.size))?;
    cluster.block_on(store.put("other", "other.tar.gz", bytes))?;
    ensure_passed("other", &bed.create("of-another", "other", &Value::Null)?)?;
    bed.is_stopped("of-another", &["[VT115]", "other.tar.gz", "found sha256:"])
}

/// The tarball is swapped after the Restore was created.
fn swapped_between(bed: &Bed, store: &Store) -> Result<()> {
    let cluster = &bed.cluster;
    bed.velero.signal("STOP")?;
    ensure_passed("swapped", &bed.create("between", "swapped", &Value::Null)?)?;
    cluster.block_on(store.put("swapped", "swapped.tar.gz", b"forged".to_vec()))?;
    bed.velero.signal("CONT")?;
    bed.is_stopped("between", &["[VT115]", "swapped.tar.gz"])
}

/// What the sync makes of a forged velero-backup.json stays when that is put back.
fn forged_backup(bed: &Bed) -> Result<()> {
    bed.velero.signal("STOP")?;
    ensure_passed("moved", &bed.create("forged", "moved", &Value::Null)?)?;
    let patch = json!({"status": {"startTimestamp": "2031-01-01T00:00:00Z"}}).to_string();
    let patch = [
        "patch",
        "backup",
        "moved",
        "-n",
        VELERO_NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    bed.cluster.kubectl().ok(&patch)?;
    bed.velero.signal("CONT")?;
    let words = [
        "[VT114]",
        "status.startTimestamp",
        "delete the Backup object",
    ];
    bed.is_stopped("forged", &words)?;

    // A PodVolumeBackup that nobody made with the backup.
    let volume = json!({
        "apiVersion": "velero.io/v1",
        "kind": "PodVolumeBackup",
        "metadata": {
            "name": "forged", "namespace": VELERO_NAMESPACE,
            "labels": {"velero.io/backup-name": "volumes"},
        },
        "spec": {
            "backupStorageLocation": "default", "node": "n", "repoIdentifier": "r", "volume": "data",
            "pod": {"kind": "Pod", "name": "till", "namespace": SHOP},
        },
        "status": {"phase": "Completed", "snapshotID": "forged"},
    });
    bed.cluster.kubectl().apply(&volume.to_string())?;
    ensure_passed("volumes", &bed.create("volumes", "volumes", &Value::Null)?)?;
    bed.is_stopped(
        "volumes",
        &["[VT117]", "there are 1 PodVolumeBackups, and 0 were signed"],
    )
}

/// A Restore that somebody begins, or changes while it waits.
fn presets(bed: &Bed) -> Result<()> {
    for phase in [
        "InProgress",
        "WaitingForPluginOperations",
        "Finalizing",
        "Completed",
    ] {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Restore",
            "metadata": {"name": "preset", "namespace": VELERO_NAMESPACE},
            "spec": {"backupName": "other"}, "status": {"phase": phase},
        });
        let refused = bed.cluster.kubectl().create(&object.to_string())?;
        ensure_refused(phase, &refused, &["[VT120]", phase])?;
    }
    bed.velero.signal("STOP")?;
    ensure_passed("waits", &bed.create("waits", "volumes", &Value::Null)?)?;
    let kubectl = bed.cluster.kubectl();
    let patch = |change: Value| {
        let change = change.to_string();
        kubectl.run(&[
            "patch",
            "restore",
            "waits",
            "-n",
            VELERO_NAMESPACE,
            "--type=merge",
            "-p",
            &change,
        ])
    };
    for (what, change) in [
        ("another backup", json!({"spec": {"backupName": "moved"}})),
        (
            "an acceptance",
            json!({"metadata": {"annotations": {"velero-trust.io/accept-insecure": "x"}}}),
        ),
        (
            "a verdict",
            json!({"metadata": {"annotations": {"velero-trust.io/verdict": "{}"}}}),
        ),
    ] {
        let refused = patch(change)?;
        ensure_refused(what, &refused, &[])?;
        // The policy refuses some of it as well, and the API server tells of one of both.
        let says = ["[VT123]", "'velero-trust-noted-restores'"];
        let is_told = says.iter().any(|said| refused.stderr.contains(said));
        ensure!(is_told, "{what}: {refused:?}");
    }
    // Whoever begins it meets the same gate.
    let begun = patch(json!({"status": {"phase": "WaitingForPluginOperations"}}))?;
    if begun.code != Some(0) {
        ensure_refused("somebody who begins it", &begun, &["it waits: "])?;
    }
    let restore = restore_of(&bed.cluster, "waits")?;
    let phase = at(&restore, "/status/phase");
    let is_begun = *phase != "FailedValidation" && !phase.is_null();
    ensure!(!is_begun, "{restore}");
    bed.velero.signal("CONT")?;
    bed.is_stopped("waits", &["[VT117]"])?;
    let described = velero(&bed.cluster, &["restore", "describe", "file-1"])?;
    ensure_passed("describe", &described)?;
    ensure!(
        described.stdout.contains("Validation errors:"),
        "{described:?}"
    );
    ensure!(described.stdout.contains("[VT115]"), "{described:?}");
    Ok(())
}
