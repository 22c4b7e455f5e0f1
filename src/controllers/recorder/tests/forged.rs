//! Backups, files and times that somebody forged who may write Backups, or the bucket, or both.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{BACKUPS, RECORDS, Scene, uid};
use crate::integrity::envelope::Envelope;
use crate::integrity::statement::Statement;
use crate::names::ADOPT_ANNOTATION;

const DOCUMENT: &str = "backups/b/velero-backup.json";
const TARBALL: &str = "backups/b/b.tar.gz";
const KEYS: &str = "/apis/velero-trust.io/v1alpha1/trustedkeys";

fn backup(namespace: &str) -> String {
    BACKUPS.replace("/velero/", &format!("/{namespace}/")) + "/b"
}

/// Vouches for the Backup `b`, as the policies let jane.
fn adopt(scene: &Scene, namespace: &str) {
    let path = backup(namespace);
    let mut backup = scene.api.get(&path).unwrap();
    let annotation = json!({ADOPT_ANNOTATION: "jane"});
    json_patch::merge(&mut backup["metadata"]["annotations"], &annotation);
    scene.api.put(&path, backup);
}

async fn until_not_adopted(scene: &Scene, namespace: &str) {
    scene
        .until("the end of the adoption", |scene| {
            let backup = scene.api.get(&backup(namespace)).unwrap();
            backup["metadata"]["annotations"][ADOPT_ANNOTATION].is_null()
        })
        .await;
}

fn reads(scene: &Scene) -> usize {
    let tarball = format!("S3 GET {TARBALL}");
    let passed = scene.gate.passed();
    passed.iter().filter(|passed| **passed == tarball).count()
}

/// Returns the only signed statement in the bucket.
fn signed(scene: &Scene) -> Statement {
    let files = scene.s3.files("backups/b/velero-trust.");
    assert_eq!(files.len(), 1);
    let envelope = Envelope::parse(&files[0].1.content).unwrap();
    Statement::parse(envelope.payload()).unwrap()
}

async fn recorded(scene: &mut Scene) {
    scene.set_backup("b", &uid(1), "InProgress");
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.complete("b", &uid(1));
    scene.until_annotated("b").await;
}

/// A Backup that was seen running, and was complete this long ago, with files of that time.
async fn completed_while_down(scene: &mut Scene, ago: SignedDuration) -> Value {
    scene.set_backup("b", &uid(1), "InProgress");
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.kill().await;
    let then = Timestamp::now() - ago;
    let mut backup = Scene::backup("b", &uid(1), "Completed");
    backup["metadata"]["managedFields"][0]["time"] = json!(then.to_string());
    scene.s3.put(DOCUMENT, backup.to_string().as_bytes(), then);
    scene.s3.put(TARBALL, b"of that time, says the store", then);
    backup
}

#[tokio::test]
async fn files_that_are_read_long_after_are_not_observed() {
    for (ago, level) in [(10, "observed"), (72 * 60, "late")] {
        let mut scene = Scene::start().await;
        let backup = completed_while_down(&mut scene, SignedDuration::from_mins(ago)).await;
        scene.api.put(&format!("{BACKUPS}/b"), backup);
        scene.run();
        scene.until_state("b", &uid(1), "Recorded").await;
        assert_eq!(scene.status("b", &uid(1))["level"], level);
        assert_eq!(signed(&scene).level.name(), level);
    }
}

/// Whoever may write a Backup may write its managedFields.
#[tokio::test]
async fn a_later_time_of_another_manager_excuses_no_later_write() {
    let mut scene = Scene::start().await;
    let mut backup = completed_while_down(&mut scene, SignedDuration::from_mins(10)).await;
    scene.s3.put(TARBALL, b"forged now", Timestamp::now());
    let mut other = backup["metadata"]["managedFields"][0].clone();
    other["manager"] = json!("other");
    other["time"] = json!(Timestamp::now().to_string());
    let managers = backup["metadata"]["managedFields"].as_array_mut().unwrap();
    managers.push(other);
    scene.api.put(&format!("{BACKUPS}/b"), backup);
    scene.run();
    scene.until_unobserved("b", &uid(1), "WrittenLater").await;
}

#[tokio::test]
async fn a_time_in_the_future_tells_nothing() {
    let mut scene = Scene::start().await;
    let mut backup = completed_while_down(&mut scene, SignedDuration::from_mins(10)).await;
    scene.s3.put(TARBALL, b"forged now", Timestamp::now());
    backup["metadata"]["managedFields"][0]["time"] = json!("2131-01-01T00:00:00Z");
    scene.api.put(&format!("{BACKUPS}/b"), backup);
    scene.run();
    scene
        .until_unobserved("b", &uid(1), "CompletionUnknown")
        .await;
}

/// Nothing strips annotations while we are down, and anybody can read those of another Backup.
#[tokio::test]
async fn annotations_of_another_backup_record_nothing() {
    let mut scene = Scene::start().await;
    recorded(&mut scene).await;
    let path = format!("{BACKUPS}/b");
    let copied = scene.api.get(&path).unwrap()["metadata"]["annotations"].clone();
    scene.api.remove(&path);
    scene
        .until("the record to be closed", |scene| {
            scene.status("b", &uid(1))["gone"].is_object()
        })
        .await;
    scene.kill().await;
    // The API server says when the key was made, and when the Backup.
    let keys = "/apis/velero-trust.io/v1alpha1/trustedkeys";
    let (key, mut trusted) = scene.api.first(keys).unwrap();
    trusted["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    scene.api.put(&key, trusted);
    scene.complete("b", &uid(2));
    let now = Timestamp::now() + SignedDuration::from_secs(60);
    scene.s3.put(TARBALL, b"other bytes", now);
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["annotations"] = copied;
    backup["metadata"]["creationTimestamp"] = json!("2031-01-01T00:00:00Z");
    scene.api.put(&path, backup);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    assert_eq!(scene.checksum("b"), None);
    assert!(scene.status("b", &uid(1))["gone"].is_object());
}

/// Velero makes a Backup from a velero-backup.json that somebody changed, and that has its old uid.
#[tokio::test]
async fn a_synced_backup_with_other_fields_gets_no_annotations() {
    let mut scene = Scene::start().await;
    recorded(&mut scene).await;
    let mut backup = Scene::backup("b", &uid(1), "Completed");
    backup["metadata"]["labels"] = json!({"velero.io/schedule-name": "other"});
    let now = Timestamp::now();
    scene.s3.put(DOCUMENT, backup.to_string().as_bytes(), now);
    backup["metadata"]["uid"] = json!(uid(2));
    scene.api.put(&format!("{BACKUPS}/b"), backup);
    scene.until_state("b", &uid(2), "Unobserved").await;
    let status = scene.status("b", &uid(2));
    assert_eq!(status["reason"], "FieldsDiffer", "{status}");
    assert_eq!(scene.checksum("b"), None);
}

/// A new cluster that signs with the same key finds what it signed in the old one, where its key does not count.
#[tokio::test]
async fn nobody_vouches_for_other_bytes_than_this_key_signed() {
    let mut scene = Scene::start().await;
    recorded(&mut scene).await;
    scene.kill().await;
    let before = signed(&scene);
    scene.api.remove(&format!("{RECORDS}/b.{}", uid(1)));
    let (path, mut trusted) = scene.api.first(KEYS).unwrap();
    trusted["spec"]["scope"] = json!({"locations": ["another"]});
    scene.api.put(&path, trusted);
    let honest = scene.s3.files(TARBALL)[0].1.content.clone();
    scene.s3.put(TARBALL, b"evil", Timestamp::now());
    scene.set_backup("b", &uid(2), "Completed");
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyOutOfScope").await;
    adopt(&scene, "velero");
    until_not_adopted(&scene, "velero").await;
    let why = scene.status("b", &uid(2))["notAdopted"].to_string();
    assert!(
        why.contains("of level observed, is of other bytes"),
        "{why}"
    );
    assert_eq!(signed(&scene), before);

    // With its bytes, the older and better word stays.
    scene.s3.put(TARBALL, &honest, Timestamp::now());
    adopt(&scene, "velero");
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(scene.status("b", &uid(1))["level"], "observed");
    assert_eq!(signed(&scene), before);
}

#[tokio::test]
async fn a_backup_that_is_recorded_in_another_namespace_is_not_adopted() {
    let mut scene = Scene::start().await;
    for path in [
        "/api/v1/namespaces/NAMESPACE/configmaps/velero-trust-ca",
        "/api/v1/namespaces/NAMESPACE/secrets/cloud",
        "/apis/velero.io/v1/namespaces/NAMESPACE/backupstoragelocations/default",
    ] {
        let mut object = scene.api.get(&path.replace("NAMESPACE", "velero")).unwrap();
        object["metadata"]["namespace"] = json!("other");
        scene.api.put(&path.replace("NAMESPACE", "other"), object);
    }
    recorded(&mut scene).await;
    let (before, was_read) = (signed(&scene), reads(&scene));
    let mut other = Scene::backup("b", &uid(2), "Completed");
    other["metadata"]["namespace"] = json!("other");
    scene.api.put(&backup("other"), other);
    scene.until_state("b", &uid(2), "Unobserved").await;
    adopt(&scene, "other");
    until_not_adopted(&scene, "other").await;
    let why = scene.status("b", &uid(2))["notAdopted"].to_string();
    assert!(why.contains("in namespace velero"), "{why}");
    assert_eq!((signed(&scene), reads(&scene)), (before, was_read));
}

#[tokio::test]
async fn a_field_without_end_is_not_signed() {
    let mut scene = Scene::start().await;
    let mut document = Scene::backup("b", &uid(1), "Completed");
    document["status"]["startTimestamp"] = json!("x".repeat(3 << 20));
    let now = Timestamp::now();
    scene.s3.put(DOCUMENT, document.to_string().as_bytes(), now);
    scene.s3.put(TARBALL, b"t", now);
    scene.set_backup("b", &uid(2), "Completed");
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    adopt(&scene, "velero");
    until_not_adopted(&scene, "velero").await;
    let status = scene.status("b", &uid(2));
    let why = status["notAdopted"].to_string();
    assert!(why.contains("status.startTimestamp is longer"), "{why}");
    assert!(scene.s3.files("backups/b/velero-trust.").is_empty());
}

#[tokio::test]
async fn a_key_that_is_not_active_signs_no_more() {
    let set = |scene: &Scene, state: &str| {
        let keys = "/apis/velero-trust.io/v1alpha1/trustedkeys";
        let (path, mut key) = scene.api.first(keys).unwrap();
        key["spec"]["state"] = json!(state);
        scene.api.put(&path, key);
    };
    for state in ["VerifyOnly", "Revoked"] {
        let mut scene = Scene::start().await;
        scene.complete("b", &uid(1));
        scene.run();
        scene.until_state("b", &uid(1), "Recorded").await;
        // While it leads.
        set(&scene, state);
        scene.complete("c", &uid(3));
        scene.rest(Duration::from_millis(800)).await;
        assert!(scene.s3.files("backups/c/velero-trust.").is_empty());
        let passed = scene.gate.passed();
        let is_tarball = |passed: &&String| *passed == "S3 GET backups/c/c.tar.gz";
        assert_eq!(passed.iter().filter(is_tarball).count(), 0, "{passed:#?}");
        scene.kill().await;
        scene.complete("d", &uid(4));
        scene.run();
        scene.rest(Duration::from_millis(800)).await;
        assert!(scene.record("d", &uid(4)).is_none());
        assert!(scene.s3.files("backups/d/velero-trust.").is_empty());
    }
}
