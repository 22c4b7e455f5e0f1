//! Backups that come with annotations that velero-trust alone writes: from a Schedule, and from the bucket
//! by Velero's sync. No backup of a Schedule fails for them, and none stays.

use super::adopted;
use super::recorded::{install_ledger, open, record_of, start_velero, wait_for_annotation};
use super::{PATIENCE, at, ensure_passed, get, install, velero, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::Installation;
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

/// The annotations with which no Backup may come.
const RESERVED: [&str; 5] = [
    "checksum",
    "manifest",
    "verified-at",
    "adopt",
    "declared-checksum",
];

/// Those of them that say what is recorded.
const RECORDED: [&str; 3] = ["checksum", "manifest", "verified-at"];

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let mut installation = install(&cluster)?;
    install_ledger(&cluster)?;
    let result = reserved(&cluster, &mut installation);
    result.with_context(|| format!("our log:\n{}", installation.webhook.log()))
}

fn reserved(cluster: &Cluster, installation: &mut Installation) -> Result<()> {
    let server = start_velero(cluster)?;
    cluster.kubectl().apply(&schedule())?;
    wait_for_phase(cluster, "schedule", "nightly", "Enabled")?;

    is_stripped_by_the_webhook(cluster)?;
    back_up(cluster, "stripped")?;
    let created = get(cluster, "backup", "stripped")?;
    ensure!(!is_forged(&created), "it was not stripped: {created}");
    ensure!(
        at(&created, "/metadata/annotations/note") == "kept",
        "{created}"
    );
    wait_for_phase(cluster, "backup", "stripped", "Completed").with_context(|| server.tail())?;
    let stripped = wait_for_annotation(cluster, "stripped")?;
    ensure!(!is_forged(&stripped.backup), "{}", stripped.backup);

    installation.kill()?;
    back_up(cluster, "while-down")?;
    wait_for_phase(cluster, "backup", "while-down", "Completed").with_context(|| server.tail())?;
    // Velero has put what the Schedule says into the bucket. In the other backup, it is forged there.
    let mut forged = stripped.backup.clone();
    forged["metadata"]["annotations"] = annotations();
    let forged = forged.to_string().into_bytes();
    let store = cluster.block_on(open(cluster))?;
    cluster.block_on(store.put("stripped", "velero-backup.json", forged))?;
    drop(server);
    let kubectl = cluster.kubectl();
    for name in ["stripped", "while-down"] {
        kubectl.ok(&["delete", "backup", name, "-n", VELERO_NAMESPACE])?;
    }

    sync_is_refused_while_we_are_down(cluster)?;
    installation.start_again(&[])?;
    sync_brings_no_annotations(cluster, &stripped.backup)?;
    let server = restart_velero(cluster)?;
    adopted::who_may_attest_vouches(cluster, "while-down").with_context(|| server.tail())
}

/// A dry run stores nothing that the recorder could strip.
fn is_stripped_by_the_webhook(cluster: &Cluster) -> Result<()> {
    let backup = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {
            "name": "dry", "namespace": VELERO_NAMESPACE, "annotations": annotations(),
        },
        "spec": {},
    });
    let dry_run = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = cluster
        .kubectl()
        .run_with_input(&dry_run, &backup.to_string())?;
    ensure_passed("a dry run", &output)?;
    let created: Value = serde_json::from_str(&output.stdout)?;
    ensure!(!is_forged(&created), "it was not stripped: {created}");
    Ok(())
}

/// Velero syncs as soon as it starts.
fn sync_is_refused_while_we_are_down(cluster: &Cluster) -> Result<()> {
    let server = restart_velero(cluster)?;
    wait::poll("both backups to be refused", PATIENCE, || {
        let log = server.log();
        for name in ["stripped", "while-down"] {
            let is_refused = log.lines().any(|line| {
                line.contains("no Backup may come with the annotations") && line.contains(name)
            });
            ensure!(is_refused, "{name}: {}", server.tail());
        }
        Ok(())
    })?;
    let backups = ["get", "backups", "-n", VELERO_NAMESPACE, "-o", "name"];
    let backups = cluster.kubectl().ok(&backups)?;
    ensure!(backups.is_empty(), "{backups}");
    Ok(())
}

/// The one that was recorded gets what its record says, and the other one nothing.
fn sync_brings_no_annotations(cluster: &Cluster, before: &Value) -> Result<()> {
    let server = restart_velero(cluster)?;
    let synced = |name| wait_for_phase(cluster, "backup", name, "Completed");
    for name in ["stripped", "while-down"] {
        let backup = synced(name).with_context(|| server.tail())?;
        ensure!(!is_forged(&backup), "it was not stripped: {backup}");
    }
    wait::poll("the recorded backup to be annotated", PATIENCE, || {
        let backup = get(cluster, "backup", "stripped")?;
        for annotation in RECORDED {
            let pointer = format!("/metadata/annotations/velero-trust.io~1{annotation}");
            let (now, then) = (at(&backup, &pointer), at(before, &pointer));
            ensure!(
                now == then && now.is_string(),
                "{annotation}: {now}, not {then}"
            );
        }
        Ok(())
    })?;
    wait::poll("the other backup to be judged", PATIENCE, || {
        let record = record_of(cluster, "while-down")?;
        ensure!(
            at(&record, "/status/reason") == "Synced",
            "{}",
            record["status"]
        );
        Ok(())
    })?;
    let backup = get(cluster, "backup", "while-down")?;
    for annotation in RESERVED {
        let pointer = format!("/metadata/annotations/velero-trust.io~1{annotation}");
        ensure!(at(&backup, &pointer).is_null(), "{backup}");
    }
    Ok(())
}

fn restart_velero(cluster: &Cluster) -> Result<Velero> {
    cluster.start_velero(VELERO_NAMESPACE, &[])
}

/// Makes a backup of the Schedule, as a user.
fn back_up(cluster: &Cluster, name: &str) -> Result<()> {
    let arguments = ["backup", "create", name, "--from-schedule", "nightly"];
    ensure_passed("the backup of a Schedule", &velero(cluster, &arguments)?)
}

fn annotations() -> Value {
    let reserved = RESERVED.map(|one| (format!("velero-trust.io/{one}"), json!(FORGED)));
    let mut annotations: serde_json::Map<_, _> = reserved.into_iter().collect();
    annotations.insert("note".to_owned(), json!("kept"));
    annotations.into()
}

const FORGED: &str = "sha256:forged";

/// Whether any annotation is still what it came with.
fn is_forged(backup: &Value) -> bool {
    let annotations = at(backup, "/metadata/annotations").as_object();
    annotations.is_some_and(|all| all.values().any(|value| *value == FORGED))
}

/// A Schedule that only runs when it is asked to.
fn schedule() -> String {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "Schedule",
        "metadata": {
            "name": "nightly", "namespace": VELERO_NAMESPACE, "annotations": annotations(),
        },
        "spec": {
            "schedule": "0 0 1 1 *",
            "template": {"includedNamespaces": ["default"], "snapshotVolumes": false},
        },
    })
    .to_string()
}
