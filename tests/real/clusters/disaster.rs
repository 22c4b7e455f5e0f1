//! The cluster is gone. What is left are an empty one and the bucket.

use super::site::Site;
use crate::story::{ensure_passed, ensure_refused, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::sync::Arc;
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::minio::Minio;

const BACKUP: &str = "shop";

/// Nothing of the cluster is left, neither keys nor what they signed.
pub(super) fn with_nothing() -> Result<()> {
    let minio = Arc::new(Minio::start(&[BUCKET])?);
    made_and_lost(&minio)?;
    let mut site = Site::prepare(&minio, BUCKET)?;
    site.start_velero()?;
    one_sentence(&site).with_context(|| site.logs().concat())
}

/// Makes the backup in a cluster that ends.
fn made_and_lost(minio: &Arc<Minio>) -> Result<()> {
    let mut site = Site::prepare(minio, BUCKET)?;
    site.start_velero()?;
    site.back_up(BACKUP)?;
    site.has_recorded(&[BACKUP])
}

fn one_sentence(site: &Site) -> Result<()> {
    site.has_judged(&[BACKUP], "KeyUnknown")?;
    let listed = velero(&site.cluster, &["backup", "get"])?;
    ensure!(listed.stdout.contains(BACKUP), "{listed:?}");
    let refused = site.restore("too-early", BACKUP, None)?;
    ensure_refused("the Restore", &refused, &["[VT101]", "accept-insecure"])?;

    let says = "velero-trust.io/accept-insecure=the cluster burnt down";
    ensure_passed("accepted", &site.restore("accepted", BACKUP, Some(says))?)?;
    let verdict = site.has_restored("accepted", BACKUP)?;
    ensure!(verdict["accepted"] == json!(["VT101"]), "{verdict}");

    // From now on it is as any other backup.
    let adopted = site.velero_trust(&["backup", "adopt", "--all", "--yes", "--wait=90"])?;
    ensure_passed("the adoption", &adopted)?;
    site.lose(BACKUP)?;
    ensure_passed("known", &site.restore("known", BACKUP, None)?)?;
    let verdict = site.has_restored("known", BACKUP)?;
    ensure!(verdict["level"] == "adopted", "{verdict}");
    let status = site.velero_trust(&["status"])?;
    ensure!(status.stdout.contains("1 of 1"), "{status:?}");
    Ok(())
}
