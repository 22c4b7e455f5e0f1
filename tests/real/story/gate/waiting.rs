//! What cannot be known yet.

use super::{Bed, restore_of};
use crate::story::{PATIENCE, at, ensure_passed};
use anyhow::{Result, ensure};
use serde_json::Value;
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::wait;

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    bed.back_up("good")?;
    down(bed)?;
    behind_the_gate(bed)
}

/// velero-trust is down: Velero waits for it, and goes on when it is back.
fn down(bed: &mut Bed) -> Result<()> {
    ensure_passed("restores", &bed.create("first", "good", &Value::Null)?)?;
    bed.has_restored("first", "observed")?;
    bed.velero.signal("STOP")?;
    ensure_passed("restores", &bed.create("patient", "good", &Value::Null)?)?;
    bed.installation.kill()?;
    bed.velero.signal("CONT")?;
    wait::poll("Velero to try", PATIENCE, || {
        let log = bed.velero.log();
        let mut lines = log.lines();
        let refused = "failed calling webhook";
        let tried = lines.any(|line| line.contains(refused) && line.contains("velero/patient"));
        ensure!(tried, "not yet");
        Ok(())
    })?;
    let phase = restore_of(&bed.cluster, "patient")?["status"]["phase"].clone();
    ensure!(phase.is_null(), "{phase}");
    bed.installation.start_again(&[])?;
    bed.has_restored("patient", "observed").map(drop)
}

/// Somebody swaps the tarball while Velero restores, which nothing can prevent.
fn behind_the_gate(bed: &Bed) -> Result<()> {
    let kubectl = bed.cluster.kubectl();
    let events = || kubectl.get(&["events", "-n", VELERO_NAMESPACE]);
    let found = events()?;
    let waited = at(&found, "/items").as_array().into_iter().flatten();
    let mut waited = waited.filter(|event| event["reason"] == "RestoreWaiting");
    ensure!(
        waited.next().is_some(),
        "no Event told that a Restore waits"
    );
    Ok(())
}
