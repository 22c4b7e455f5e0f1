//! A backup that its own cluster observed, and that a user of another cluster vouches for.

use super::Two;
use crate::story::recorded::{only_key, open, record_of, verify_with_key};
use crate::story::{at, ensure_passed};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use velero_trust_testing::cluster::Cluster;

pub(super) const BACKUP: &str = "adopted";

pub(super) fn story(two: &Two) -> Result<()> {
    let Two { first, second } = two;
    let before = envelopes(&first.cluster)?;
    let recorded = record_of(&first.cluster, BACKUP)?;
    ensure!(before.len() == 1, "{:?}", before.keys());

    let adopt = ["backup", "adopt", "--wait=90", BACKUP];
    let adopted = second.velero_trust(&adopt)?;
    ensure_passed("the adoption", &adopted)?;
    let how = "recorded and signed on the word of admin";
    ensure!(adopted.stdout.contains(how), "{adopted:?}");

    // Each is beside the other, as it was written.
    let after = envelopes(&first.cluster)?;
    ensure!(after.len() == 2, "{:?}", after.keys());
    for (name, content) in &before {
        ensure!(after.get(name) == Some(content), "{name} is another one");
    }
    for site in [first, second] {
        let key = only_key(&site.cluster)?;
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
fn envelopes(cluster: &Cluster) -> Result<BTreeMap<String, Vec<u8>>> {
    cluster.block_on(async {
        let store = open(cluster).await?;
        let mut envelopes = BTreeMap::new();
        for artifact in store.list(BACKUP).await?.artifacts {
            if artifact.name.ends_with(".dsse.json") {
                let reading = store.read(BACKUP, &artifact).await?;
                let content = reading.bytes(artifact.size).await?;
                envelopes.insert(artifact.name.clone(), content);
            }
        }
        Ok(envelopes)
    })
}
