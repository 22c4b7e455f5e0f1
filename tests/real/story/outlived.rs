//! What the ledger is for: the records, and the keys that verify them, outlive velero-trust's namespace,
//! and what Velero does with recorded backups while nobody answers.

use super::recorded::{
    Annotated, bytes_read, install_ledger, open, start_velero, verify_with_key, wait_for_annotation,
};
use super::{PATIENCE, at, back_up, ensure_passed, get, velero, wait_for_phase};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

/// The first namespace of the installation. It is not the one in the manifests.
const ELSEWHERE: &str = "guard";

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let mut installation = Installer::new(&cluster, binary(), ELSEWHERE)?.install()?;
    install_ledger(&cluster)?;
    let (kept, velero) = outlived(&cluster, &mut installation)
        .with_context(|| format!("our log:\n{}", installation.webhook.log()))?;

    cluster
        .kubectl()
        .ok(&["delete", "namespace", ELSEWHERE, "--timeout=60s"])?;
    let installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?.install()?;
    installed_again(&cluster, &installation, &kept)
        .with_context(|| velero.tail())
        .with_context(|| format!("our log:\n{}", installation.webhook.log()))
}

/// Records three backups, then leaves Velero alone with them. Returns the one that is left, and Velero.
fn outlived(cluster: &Cluster, installation: &mut Installation) -> Result<(Annotated, Velero)> {
    let server = start_velero(cluster)?;
    for name in ["kept", "doomed"] {
        back_up(cluster, name).with_context(|| server.tail())?;
    }
    let expires = ["backup", "create", "expired", "--ttl=1s"];
    ensure_passed("the backup that expires", &velero(cluster, &expires)?)?;
    let kept = wait_for_annotation(cluster, "kept")?;
    for name in ["doomed", "expired"] {
        wait_for_annotation(cluster, name)?;
    }

    installation.kill()?;
    let delete = ["backup", "delete", "doomed", "--confirm"];
    ensure_passed("the deletion", &velero(cluster, &delete)?)?;
    is_gone(cluster, "doomed").with_context(|| server.tail())?;
    drop(server);
    cluster
        .kubectl()
        .ok(&["delete", "backup", "kept", "-n", VELERO_NAMESPACE])?;
    // As soon as it starts, Velero syncs from the bucket, and deletes what has expired.
    let server = cluster.start_velero(VELERO_NAMESPACE, &[])?;
    is_gone(cluster, "expired").with_context(|| server.tail())?;
    let synced = wait_for_phase(cluster, "backup", "kept", "Completed");
    let synced = synced.with_context(|| server.tail())?;
    ensure!(
        at(&synced, "/metadata/uid") != at(&kept.backup, "/metadata/uid"),
        "it was never deleted"
    );
    Ok((kept, server))
}

/// Waits until a Backup and all its files are deleted: none of ours keeps it alive.
fn is_gone(cluster: &Cluster, name: &str) -> Result<()> {
    let store = cluster.block_on(open(cluster))?;
    wait::poll(&format!("backup {name} to be deleted"), PATIENCE, || {
        let get = ["get", "backup", name, "-n", VELERO_NAMESPACE];
        let get = [&get[..], &["--ignore-not-found", "-o", "name"]].concat();
        let left = cluster.kubectl().ok(&get)?;
        ensure!(left.is_empty(), "left: {left}");
        let left = cluster.block_on(store.list(name))?;
        ensure!(left.artifacts.is_empty(), "{left:?}");
        Ok(())
    })
}

/// A new installation finds the records of the old one, whose signatures stay good. It signs with a key
/// of its own.
fn installed_again(cluster: &Cluster, installation: &Installation, kept: &Annotated) -> Result<()> {
    wait::poll("the synced backup to be annotated", PATIENCE, || {
        let backup = get(cluster, "backup", "kept")?;
        for annotation in ["checksum", "manifest", "verified-at"] {
            let pointer = format!("/metadata/annotations/velero-trust.io~1{annotation}");
            let (now, before) = (at(&backup, &pointer), at(&kept.backup, &pointer));
            ensure!(
                now == before && now.is_string(),
                "{annotation}: {now}, not {before}"
            );
        }
        Ok(())
    })?;
    let read = bytes_read(installation)?;
    ensure!(read.ends_with(" 0"), "its files were read again: {read}");
    wait::poll("the deletions to be recorded", PATIENCE, || {
        let records = cluster.kubectl().get(&["backuprecords"])?;
        let records = at(&records, "/items").as_array().context("no list")?;
        let gone: BTreeMap<_, _> = records
            .iter()
            .map(|record| {
                let name = at(record, "/spec/backup").as_str().unwrap_or_default();
                (name, at(record, "/status/gone/how").as_str())
            })
            .collect();
        let (unseen, expired) = (Some("Unseen"), Some("Expired"));
        let expected = [("doomed", unseen), ("expired", expired), ("kept", None)];
        ensure!(gone == BTreeMap::from(expected), "{gone:?}");
        Ok(())
    })?;

    back_up(cluster, "after")?;
    wait_for_annotation(cluster, "after")?;
    let [old, new] = keys(cluster)?;
    let good = "are those that were signed";
    for (backup, key, code, words) in [
        ("kept", &old, 0, good),
        ("after", &new, 0, good),
        ("kept", &new, 3, "it is signed by another key"),
    ] {
        let verified = verify_with_key(cluster, backup, key)?;
        let told = format!("{}{}", verified.stdout, verified.stderr);
        ensure!(
            verified.code == Some(code) && told.contains(words),
            "{backup}: {verified:?}"
        );
    }
    Ok(())
}

/// Returns the public keys of the cluster, the oldest first.
fn keys(cluster: &Cluster) -> Result<[String; 2]> {
    let keys = ["trustedkeys", "--sort-by=.metadata.creationTimestamp"];
    let keys = cluster.kubectl().get(&keys)?;
    let keys = at(&keys, "/items").as_array().context("no list")?;
    let pem = |key: &Value| at(key, "/spec/publicKey").as_str().map(str::to_owned);
    let keys: Vec<_> = keys.iter().filter_map(pem).collect();
    let found = keys.len();
    let keys = <[String; 2]>::try_from(keys).ok();
    keys.with_context(|| format!("{found} keys"))
}
