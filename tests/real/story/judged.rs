//! A Restore of a recorded backup is judged by the record.

use super::recorded::{wait_for_annotation, wait_until_closed};
use super::{at, ensure_passed, ensure_refused, get, restore};
use anyhow::{Context as _, Result};
use json_patch::merge;
use serde_json::{Value, json};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};

/// `name` is recorded.
pub(super) fn story(cluster: &Cluster, name: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let passes = |name_of_restore: &str, checksum: Option<&str>| {
        let mut object: Value = serde_json::from_str(&restore(name_of_restore, name))?;
        if let Some(checksum) = checksum {
            let annotations = json!({"velero-trust.io/backup-checksum": checksum});
            merge(
                &mut object,
                &json!({"metadata": {"annotations": annotations}}),
            );
        }
        let command = ["create", "--dry-run=server", "-f", "-"];
        kubectl.run_with_input(&command, &object.to_string())
    };
    let backup = get(cluster, "backup", name)?;
    let annotation = |key: &str| {
        let value = at(
            &backup,
            &format!("/metadata/annotations/velero-trust.io~1{key}"),
        );
        value.as_str().map(str::to_owned).context("not annotated")
    };
    ensure_passed("the Restore", &passes("good", None)?)?;
    ensure_passed(
        "all that is signed",
        &passes("all", Some(&annotation("manifest")?))?,
    )?;
    let other = format!("sha256:{}", "0".repeat(64));
    let recorded = format!("{} is recorded", annotation("checksum")?);
    let refused = passes("other", Some(&other))?;
    ensure_refused("another checksum", &refused, &["[VT104]", &recorded])?;

    // What the sync makes of a forged velero-backup.json that is put back before anybody looks.
    let object = format!("backup/{name}");
    let started = at(&backup, "/status/startTimestamp");
    let start = |time: &Value| {
        let patch = json!({"status": {"startTimestamp": time}}).to_string();
        let command = [
            "patch",
            &object,
            "-n",
            VELERO_NAMESPACE,
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl.ok(&command).map(drop)
    };
    start(&json!("2031-01-01T00:00:00Z"))?;
    let refused = passes("forged", None)?;
    ensure_refused(
        "a forged Backup",
        &refused,
        &["[VT114]", "status.startTimestamp"],
    )?;
    start(started)?;

    let keys = kubectl.ok(&["get", "trustedkeys", "-o", "name"])?;
    let key = keys.trim();
    let state = |state: &str| {
        let patch = json!({"spec": {"state": state}}).to_string();
        kubectl
            .ok(&["patch", key, "--type=merge", "-p", &patch])
            .map(drop)
    };
    state("Revoked")?;
    wait_until_closed(cluster, name)?;
    let refused = passes("revoked", None)?;
    ensure_refused("a revoked key", &refused, &["[VT101]", "which is revoked"])?;
    state("Active")?;
    wait_for_annotation(cluster, name)?;
    ensure_passed("the Restore", &passes("good", None)?)
}
