//! What cannot be known yet.

use super::{Bed, brought, restore_of};
use crate::story::{PATIENCE, at, ensure_passed, restore, velero_trust, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::{installer, wait};

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    bed.back_up("good")?;
    down(bed)?;
    told(bed)?;
    store_that_hangs(bed)?;
    the_worst_hour(bed)?;
    brought::story(bed)
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
    let status = velero_trust(&bed.cluster, &["status"])?;
    let row = status.stdout.lines().find(|line| line.contains("patient"));
    let row = row.context(format!("{status:?}"))?;
    ensure!(
        row.contains("good") && row.contains("Velero to try it"),
        "{row}"
    );
    bed.installation.start_again(&[])?;
    bed.has_restored("patient", "observed").map(drop)
}

/// Whoever looks at a Restore that waits sees why.
fn told(bed: &Bed) -> Result<()> {
    has_event(bed, "RestoreWaiting")
}

fn has_event(bed: &Bed, reason: &str) -> Result<()> {
    wait::poll("an Event on a Restore", PATIENCE, || {
        let found = bed
            .cluster
            .kubectl()
            .get(&["events", "-n", VELERO_NAMESPACE])?;
        let mut events = at(&found, "/items").as_array().into_iter().flatten();
        ensure!(events.any(|event| event["reason"] == reason), "no {reason}");
        Ok(())
    })
}

/// The store does not answer for a while, and the leader is killed. Nothing is said about the files, and
/// nobody has to do anything.
fn store_that_hangs(bed: &mut Bed) -> Result<()> {
    let minio = bed.cluster.minio()?;
    minio.signal("STOP")?;
    ensure_passed("hangs", &bed.create("hangs", "good", &Value::Null)?)?;
    wait::poll("the gate to let it wait", PATIENCE, || {
        let reviews = bed.installation.webhook.events("review waits");
        let waits = reviews.iter().any(|review| review["name"] == "hangs");
        ensure!(waits, "it was not asked yet");
        Ok(())
    })?;
    let phase = restore_of(&bed.cluster, "hangs")?["status"]["phase"].clone();
    ensure!(phase.is_null(), "{phase}");
    // The leader dies while it reads.
    bed.installation.kill()?;
    minio.signal("CONT")?;
    bed.installation.start_again(&[])?;
    bed.has_restored("hangs", "observed").map(drop)
}

/// The commands of the page: a Restore runs without us, which is told, and then with us again.
fn the_worst_hour(bed: &Bed) -> Result<()> {
    let page = fs::read_to_string(installer::manifests().join("../docs/restores.md"))?;
    let delete = "kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations velero-trust-restores";
    ensure!(
        page.contains(&format!("$ {delete}\n")),
        "the page has another command"
    );
    let words: Vec<_> = delete.split(' ').skip(1).collect();
    bed.cluster.kubectl().ok(&words)?;
    wait::poll("the API server to ask nobody", PATIENCE, || {
        let name = format!(
            "unasked-{}",
            bed.installation.webhook.events("review").len()
        );
        let dry = ["create", "--dry-run=server", "-f", "-"];
        let none = restore(&name, "there-is-none");
        let passed = bed.cluster.kubectl().run_with_input(&dry, &none)?;
        ensure_passed("a Restore of no backup", &passed)
    })?;
    ensure_passed("alone", &bed.create("alone", "good", &Value::Null)?)?;
    let done = wait_for_phase(&bed.cluster, "restore", "alone", "Completed")?;
    let verdict = at(&done, "/metadata/annotations/velero-trust.io~1verdict");
    ensure!(verdict.is_null(), "{verdict}");
    has_event(bed, "RestoreUnchecked")?;
    bed.close()?;

    bed.installation.installer.apply()?;
    let output = bed.installation.installer.certs(PATIENCE)?;
    ensure_passed("certs --install", &output)?;
    installer::wait_until_asked(bed.cluster.kubectl())?;
    bed.restores("with-us-again", "good", "observed").map(drop)
}
