//! When a Backup was complete, as velero-trust saw it, outlives a restart.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api::Act;
use super::{BACKUPS, RECORDS, Scene, uid};

const TARBALL: &str = "backups/b/b.tar.gz";

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Runs until a Backup that was seen running is complete, and its files cannot be read yet.
async fn complete_and_unread(scene: &mut Scene, change: fn(&mut Value)) {
    scene.set_backup("b", &uid(1), "InProgress");
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene
        .s3
        .set_hook(|_, method, _| (method == "LIST").then_some(503));
    scene.complete("b", &uid(1));
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    change(&mut backup);
    scene.api.put(&path, backup);
    scene.until_state("b", &uid(1), "Unreadable").await;
    scene.kill().await;
    scene.s3.set_hook(|_, _, _| None);
}

/// Sets the time at which the phase was stored, and swaps a file just before.
fn forge(scene: &Scene) {
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    let fields = json!({"f:status": {"f:phase": {}}});
    let time = in_seconds(50).to_string();
    backup["metadata"]["managedFields"] =
        json!([{"manager": "velero-server", "time": time, "fieldsV1": fields}]);
    scene.api.put(&path, backup);
    scene.s3.put(TARBALL, b"swapped", in_seconds(40));
}

/// While velero-trust is down, whoever may write Backups and the bucket swaps a file, and makes
/// Velero's own entry in the managedFields as late.
#[tokio::test]
async fn a_later_time_after_a_restart_excuses_no_later_write() {
    let mut scene = Scene::start().await;
    complete_and_unread(&mut scene, |_| ()).await;
    forge(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(1), "WrittenLater").await;
}

/// Nothing told when it was complete; what tells it later was written later.
#[tokio::test]
async fn a_time_that_was_not_there_at_first_is_no_later_than_the_first_sight() {
    let mut scene = Scene::start().await;
    complete_and_unread(&mut scene, |backup| {
        backup["metadata"]["managedFields"] = json!([]);
    })
    .await;
    forge(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(1), "WrittenLater").await;
}

/// Nothing changed, so that it is recorded after the restart as it would have been before.
#[tokio::test]
async fn the_first_time_is_kept_in_the_record() {
    let mut scene = Scene::start().await;
    complete_and_unread(&mut scene, |_| ()).await;
    let before = scene.status("b", &uid(1))["finalPhase"].clone();
    assert!(before["storedAt"].is_string(), "{before}");
    assert!(before["seenAt"].is_string(), "{before}");
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["level"], "observed");
    assert_eq!(status["finalPhase"], before);
}

/// The time is noted before the files of others are read to the end.
#[tokio::test]
async fn the_time_of_a_backup_that_waits_is_noted() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "InProgress");
    for number in [2, 3] {
        scene.complete(&format!("first-{number}"), &uid(number));
    }
    scene.api.set_hook(|method, path| {
        let is_it = method == "GET" && path.ends_with("/configmaps/velero-trust-ca");
        is_it.then_some(Act::Delay(Duration::from_mins(1)))
    });
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.complete("b", &uid(1));
    scene
        .until("the time", |scene| {
            scene.status("b", &uid(1))["finalPhase"]["storedAt"].is_string()
        })
        .await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Pending");
}

/// The kind that is installed is older, and the API server refuses what it does not declare.
#[tokio::test]
async fn a_backup_is_recorded_even_if_the_time_is_not_stored() {
    let mut scene = Scene::start().await;
    scene.api.refuse_in_status(&["finalPhase", "pendingUpload"]);
    scene.set_backup("b", &uid(1), "InProgress");
    scene.complete("late", &uid(2));
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.complete("b", &uid(1));
    for (name, number) in [("b", 1), ("late", 2)] {
        scene.until_state(name, &uid(number), "Recorded").await;
        assert_eq!(scene.status(name, &uid(number))["finalPhase"], Value::Null);
    }
    // The refusal makes no file be read again.
    let passed = scene.gate.passed();
    let reads = passed
        .iter()
        .filter(|step| *step == "S3 GET backups/late/late.tar.gz");
    assert_eq!(reads.count(), 1);
}

/// The API server stores no status for whatever reason: that is tried again after a pause.
#[tokio::test]
async fn a_time_that_cannot_be_stored_is_not_tried_again_at_once() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "InProgress");
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.api.set_hook(|method, path| {
        (method == "PATCH" && path.ends_with("/status")).then_some(Act::Refuse(500))
    });
    let before = scene.api.count("GET", RECORDS);
    scene.complete("b", &uid(1));
    scene
        .until("a try", |scene| scene.api.count("GET", RECORDS) > before)
        .await;
    // Twenty times as long as the pause before a step that may run at once.
    sleep(Duration::from_secs(2)).await;
    let tries = scene.api.count("GET", RECORDS) - before;
    assert!(tries <= 2, "{tries} tries");
}

/// Whoever may delete records, and write Backups and the bucket, has a backup judged again.
#[tokio::test]
async fn a_deleted_record_excuses_no_later_write() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "InProgress");
    scene.run();
    scene
        .until("the record", |scene| scene.record("b", &uid(1)).is_some())
        .await;
    scene.complete("b", &uid(1));
    scene
        .until("annotated", |scene| scene.checksum("b").is_some())
        .await;
    scene.rest(Duration::from_millis(500)).await;
    for (key, _) in scene.s3.files("backups/b/velero-trust.") {
        scene.s3.remove(&key);
    }
    forge(&scene);
    scene.rest(Duration::from_millis(500)).await;
    scene.api.remove(&format!("{RECORDS}/b.{}", uid(1)));
    scene.until_unobserved("b", &uid(1), "WrittenLater").await;
}
