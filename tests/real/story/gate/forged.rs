//! What becomes of a bucket in the hands of somebody who may write to it.

use super::{Bed, SHOP, restore_of};
use crate::story::recorded::record_of;
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, get, velero, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use velero_trust::bucket::{Artifact, Store};
use velero_trust_testing::cluster::{BUCKET, VELERO_NAMESPACE};
use velero_trust_testing::minio::{ACCESS_KEY, REGION, SECRET_KEY};
use velero_trust_testing::{https, wait};

/// The files of a backup by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Returns all files of a backup.
pub(super) fn files(bed: &Bed, store: &Store, backup: &str) -> Result<Files> {
    bed.cluster.block_on(async {
        let mut files = Files::new();
        for artifact in store.list(backup).await?.artifacts {
            let reading = store.read(backup, &artifact).await?;
            files.insert(artifact.name.clone(), reading.bytes(artifact.size).await?);
        }
        Ok(files)
    })
}

/// Makes these the files of a backup, and nothing else.
fn replace(bed: &Bed, store: &Store, backup: &str, files: &Files) -> Result<()> {
    bed.cluster.block_on(async {
        for artifact in store.list(backup).await?.artifacts {
            store.delete(backup, &artifact.name).await?;
        }
        for (name, bytes) in files {
            store.put(backup, name, bytes.clone()).await?;
        }
        Ok(())
    })
}

/// The tarball is replaced so that nothing in the list of the bucket tells. An earlier Restore of the same
/// list began.
pub(super) fn unchanged_list(bed: &Bed, store: &Store) -> Result<()> {
    let (name, file) = ("good", "good.tar.gz");
    let before = bed.cluster.block_on(store.list(name))?;
    let original = files(bed, store, name)?;
    let original = original.get(file).context("no tarball")?;
    let tarball = before.get(file).context("no tarball")?;
    replicate(bed, name, tarball)?;
    let after = bed.cluster.block_on(store.list(name))?;
    ensure!(
        after.artifacts == before.artifacts,
        "the list tells of it: {after:?}"
    );
    ensure_passed("unchanged", &bed.create("unchanged", name, &Value::Null)?)?;
    let words = ["[VT115]", file, "expected sha256:", "found sha256:"];
    bed.is_stopped("unchanged", &words)?;
    let put = store.put(name, file, original.clone());
    bed.cluster.block_on(put).context("the original")
}

/// Puts other bytes of the same size with the ETag and the time of `artifact`, as the replication of MinIO
/// does. That needs no right but `s3:PutObject`.
fn replicate(bed: &Bed, backup: &str, artifact: &Artifact) -> Result<()> {
    let minio = bed.cluster.minio()?;
    let url = format!("{}/{BUCKET}/backups/{backup}/{}", minio.url, artifact.name);
    let body = "x".repeat(usize::try_from(artifact.size)?);
    let request = http::Request::put(&url)
        .header("x-minio-source-etag", artifact.etag.trim_matches('"'))
        .header("x-minio-source-mtime", artifact.last_modified.to_string());
    let mut request = request.body(HttpRequestBody::from(body.clone()))?;
    let credential = AwsCredential {
        key_id: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        token: None,
    };
    let authorizer = AwsAuthorizer::new(&credential, "s3", REGION);
    authorizer.try_authorize(&mut request, None)?;
    // The client sends this one itself.
    request.headers_mut().remove(http::header::HOST);
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
    let headers = headers.collect::<Result<Vec<_>>>()?;
    let put = https::send("PUT", &url, &minio.authority.pem(), &headers, &body)?;
    ensure!(put.status == 200, "{put:?}");
    Ok(())
}

/// The tarball is swapped after Velero began: nobody can prevent that, and it is told.
pub(super) fn swapped_behind(bed: &Bed, store: &Store) -> Result<()> {
    let kubectl = bed.cluster.kubectl();
    // Velero waits for a namespace that is being deleted.
    bed.open()?;
    let finalizers = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        let prices = ["patch", "configmap", "prices", "-n", SHOP, "--type=merge"];
        kubectl.ok(&[&prices[..], &["-p", &patch]].concat())
    };
    finalizers(json!(["example.com/holds-the-restore"]))?;
    kubectl.ok(&["delete", "namespace", SHOP, "--wait=false"])?;
    ensure_passed("behind", &bed.create("behind", "good", &Value::Null)?)?;
    wait_for_phase(&bed.cluster, "restore", "behind", "InProgress")?;
    let told = || bed.installation.webhook.metrics();
    let tainted = "velero_trust_restores_tainted_total";
    ensure!(
        told()?.contains(&format!("{tainted} 0\n")),
        "it is told already"
    );
    let forged = store.put("good", "good.tar.gz", b"forged".to_vec());
    bed.cluster.block_on(forged)?;
    finalizers(Value::Null)?;
    let restore = wait::poll("the Restore to end", PATIENCE, || {
        let restore = restore_of(&bed.cluster, "behind")?;
        ensure!(
            *at(&restore, "/status/phase") != "InProgress",
            "it does not"
        );
        Ok(restore)
    })?;
    wait::poll("all to be told of it", wait::PATIENCE, || {
        let record = record_of(&bed.cluster, "good")?;
        let noted = at(&record, "/status/verification/tainted/0/uid");
        ensure!(
            noted == at(&restore, "/metadata/uid"),
            "{}",
            record["status"]
        );
        ensure!(told()?.contains(&format!("{tainted} 1\n")), "no metric");
        let of = "--field-selector=involvedObject.name=behind";
        let events = kubectl.get(&["events", "-n", VELERO_NAMESPACE, of])?;
        let mut events = at(&events, "/items").as_array().into_iter().flatten();
        let event = events.find(|event| event["reason"] == "RestoreTainted");
        let event = event.context("no Event")?;
        let says = "does not list the files of Backup good as it did when Velero began";
        ensure!(event.to_string().contains(says), "{event}");
        Ok(())
    })?;
    let phase = at(&restore, "/status/phase");
    ensure!(*phase != "FailedValidation", "it was not begun: {restore}");
    // Velero makes the namespace anew.
    wait::poll("the Restore to be done", PATIENCE, || {
        let restore = restore_of(&bed.cluster, "behind")?;
        let done = at(&restore, "/status/completionTimestamp");
        ensure!(done.is_string(), "{}", restore["status"]);
        Ok(())
    })?;
    let delete = ["delete", "namespace", SHOP, "--ignore-not-found"];
    kubectl.ok(&delete).map(drop)
}

/// The directory of a backup that was deleted is put over that of another one of its name.
pub(super) fn older_backup(bed: &Bed, store: &Store, older: &Files) -> Result<()> {
    replace(bed, store, "again", older)?;
    ensure_passed("older", &bed.create("older", "again", &Value::Null)?)?;
    let words = [
        "[VT115]",
        "again.tar.gz",
        "velero-backup.json",
        "found sha256:",
    ];
    bed.is_stopped("older", &words)
}

/// Directories are deleted, Velero forgets their Backups, and others are put in their place.
pub(super) fn directories(bed: &mut Bed, store: &Store, older: &Files) -> Result<()> {
    let mut whole = files(bed, store, "whole")?;
    let planned = files(bed, store, "planned")?;
    let names = ["whole", "planned", "again"];
    for name in names {
        replace(bed, store, name, &Files::new())?;
    }
    bed.sync()?;
    for name in names {
        let backup = format!("backup/{name}");
        let gone = ["-n", VELERO_NAMESPACE, "--timeout=60s"];
        let gone = [&["wait", "--for=delete", &backup], &gone[..]].concat();
        bed.cluster.kubectl().ok(&gone)?;
    }

    // Another tarball, and an annotation that vouches for it.
    let mut other = files(bed, store, "moved")?;
    let tarball = other.remove("moved.tar.gz").context("no tarball")?;
    whole.insert("whole.tar.gz".to_owned(), tarball);
    let sum = format!("sha256:{}", "0f".repeat(32));
    let change = json!({"metadata": {"annotations": {"velero-trust.io/checksum": sum}}});
    change_document(&mut whole, &change)?;
    replace(bed, store, "whole", &whole)?;
    // One that the Schedule is to have made next year.
    let mut forged = planned.clone();
    let change = json!({
        "metadata": {"labels": {"velero.io/schedule-name": "nightly"}},
        "status": {"startTimestamp": "2031-01-01T00:00:00Z"},
    });
    change_document(&mut forged, &change)?;
    replace(bed, store, "planned", &forged)?;
    replace(bed, store, "again", older)?;
    bed.sync()?;
    for name in ["whole", "again"] {
        wait::poll("the synced Backup to be known", PATIENCE, || {
            let backup = get(&bed.cluster, "backup", name)?;
            let checksum = at(&backup, "/metadata/annotations/velero-trust.io~1checksum");
            ensure!(checksum.is_string(), "{backup}");
            ensure!(*checksum != sum, "it kept its annotation: {backup}");
            Ok(())
        })?;
    }

    ensure_passed("whole", &bed.create("whole", "whole", &Value::Null)?)?;
    let words = [
        "[VT115]",
        "whole.tar.gz",
        "velero-backup.json",
        "found sha256:",
    ];
    bed.is_stopped("whole", &words)?;

    // All files are good again, and the Backup that was made of the others stays.
    replace(bed, store, "planned", &planned)?;
    let newest = ["restore", "create", "newest", "--from-schedule", "nightly"];
    let refused = velero(&bed.cluster, &newest)?;
    let words = [
        "[VT101]",
        "Backup velero/planned",
        "metadata.labels[velero.io/schedule-name], status.startTimestamp",
    ];
    ensure_refused("the newest backup", &refused, &words)?;

    let refused = bed.create("older-again", "again", &Value::Null)?;
    let words = [
        "[VT114]",
        "an older backup of this name",
        "a later one in this bucket",
    ];
    ensure_refused("the older backup", &refused, &words)
}

/// Changes what velero-backup.json says.
fn change_document(files: &mut Files, change: &Value) -> Result<()> {
    let document = files.get_mut("velero-backup.json").context("no document")?;
    let mut backup: Value = serde_json::from_slice(document)?;
    json_patch::merge(&mut backup, change);
    *document = backup.to_string().into_bytes();
    Ok(())
}
