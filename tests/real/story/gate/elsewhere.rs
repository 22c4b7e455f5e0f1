//! A backup that was recorded in another cluster.

use super::Bed;
use crate::story::recorded::record_of;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, get};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::installer::NAMESPACE;
use velero_trust_testing::wait;

/// Whoever knows what is signed restores it. Nothing but the bucket is left of the cluster where `backup`
/// was made.
pub(super) fn story(bed: &mut Bed, backup: &str) -> Result<()> {
    let made = get(&bed.cluster, "backup", backup)?;
    let manifest = at(&made, "/metadata/annotations/velero-trust.io~1manifest").clone();
    ensure!(manifest.is_string(), "{made}");
    let keys = trusted_keys(bed)?;
    ensure!(!keys.is_empty(), "nothing is signed");
    leave(bed)?;
    wait::poll("the synced backup to be judged", PATIENCE, || {
        let record = record_of(&bed.cluster, backup)?;
        let reason = at(&record, "/status/reason");
        ensure!(*reason == "KeyUnknown", "{}", record["status"]);
        Ok(())
    })?;

    let refused = bed.create("unknown", backup, &Value::Null)?;
    let words = ["[VT101]", "it was not made in this cluster"];
    ensure_refused("nothing expected", &refused, &words)?;
    let expected = |digest: &Value| json!({"velero-trust.io/backup-checksum": digest});
    let other = json!(format!("sha256:{}", "0".repeat(64)));
    let created = bed.create("another", backup, &expected(&other))?;
    ensure_passed("another digest", &created)?;
    bed.is_stopped(
        "another",
        &["[VT104]", "the tarball of Backup velero/good has sha256:"],
    )?;

    let created = bed.create("expected", backup, &expected(&manifest))?;
    ensure_passed("what was signed", &created)?;
    let warns = created.stderr.contains("[VT108]");
    ensure!(warns, "it does not warn: {created:?}");
    bed.has_restored("expected", "nobody")?;
    let known = trusted_keys(bed)?;
    let is_left = keys.iter().any(|key| known.contains(key));
    ensure!(!is_left, "the key is known in this cluster: {known:?}");
    Ok(())
}

fn trusted_keys(bed: &Bed) -> Result<Vec<Value>> {
    let keys = bed.cluster.kubectl().get(&["trustedkeys"])?;
    let keys = at(&keys, "/items").as_array().context("no list")?;
    let keys = keys.iter().map(|key| at(key, "/spec/publicKey").clone());
    Ok(keys.collect())
}

/// Takes away what this cluster knows: Backups, records, and the key. Then both are started anew.
fn leave(bed: &mut Bed) -> Result<()> {
    bed.installation.kill()?;
    bed.velero.signal("KILL")?;
    let kubectl = bed.cluster.kubectl();
    kubectl.ok(&["delete", "backups", "--all", "-n", VELERO_NAMESPACE])?;
    kubectl.ok(&["delete", "backuprecords,trustedkeys", "--all"])?;
    kubectl.ok(&[
        "delete",
        "secret",
        "velero-trust-signing-key",
        "-n",
        NAMESPACE,
    ])?;
    bed.installation.start_again(&[])?;
    bed.sync()
}
