//! The cluster is gone. What is left are an empty one and the bucket.

use super::site::Site;
use crate::story::recorded::open;
use crate::story::{PATIENCE, ensure_passed, ensure_refused, velero};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use velero_trust_testing::cluster::BUCKET;
use velero_trust_testing::minio::Minio;
use velero_trust_testing::wait;

const BACKUP: &str = "shop";

/// What somebody kept of the cluster.
struct Kept {
    /// The fingerprint of its key, on paper.
    fingerprint: String,
    /// The TrustedKey, in Git.
    manifest: String,
}

/// The public key is left: first its fingerprint, on paper, then the TrustedKey, in Git.
pub(super) fn with_the_key() -> Result<()> {
    let minio = Arc::new(Minio::start(&[BUCKET])?);
    let kept = made_and_lost(&minio)?;
    let mut site = Site::prepare(&minio, BUCKET)?;
    site.start_velero()?;
    let story = || {
        on_paper(&site, &kept.fingerprint)?;
        revoked(&site)?;
        in_git(&site, &kept.manifest)?;
        changed_since(&site)
    };
    story().with_context(|| site.logs().concat())
}

/// Wrong by one digit refuses; the right one imports what waits, and nothing is typed with the Restore.
fn on_paper(site: &Site, fingerprint: &str) -> Result<()> {
    site.has_judged(&[BACKUP], "KeyUnknown")?;
    let first = if fingerprint.starts_with('0') {
        "1"
    } else {
        "0"
    };
    let wrong = format!("{first}{}", &fingerprint[1..]);
    let trust = |fingerprint: &str| {
        let trust = ["keys", "trust", "--from-backup", BACKUP, "--name", "lost"];
        site.velero_trust(&[&trust[..], &["--fingerprint", fingerprint]].concat())
    };
    ensure_refused("another fingerprint", &trust(&wrong)?, &["group 1 is"])?;
    ensure_passed("the fingerprint", &trust(fingerprint)?)?;
    restores(site, "on-paper")
}

/// The backup is as any other of the cluster.
fn restores(site: &Site, name: &str) -> Result<()> {
    is_imported(site)?;
    ensure_passed(name, &site.restore(name, BACKUP, None)?)?;
    let verdict = site.has_restored(name, BACKUP)?;
    ensure!(verdict["level"] == "observed", "{verdict}");
    let status = site.velero_trust(&["status"])?;
    ensure!(status.stdout.contains("1 of 1"), "{status:?}");
    Ok(())
}

/// Its record has the UID in its files.
fn is_imported(site: &Site) -> Result<()> {
    wait::poll("the backup to be imported", PATIENCE, || {
        site.annotation(BACKUP, "checksum").map(drop)
    })
}

/// A key that is revoked closes what it opened.
fn revoked(site: &Site) -> Result<()> {
    let revoke = ["keys", "revoke", "lost", "--reason", "stolen", "--yes"];
    ensure_passed("the revocation", &site.velero_trust(&revoke)?)?;
    site.has_judged(&[BACKUP], "KeyRevoked")?;
    let refused = site.restore("revoked", BACKUP, None)?;
    ensure_refused("the Restore", &refused, &["[VT101]", "which is revoked"])
}

fn in_git(site: &Site, manifest: &str) -> Result<()> {
    let kubectl = site.cluster.kubectl();
    kubectl.ok(&["delete", "trustedkey", "lost"])?;
    kubectl.apply(manifest)?;
    is_imported(site)?;
    site.lose(BACKUP)?;
    restores(site, "in-git")
}

/// Whoever may write the bucket changes a file after the import.
fn changed_since(site: &Site) -> Result<()> {
    let tarball = format!("{BACKUP}.tar.gz");
    site.cluster.block_on(async {
        let store = open(&site.cluster).await?;
        anyhow::Ok(store.put(BACKUP, &tarball, b"other bytes".to_vec()).await?)
    })?;
    site.lose(BACKUP)?;
    ensure_passed("it", &site.restore("changed", BACKUP, None)?)?;
    site.has_stopped("changed", BACKUP, &["[VT115]", &tarball])
}

/// Nothing of the cluster is left, neither keys nor what they signed.
pub(super) fn with_nothing() -> Result<()> {
    let minio = Arc::new(Minio::start(&[BUCKET])?);
    made_and_lost(&minio)?;
    let mut site = Site::prepare(&minio, BUCKET)?;
    site.start_velero()?;
    one_sentence(&site).with_context(|| site.logs().concat())
}

/// Makes the backup in a cluster that ends.
fn made_and_lost(minio: &Arc<Minio>) -> Result<Kept> {
    let mut site = Site::prepare(minio, BUCKET)?;
    site.start_velero()?;
    site.back_up(BACKUP)?;
    site.has_recorded(&[BACKUP])?;
    let shown = site.velero_trust(&["keys", "show", "-o", "json"])?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    let exported = site.velero_trust(&["keys", "export", "--output", "yaml"])?;
    ensure_passed("the export", &exported)?;
    Ok(Kept {
        fingerprint: shown["fingerprint"]
            .as_str()
            .context("no fingerprint")?
            .to_owned(),
        manifest: exported.stdout,
    })
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
