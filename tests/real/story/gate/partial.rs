//! A bucket that Velero may read, and velero-trust may not.

use super::{Bed, get};
use crate::bucket::limited_to;
use crate::story::recorded::{open, record_of};
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, velero_trust};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use velero_trust::digest::Sha256;
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::wait;

const TARBALL: &str = "apart.tar.gz";

pub(super) fn story(bed: &mut Bed) -> Result<()> {
    let store = bed.cluster.block_on(open(&bed.cluster))?;
    // The recorder works.
    bed.back_up("before")?;
    take_rights(bed)?;
    bed.open()?;
    bed.make("apart", &[])?;
    let record = wait::poll("the record of the tarball", PATIENCE, || {
        let record = record_of(&bed.cluster, "apart")?;
        let status = &record["status"];
        ensure!(status["state"] == "TarballOnly", "{status}");
        Ok(record)
    })?;
    bed.close()?;
    let tarball = store.read_small("apart", TARBALL, 1 << 20);
    let tarball = bed.cluster.block_on(tarball)?.context("no tarball")?;
    is_recorded(bed, &record["status"], &tarball)?;

    let refused = bed.create("refused", "apart", &Value::Null)?;
    let words = [
        "[VT128]",
        "velero-trust may not read its bucket",
        "--accept-partial",
    ];
    ensure_refused("the Restore", &refused, &words)?;
    bed.installation.kill()?;
    bed.installation.start_again(&["--accept-partial"])?;
    let warned = bed.create("warned", "apart", &Value::Null)?;
    ensure_passed("the Restore", &warned)?;
    ensure!(warned.stderr.contains("[VT128]"), "{warned:?}");
    bed.has_restored("warned", "nobody")?;
    are_gone(bed)?;

    let mut changed = tarball;
    *changed.last_mut().context("an empty tarball")? ^= 1;
    bed.cluster.block_on(store.put("apart", TARBALL, changed))?;
    ensure_passed(
        "the Restore",
        &bed.create("changed", "apart", &Value::Null)?,
    )?;
    bed.is_stopped("changed", &["[VT115]", "not the one that was recorded"])?;
    are_gone(bed)
}

/// Replaces the credentials that velero-trust reads. The server of Velero has its own copy.
fn take_rights(bed: &Bed) -> Result<()> {
    let nothing = json!([{
        "Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": ["arn:aws:s3:::*"],
    }]);
    let keys = limited_to(bed.cluster.minio()?, &nothing)?;
    let patch = json!({"data": {"cloud": ByteString(keys)}}).to_string();
    let secret = ["secret", "cloud-credentials", "-n", VELERO_NAMESPACE];
    let patch = ["--type=merge", "-p", &*patch];
    let patch = [&["patch"], &secret[..], &patch].concat();
    bed.cluster.kubectl().ok(&patch).map(drop)
}

fn is_recorded(bed: &Bed, status: &Value, tarball: &[u8]) -> Result<()> {
    let checksum = format!("sha256:{}", Sha256::of(tarball));
    ensure!(status["checksum"] == checksum, "{checksum} {status}");
    ensure!(status["reason"] == "AccessDenied", "{status}");
    ensure!(status["envelope"].is_null(), "{status}");
    wait::poll("the annotation", PATIENCE, || {
        let backup = get(&bed.cluster, "backup", "apart")?;
        let annotation = at(&backup, "/metadata/annotations/velero-trust.io~1checksum");
        ensure!(*annotation == checksum, "{annotation}");
        Ok(())
    })?;
    are_gone(bed)?;
    let told = velero_trust(&bed.cluster, &["status"])?;
    let says = "1: tarball only (AccessDenied)";
    ensure!(told.stdout.contains(says), "{told:?}");
    // What was signed before stays.
    let before = record_of(&bed.cluster, "before")?;
    ensure!(before["status"]["state"] == "Recorded", "{before}");
    let log = bed.installation.webhook.log();
    ensure!(!log.contains("X-Amz-"), "{log}");
    Ok(())
}

/// Fails if a DownloadRequest is left.
fn are_gone(bed: &Bed) -> Result<()> {
    let kubectl = bed.cluster.kubectl();
    let left = kubectl.get(&["downloadrequests", "-n", VELERO_NAMESPACE])?;
    ensure!(left["items"] == json!([]), "{left}");
    Ok(())
}
