//! A backup that a user of another cluster deletes there.

use super::Two;
use crate::story::recorded::open;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, restore, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use velero_trust_testing::wait;

pub(super) const BACKUP: &str = "deleted";

/// Velero deletes all files of the bucket, whoever made them. The cluster that made them tells.
pub(super) fn story(two: &Two) -> Result<()> {
    let Two { first, second } = two;
    let delete = ["backup", "delete", BACKUP, "--confirm"];
    ensure_passed("the deletion", &velero(&second.cluster, &delete)?)?;
    wait::poll("the files to be deleted", PATIENCE, || {
        let left = first.cluster.block_on(async {
            let store = open(&first.cluster).await?;
            anyhow::Ok(store.list(BACKUP).await?)
        })?;
        ensure!(left.artifacts.is_empty(), "{left:?}");
        Ok(())
    })?;
    wait::poll("the Backup to be gone", PATIENCE, || {
        let found = velero(&first.cluster, &["backup", "get", BACKUP])?;
        ensure_refused("it", &found, &["not found"])
    })?;
    // The command of Velero does not even ask.
    let restore = restore("deleted", BACKUP);
    let refused = first.cluster.kubectl().create(&restore)?;
    let words = ["[VT103]", "Backup velero/deleted does not exist"];
    ensure_refused("a deleted backup", &refused, &words)?;
    wait::poll("the record to tell of it", PATIENCE, || {
        let listed = first.velero_trust(&["backup", "list", "-o", "json"])?;
        ensure_passed("the list", &listed)?;
        let listed: Value = serde_json::from_str(&listed.stdout)?;
        let rows = at(&listed, "/backups").as_array().context("no list")?;
        let mut rows = rows.iter();
        let row = rows.find(|row| row["backup"] == BACKUP);
        let row = row.context("its record is gone")?;
        ensure!(row["state"] == "Recorded", "{row}");
        ensure!(at(row, "/gone/how") == "Vanished", "{row}");
        Ok(())
    })
}
