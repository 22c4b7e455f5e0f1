//! A backup of another cluster, whose key nobody knows here.

use super::Two;
use crate::story::adopted::Jane;
use crate::story::{at, ensure_passed, ensure_refused, get};
use anyhow::{Result, ensure};
use serde_json::json;
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::wait;

/// The digest of what is signed is known of it.
pub(super) const BY_DIGEST: &str = "by-digest";

/// Somebody accepts it.
pub(super) const BY_ACCEPTANCE: &str = "by-acceptance";

pub(super) fn story(two: &Two) -> Result<()> {
    let words = [
        "[VT101]",
        "it was not made in this cluster",
        "velero-trust backup adopt by-digest",
    ];
    two.second.refuses(BY_DIGEST, &words)?;
    by_digest(two)?;
    by_acceptance(two)
}

/// What the first cluster signed is what is restored in the second one.
fn by_digest(two: &Two) -> Result<()> {
    let site = &two.second;
    let says = |digest: &str| format!("velero-trust.io/backup-checksum={digest}");
    let other = format!("sha256:{}", "0".repeat(64));
    let created = site.restore("another", BY_DIGEST, Some(&says(&other)))?;
    ensure_passed("another digest", &created)?;
    let words = ["[VT104]", "this Restore expects sha256:0000"];
    site.has_stopped("another", BY_DIGEST, &words)?;

    let manifest = two.first.annotation(BY_DIGEST, "manifest")?;
    let created = site.restore("expected", BY_DIGEST, Some(&says(&manifest)))?;
    ensure_passed("the digest of what is signed", &created)?;
    let verdict = site.has_restored("expected", BY_DIGEST)?;
    ensure!(verdict["level"] == "nobody", "{verdict}");
    Ok(())
}

/// Whoever has the right restores it with a reason, and nobody else.
fn by_acceptance(two: &Two) -> Result<()> {
    let site = &two.second;
    let jane = Jane::new(&site.cluster)?;
    let kubectl = site.cluster.kubectl();
    let create = ["create", "clusterrole", "may-restore"];
    let rule = ["--verb=get,list,create", "--resource=restores.velero.io"];
    kubectl.ok(&[&create[..], &rule].concat())?;
    let grant = |role: &str| {
        let bind = ["-n", VELERO_NAMESPACE, "create", "rolebinding", role];
        let to = [&format!("--clusterrole={role}"), "--user=jane"];
        kubectl.ok(&[&bind[..], &to].concat())
    };
    grant("may-restore")?;
    let restore = json!({
        "apiVersion": "velero.io/v1", "kind": "Restore",
        "metadata": {
            "name": "accepted", "namespace": VELERO_NAMESPACE,
            "annotations": {"velero-trust.io/accept-insecure": "the other cluster is gone"},
        },
        "spec": {"backupName": BY_ACCEPTANCE},
    });
    let refused = jane.kubectl.create(&restore.to_string())?;
    let words = ["[VT121]", "had not the verb restore-unverified"];
    ensure_refused("who may not accept it", &refused, &words)?;

    grant("velero-trust-restore-unverified")?;
    wait::poll("the right to be known", wait::PATIENCE, || {
        let created = jane.kubectl.create(&restore.to_string())?;
        ensure_passed("who may accept it", &created)
    })?;
    let verdict = site.has_restored("accepted", BY_ACCEPTANCE)?;
    ensure!(verdict["accepted"] == json!(["VT101"]), "{verdict}");
    let restore = get(&site.cluster, "restore", "accepted")?;
    let by = "/metadata/annotations/velero-trust.io~1accepted-by";
    ensure!(*at(&restore, by) == "jane", "{restore}");
    Ok(())
}
