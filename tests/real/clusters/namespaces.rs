//! Two Veleros in one cluster, each in a namespace of its own, with one bucket.

use super::site::Site;
use crate::story::recorded::open;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, velero_trust};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::sync::Arc;
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer;
use velero_trust_testing::minio::Minio;
use velero_trust_testing::wait;

/// The namespace of the second Velero.
const SECOND: &str = "velero-second";

pub(super) fn story() -> Result<()> {
    let minio = Arc::new(Minio::start(&[BUCKET])?);
    let mut site = Site::prepare(&minio, BUCKET)?;
    let cluster = &site.cluster;
    cluster.install_velero(SECOND, &[])?;
    installer::bind(cluster.kubectl(), SECOND)?;
    site.locate(SECOND, BUCKET)?;
    let server = cluster.start_velero(SECOND, &[])?;
    back_up(cluster, SECOND, "second").with_context(|| server.tail())?;
    // As it starts, it looks into the bucket.
    site.start_velero()?;
    back_up(&site.cluster, VELERO_NAMESPACE, "first").with_context(|| site.logs().concat())?;
    each_has_its_own(&site)
        .with_context(|| server.tail())
        .with_context(|| site.logs().concat())
}

/// Each backup is recorded where it was made. In the other namespace it is that of somebody else.
fn each_has_its_own(site: &Site) -> Result<()> {
    let cluster = &site.cluster;
    for (own, other, name) in [
        (VELERO_NAMESPACE, SECOND, "first"),
        (SECOND, VELERO_NAMESPACE, "second"),
    ] {
        let recorded = wait_for_state(cluster, own, name, "Recorded")?;
        let level = at(&recorded, "/status/level");
        ensure!(level == "observed" || level == "late", "{recorded}");
        let synced = wait_for_state(cluster, other, name, "Unobserved")?;
        let reason = at(&synced, "/status/reason");
        ensure!(*reason == "OtherNamespace", "{synced}");
        ensure!(at(&synced, "/status/envelope").is_null(), "{synced}");

        let refused = restore(cluster, other, name)?;
        let says = format!("in namespace {own}, and a backup has one record");
        let words = ["[VT101]", &says];
        ensure_refused("a Restore in the other namespace", &refused, &words)?;
        // A backup has one record, whoever vouches for it.
        let adopt = ["backup", "adopt", name, "--velero-namespace", other];
        let adopted = velero_trust(cluster, &[&adopt[..], &["--wait=90"]].concat())?;
        ensure_refused("the adoption", &adopted, &[&says])?;

        site.lose(name)?;
        ensure_passed("its own", &restore(cluster, own, name)?)?;
        let restored = wait::poll("the Restore to be done", PATIENCE, || {
            let restore = cluster.kubectl().get(&["restore", name, "-n", own])?;
            let phase = at(&restore, "/status/phase");
            ensure!(*phase == "Completed", "{}", restore["status"]);
            Ok(restore)
        })?;
        let verdict = at(&restored, "/metadata/annotations/velero-trust.io~1verdict");
        ensure!(verdict.is_string(), "{restored}");
        let prices = ["configmap", "prices", "-n", name];
        cluster.kubectl().get(&prices)?;
    }
    let files = cluster.block_on(async {
        let store = open(cluster).await?;
        anyhow::Ok([store.list("first").await?, store.list("second").await?])
    })?;
    for listing in files {
        let envelopes = listing.artifacts.iter();
        let envelopes = envelopes.filter(|file| file.name.ends_with(".dsse.json"));
        ensure!(envelopes.count() == 1, "{listing:?}");
    }
    Ok(())
}

/// Makes a namespace, and a backup of its name by the Velero of another one.
fn back_up(cluster: &Cluster, velero: &str, name: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", name])?;
    let prices = ["create", "configmap", "prices", "--from-literal=apple=3"];
    kubectl.ok(&[&["-n", name], &prices[..]].concat())?;
    let create = ["-n", velero, "backup", "create", name];
    let create = [&create[..], &["--include-namespaces", name, "--wait"]].concat();
    ensure_passed(name, &cluster.velero_cli()?.run(&create)?)
}

fn restore(cluster: &Cluster, velero: &str, backup: &str) -> Result<Output> {
    let restore = ["-n", velero, "restore", "create", backup];
    let restore = [&restore[..], &["--from-backup", backup]].concat();
    cluster.velero_cli()?.run(&restore)
}

/// Waits for the record of the Backup that is in this namespace.
fn wait_for_state(cluster: &Cluster, velero: &str, name: &str, state: &str) -> Result<Value> {
    wait::poll(&format!("backup {velero}/{name}"), PATIENCE, || {
        let backup = cluster.kubectl().get(&["backup", name, "-n", velero])?;
        let uid = at(&backup, "/metadata/uid").as_str().context("no uid")?;
        let record = format!("{name}.{uid}");
        let record = cluster.kubectl().get(&["backuprecord", &record])?;
        let seen = at(&record, "/status/state");
        ensure!(*seen == state, "{}", record["status"]);
        Ok(record)
    })
}
