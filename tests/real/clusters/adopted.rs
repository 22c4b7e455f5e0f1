//! A backup that its own cluster observed, and that a user of another cluster vouches for.

use super::Two;
use super::files::{Files, is_envelope};
use super::site::Site;
use crate::story::recorded::{record_of, verify_with_key};
use crate::story::{at, ensure_passed};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use velero_trust_testing::cluster::{BUCKET, Cluster};

pub(super) const BACKUP: &str = "adopted";

pub(super) fn story(two: &Two) -> Result<()> {
    let Two { first, second } = two;
    let before = envelopes(first)?;
    let recorded = record_of(&first.cluster, BACKUP)?;
    ensure!(before.len() == 1, "{:?}", before.keys());

    let adopt = ["backup", "adopt", "--wait=90", BACKUP];
    let adopted = second.velero_trust(&adopt)?;
    ensure_passed("the adoption", &adopted)?;
    let how = "recorded and signed on the word of admin";
    ensure!(adopted.stdout.contains(how), "{adopted:?}");

    // Each is beside the other, as it was written.
    let after = envelopes(first)?;
    ensure!(after.len() == 2, "{:?}", after.keys());
    for (name, content) in &before {
        ensure!(after.get(name) == Some(content), "{name} is another one");
    }
    for site in [first, second] {
        let key = site.key()?.pem;
        let verified = verify_with_key(&first.cluster, BACKUP, &key)?;
        ensure_passed("verify", &verified)?;
    }
    let again = record_of(&first.cluster, BACKUP)?;
    ensure!(again["status"] == recorded["status"], "{again}");

    first.lose(BACKUP)?;
    for (site, level) in [(first, "observed"), (second, "adopted")] {
        ensure_passed(level, &site.restore("adopted", BACKUP, None)?)?;
        let verdict = site.has_restored("adopted", BACKUP)?;
        // A backup that is complete before it is seen is recorded as late.
        let is_late = verdict["level"] == "late" && level == "observed";
        ensure!(is_late || verdict["level"] == level, "{verdict}");
    }
    is_not_its_own(&second.cluster, &recorded)
}

/// The record of the second cluster has the uid and the cluster that the files tell.
fn is_not_its_own(second: &Cluster, first: &Value) -> Result<()> {
    let name = at(first, "/metadata/name").as_str().context("no name")?;
    let record = second.kubectl().get(&["backuprecord", name])?;
    let status = at(&record, "/status");
    ensure!(*at(status, "/level") == "adopted", "{status}");
    ensure!(*at(status, "/adoptedBy") == "admin", "{status}");
    ensure!(at(status, "/syncedAs").is_string(), "{status}");
    Ok(())
}

/// Returns the envelopes beside the backup, by their names.
fn envelopes(site: &Site) -> Result<Files> {
    let mut files = site.files(BUCKET, BACKUP)?;
    files.retain(|name, _| is_envelope(name));
    Ok(files)
}
