//! Backups that go away and come back, in the cluster that made them. Velero looks into the bucket each minute, so
//! that all is done at once and waited for once.

use super::files::Files;
use super::site::Site;
use super::{Two, again, all, schedule};
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, get, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::wait;

/// The backup that is deleted, and whose files are put back.
pub(super) const BACKUP: &str = "came-back";

pub(super) fn story(two: &Two) -> Result<()> {
    let site = &two.first;
    put_back(site).context("what is put back")?;
    let schedule = schedule::Taken::take(site).context("the schedule")?;
    let again = again::Again::make(two).context("the same name")?;
    all([
        came_back(site).context("what came back"),
        schedule.has_vanished(site).context("the schedule"),
        again.is_told(two).context("the same name"),
    ])
}

/// Deletes a backup as a user, and waits until it is known to be deleted.
pub(super) fn delete(site: &Site, backup: &str) -> Result<Value> {
    let record = site.record(backup)?;
    let delete = ["backup", "delete", backup, "--confirm"];
    ensure_passed("the deletion", &velero(&site.cluster, &delete)?)?;
    wait::poll("the deletion to be known", PATIENCE, || {
        let found = velero(&site.cluster, &["backup", "get", backup])?;
        ensure_refused(backup, &found, &["not found"])?;
        let left = site.files(BUCKET, backup)?;
        ensure!(left.is_empty(), "{:?}", left.keys());
        let closed = same(site, backup, &record)?;
        let how = at(&closed, "/status/gone/how");
        ensure!(*how == "Deleted", "{}", closed["status"]);
        Ok(closed)
    })
}

/// Returns the record with the UID of `record`, as it is now.
pub(super) fn same(site: &Site, backup: &str, record: &Value) -> Result<Value> {
    let uid = at(record, "/spec/uid");
    let records = site.records(backup)?.into_iter();
    let mut records = records.filter(|other| at(other, "/spec/uid") == uid);
    records.next().context("its record is gone")
}

/// Somebody kept all files of the backup.
fn put_back(site: &Site) -> Result<()> {
    let files: Files = site.files(BUCKET, BACKUP)?;
    delete(site, BACKUP)?;
    site.put(BUCKET, BACKUP, &files)
}

/// What somebody deleted is wanted only if somebody says so.
fn came_back(site: &Site) -> Result<()> {
    wait::poll("Velero to sync it", PATIENCE, || {
        get(&site.cluster, "backup", BACKUP)?;
        let record = site.record(BACKUP)?;
        let how = at(&record, "/status/returned/how");
        ensure!(*how == "Deleted", "{}", record["status"]);
        site.annotation(BACKUP, "checksum").map(drop)
    })?;
    let words = [
        "[VT126]",
        "was deleted in this cluster, and came back",
        "velero-trust backup adopt came-back",
    ];
    let refuses = || site.refuses(BACKUP, &words);
    refuses()?;

    let says = "velero-trust.io/accept-insecure=it was deleted by mistake";
    ensure_passed("accepted", &site.restore("mistake", BACKUP, Some(says))?)?;
    let verdict = site.has_restored("mistake", BACKUP)?;
    ensure!(verdict["accepted"] == json!(["VT126"]), "{verdict}");
    // That was for one Restore.
    refuses()?;

    let adopted = site.velero_trust(&["backup", "adopt", "--wait=90", BACKUP])?;
    ensure_passed("the adoption", &adopted)?;
    let (_, verdict) = site.restores(BACKUP)?;
    ensure!(verdict["level"] != "adopted", "it was read: {verdict}");
    site.has_told(BACKUP, "BackupAdopted", "it was deleted here and came back")
}
