//! A backup is recorded: read once, signed, annotated, and verified by others.

use super::{at, back_up, ensure_passed, get, install, judged, seen, verified, wait_for_phase};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::merge;
use k8s_openapi::jiff::Timestamp;
use object_store::aws::AwsCredential;
use serde_json::{Value, json};
use std::fs;
use velero_trust::bucket::{BucketSettings, Credentials, Reach, Store, Timing, Trust};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation};
use velero_trust_testing::minio::{ACCESS_KEY, REGION, SECRET_KEY};
use velero_trust_testing::scratch;
use velero_trust_testing::velero::{Velero, Version};
use velero_trust_testing::wait;

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let mut installation = install(&cluster)?;
    let result = recorded(&cluster, &mut installation);
    result.with_context(|| format!("our log:\n{}", installation.webhook.log()))
}

fn recorded(cluster: &Cluster, installation: &mut Installation) -> Result<()> {
    let velero = start_velero(cluster)?;
    // It was there before anything recorded it.
    back_up(cluster, "early")?;
    let log = installation.webhook.log();
    ensure!(
        log.contains("kubectl apply -k manifests/crds"),
        "not said: {log}"
    );
    seen::without_the_ledger(cluster)?;
    install_ledger(cluster)?;
    let early = wait_for_annotation(cluster, "early").with_context(|| velero.tail())?;
    ensure!(
        at(&early.record, "/status/level") == "late",
        "{}",
        early.record
    );

    back_up(cluster, "first")?;
    let first = wait_for_annotation(cluster, "first")?;
    ensure!(
        at(&first.record, "/status/level") == "observed",
        "{}",
        first.record
    );
    ensure!(
        at(&first.record, "/status/envelopeInBucket") == true,
        "{}",
        first.record
    );
    verify_without_the_cluster(cluster, &first)?;
    seen::recorded(cluster)?;
    judged::story(cluster, "first")?;
    what_is_forged_while_we_are_down_is_not_signed(cluster, installation)?;
    a_record_outlives_its_backup(cluster, installation, &first)?;
    verified::story(cluster, "first")
}

/// The tarball of a complete backup is swapped before we see that it is complete.
fn what_is_forged_while_we_are_down_is_not_signed(
    cluster: &Cluster,
    installation: &mut Installation,
) -> Result<()> {
    installation.kill()?;
    back_up(cluster, "forged")?;
    // The files of a backup may be written until shortly after its completion.
    let completed = get(cluster, "backup", "forged")?;
    let completed = at(&completed, "/status/completionTimestamp")
        .as_str()
        .context("no time")?;
    let completed: Timestamp = completed.parse()?;
    wait::poll(
        "the time in which Velero may write to be over",
        wait::PATIENCE,
        || {
            let now = Timestamp::now();
            ensure!(now.as_second() > completed.as_second() + 8, "{now}");
            Ok(())
        },
    )?;
    let store = cluster.block_on(open(cluster))?;
    let bytes = b"not what Velero wrote".to_vec();
    cluster.block_on(store.put("forged", "forged.tar.gz", bytes))?;
    installation.start_again(&[])?;
    wait::poll("the forged backup to be refused", super::PATIENCE, || {
        let record = record_of(cluster, "forged")?;
        ensure!(
            at(&record, "/status/state") == "Unobserved",
            "{}",
            record["status"]
        );
        ensure!(
            at(&record, "/status/reason") == "WrittenLater",
            "{}",
            record["status"]
        );
        ensure!(
            at(&record, "/status/envelope").is_null(),
            "{}",
            record["status"]
        );
        Ok(())
    })?;
    let backup = get(cluster, "backup", "forged")?;
    let annotation = at(&backup, "/metadata/annotations/velero-trust.io~1checksum");
    ensure!(annotation.is_null(), "{annotation}");
    let listing = cluster.block_on(store.list("forged"))?;
    let is_ours = |name: &str| name.starts_with("velero-trust.");
    ensure!(
        !listing.artifacts.iter().any(|file| is_ours(&file.name)),
        "{listing:?}"
    );
    Ok(())
}

/// A Backup that Velero syncs from the bucket again is annotated again without reading. One that is
/// deleted leaves its record, and no file keeps it alive.
fn a_record_outlives_its_backup(
    cluster: &Cluster,
    installation: &Installation,
    first: &Annotated,
) -> Result<()> {
    let read = bytes_read(installation)?;
    let delete = ["backup", "delete", "early", "--confirm"];
    ensure_passed("the deletion", &super::velero(cluster, &delete)?)?;
    cluster
        .kubectl()
        .ok(&["delete", "backup", "first", "-n", VELERO_NAMESPACE])?;
    let uid = at(&first.backup, "/metadata/uid");
    wait::poll("the synced backup to be annotated", super::PATIENCE, || {
        let backup = get(cluster, "backup", "first")?;
        ensure!(at(&backup, "/metadata/uid") != uid, "not synced yet");
        for annotation in ["checksum", "manifest", "verified-at"] {
            let pointer = format!("/metadata/annotations/velero-trust.io~1{annotation}");
            let (now, before) = (at(&backup, &pointer), at(&first.backup, &pointer));
            ensure!(
                now == before && now.is_string(),
                "{annotation}: {now}, not {before}"
            );
        }
        Ok(())
    })?;
    // Only velero-backup.json was read, to learn which backup it is.
    let again = bytes_read(installation)?;
    ensure!(
        read == again,
        "{read} bytes were read before, {again} after"
    );
    wait::poll("the deletion to be recorded", super::PATIENCE, || {
        let records = cluster.kubectl().get(&["backuprecords"])?;
        let records = at(&records, "/items").as_array().context("no list")?;
        let early = records
            .iter()
            .find(|record| at(record, "/spec/backup") == "early");
        let gone = at(early.context("its record is gone")?, "/status/gone/how");
        ensure!(gone == "Deleted", "{gone}");
        Ok(())
    })?;
    let store = cluster.block_on(open(cluster))?;
    let left = cluster.block_on(store.list("early"))?;
    ensure!(left.artifacts.is_empty(), "{left:?}");
    Ok(())
}

/// Returns the metric of the bytes that were read of backups.
pub(super) fn bytes_read(installation: &Installation) -> Result<String> {
    let metrics = installation.webhook.metrics()?;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("velero_trust_backup_bytes_read_total"));
    Ok(line.context("no such metric")?.to_owned())
}

pub(crate) async fn open(cluster: &Cluster) -> Result<Store> {
    open_below(cluster, "").await
}

/// The same for the backups below a folder of the bucket.
pub(super) async fn open_below(cluster: &Cluster, prefix: &str) -> Result<Store> {
    open_bucket(cluster, BUCKET, prefix).await
}

/// The same for another bucket.
pub(crate) async fn open_bucket(cluster: &Cluster, bucket: &str, prefix: &str) -> Result<Store> {
    let minio = cluster.minio()?;
    let settings = BucketSettings::of_bucket(VELERO_NAMESPACE, bucket, prefix)?;
    let settings = settings.at(Some(&minio.url), Some(REGION), true)?;
    let keys = AwsCredential {
        key_id: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        token: None,
    };
    let reach = Reach {
        trust: Trust::bundle(VELERO_NAMESPACE, &minio.authority.pem()),
        denied: DeniedAddresses::nothing(),
        proxies: Proxies::default(),
        timing: Timing::default(),
    };
    Ok(Store::open(settings, Credentials::fixed(keys)?, reach).await?)
}

pub(crate) fn record_of(cluster: &Cluster, name: &str) -> Result<Value> {
    let backup = get(cluster, "backup", name)?;
    let uid = at(&backup, "/metadata/uid").as_str().context("no uid")?;
    cluster
        .kubectl()
        .get(&["backuprecord", &format!("{name}.{uid}")])
}

/// The Backup and its record.
pub(crate) struct Annotated {
    pub(crate) backup: Value,
    pub(crate) record: Value,
}

pub(super) fn start_velero(cluster: &Cluster) -> Result<Velero> {
    let minio = cluster.minio()?;
    let (mut location, secret) = minio.location_with_ca(VELERO_NAMESPACE, "default", BUCKET);
    merge(
        &mut location,
        &json!({"spec": {"default": true, "validationFrequency": "1s"}}),
    );
    if cluster.version() == Version::Oldest {
        // It does not know the reference to the Secret.
        let ca = STANDARD.encode(minio.authority.pem());
        let inline = json!({"bucket": BUCKET, "caCertRef": null, "caCert": ca});
        merge(&mut location, &json!({"spec": {"objectStorage": inline}}));
    }
    cluster.kubectl().apply(&secret.to_string())?;
    cluster.kubectl().apply(&location.to_string())?;
    let velero = cluster.start_velero(VELERO_NAMESPACE, &[])?;
    wait_for_phase(cluster, "bsl", "default", "Available").with_context(|| velero.tail())?;
    Ok(velero)
}

/// Runs the command that the log names.
pub(crate) fn install_ledger(cluster: &Cluster) -> Result<()> {
    let ledger = installer::manifests().join("crds");
    let ledger = ledger.to_str().context("a path that is no text")?;
    cluster.kubectl().ok(&["apply", "-k", ledger]).map(drop)
}

pub(crate) fn wait_for_annotation(cluster: &Cluster, name: &str) -> Result<Annotated> {
    wait::poll(
        &format!("backup {name} to be recorded"),
        super::PATIENCE,
        || {
            let backup = get(cluster, "backup", name)?;
            let uid = at(&backup, "/metadata/uid").as_str().context("no uid")?;
            let record = cluster
                .kubectl()
                .get(&["backuprecord", &format!("{name}.{uid}")])?;
            ensure!(
                at(&record, "/status/state") == "Recorded",
                "{}",
                record["status"]
            );
            let annotation = at(&backup, "/metadata/annotations/velero-trust.io~1checksum");
            ensure!(
                annotation.is_string(),
                "{}",
                backup["metadata"]["annotations"]
            );
            ensure!(
                annotation == at(&record, "/status/checksum"),
                "{annotation} {record}"
            );
            Ok(Annotated { backup, record })
        },
    )
}

/// Waits until the record of a backup is closed, because the key that signed it is revoked.
pub(super) fn wait_until_closed(cluster: &Cluster, name: &str) -> Result<()> {
    let what = format!("the record of {name} to close");
    wait::poll(&what, super::PATIENCE, || {
        let record = record_of(cluster, name)?;
        ensure!(
            at(&record, "/status/reason") == "KeyRevoked",
            "{}",
            record["status"]
        );
        Ok(())
    })
}

/// `sha256sum` and `velero-trust verify` agree with the annotation, with the public key alone.
fn verify_without_the_cluster(cluster: &Cluster, first: &Annotated) -> Result<()> {
    let folder = scratch::folder("verify")?;
    let tarball = folder.path().join("first.tar.gz");
    let tarball = tarball.to_str().context("a path that is no text")?;
    let download = [
        "backup",
        "download",
        "first",
        "-o",
        tarball,
        "--insecure-skip-tls-verify",
    ];
    ensure_passed("the download", &super::velero(cluster, &download)?)?;
    let sums = Cli::new("/usr/bin/sha256sum".into(), None)?.ok(&[tarball])?;
    let sum = sums.split_whitespace().next().unwrap_or_default();
    let annotation = at(
        &first.backup,
        "/metadata/annotations/velero-trust.io~1checksum",
    );
    ensure!(*annotation == format!("sha256:{sum}"), "{annotation} {sum}");

    is_verified(cluster, "first").map(drop)
}

/// Returns what `velero-trust verify` says of a backup in the bucket, which it finds good with the only
/// key.
pub(super) fn is_verified(cluster: &Cluster, backup: &str) -> Result<String> {
    let verified = verify_with_key(cluster, backup, &only_key(cluster)?)?;
    ensure_passed("verify", &verified)?;
    ensure!(
        verified.stdout.contains("are those that were signed"),
        "{verified:?}"
    );
    Ok(verified.stdout)
}

/// Returns the public key of the cluster.
pub(super) fn only_key(cluster: &Cluster) -> Result<String> {
    let keys = cluster.kubectl().get(&["trustedkeys"])?;
    let pem = at(&keys, "/items/0/spec/publicKey").as_str();
    pem.map(str::to_owned).context("no key")
}

/// Runs `velero-trust verify` on a backup in the bucket.
pub(crate) fn verify_with_key(cluster: &Cluster, backup: &str, pem: &str) -> Result<Output> {
    let folder = scratch::folder("key")?;
    let key = folder.path().join("key.pub");
    fs::write(&key, pem)?;
    let url = format!("s3://{BUCKET}/backups/{backup}");
    verify(cluster, &[&url, "--key", key.to_str().context("no text")?])
}

pub(super) fn verify(cluster: &Cluster, arguments: &[&str]) -> Result<Output> {
    let minio = cluster.minio()?;
    let folder = scratch::folder("verify-ca")?;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, minio.authority.pem())?;
    let ca = ca.to_str().context("a path that is no text")?;
    let environment = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL", &minio.url),
        ("AWS_CA_BUNDLE", ca),
    ];
    let command = Cli::new(binary().to_owned(), None)?.with_environment(&environment);
    command.run(&[&["verify"], arguments].concat())
}
