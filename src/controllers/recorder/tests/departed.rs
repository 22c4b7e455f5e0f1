//! Backups that go away, and some that come back.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{BACKUPS, EVENTS, PATIENCE, Scene, uid};
use crate::names::{ADOPT_ANNOTATION, LOST_SCHEDULE_LABEL};

const DOCUMENT: &str = "backups/b/velero-backup.json";

/// The record of the Backup with the first uid was written.
const LINKED: &str = "after PATCH /apis/velero-trust.io/v1alpha1/backuprecords/\
    b.3f2a0000-0000-4000-8000-000000000001/status";

/// Records the backup `b` of the Schedule `daily`, which expires at this time.
async fn recorded(scene: &mut Scene, expires: &str) -> Value {
    let mut backup = Scene::backup("b", &uid(1), "Completed");
    backup["metadata"]["labels"] = json!({"velero.io/schedule-name": "daily"});
    backup["status"]["expiration"] = json!(expires);
    let now = Timestamp::now();
    scene.s3.put(DOCUMENT, backup.to_string().as_bytes(), now);
    scene.s3.put("backups/b/b.tar.gz", b"tarball", now);
    scene.api.put(&format!("{BACKUPS}/b"), backup.clone());
    scene.run();
    scene.until_annotated("b").await;
    backup
}

async fn until_gone(scene: &Scene, how: &str) {
    scene
        .until(how, |scene| {
            scene.status("b", &uid(1))["gone"]["how"] == how
        })
        .await;
}

fn label(scene: &Scene) -> Value {
    let record = scene.record("b", &uid(1)).unwrap();
    record["metadata"]["labels"][LOST_SCHEDULE_LABEL].clone()
}

/// Returns how often it was told that a backup vanished.
fn told(scene: &Scene) -> usize {
    let events = scene.api.all(EVENTS).into_iter();
    let told = events.filter(|(_, event)| event["reason"] == "BackupVanished");
    told.count()
}

/// Velero makes the Backup from its files again.
fn sync(scene: &Scene, backup: &Value, number: usize) {
    let mut synced = backup.clone();
    synced["metadata"]["uid"] = json!(uid(number));
    scene.api.put(&format!("{BACKUPS}/b"), synced);
}

/// Returns a recorder with a backup that was deleted and went `how`, and the Backup that Velero makes if its files come
/// back. That has an annotation which nobody admitted.
async fn deleted(expires: &str, how: &str) -> (Scene, Value) {
    let mut scene = Scene::start().await;
    let mut backup = recorded(&mut scene, expires).await;
    let mut deleting = scene.api.get(&format!("{BACKUPS}/b")).unwrap();
    deleting["status"]["phase"] = json!("Deleting");
    scene.api.put(&format!("{BACKUPS}/b"), deleting);
    scene.api.remove(&format!("{BACKUPS}/b"));
    until_gone(&scene, how).await;
    backup["metadata"]["annotations"] = json!({ADOPT_ANNOTATION: "mallory"});
    (scene, backup)
}

#[tokio::test]
async fn a_deleted_backup_that_comes_back_is_told_until_a_person_wants_it() {
    for (expires, how) in [
        ("2126-01-01T00:00:00Z", "Deleted"),
        ("2026-01-01T00:00:00Z", "Expired"),
    ] {
        let (scene, backup) = deleted(expires, how).await;
        assert_eq!((label(&scene), told(&scene)), (Value::Null, 0));

        sync(&scene, &backup, 2);
        scene.until_annotated("b").await;
        let status = scene.status("b", &uid(1));
        assert_eq!(status["returned"]["how"], how, "{status}");
        assert_eq!(status["gone"], Value::Null);
        assert_eq!(status["syncedAs"], uid(2));

        let mut wanted = scene.api.get(&format!("{BACKUPS}/b")).unwrap();
        wanted["metadata"]["annotations"][ADOPT_ANNOTATION] = json!("jane");
        scene.api.put(&format!("{BACKUPS}/b"), wanted);
        scene
            .until("the word to count", |scene| {
                let backup = scene.api.get(&format!("{BACKUPS}/b")).unwrap();
                let word = &backup["metadata"]["annotations"][ADOPT_ANNOTATION];
                word.is_null() && scene.status("b", &uid(1))["returned"].is_null()
            })
            .await;
    }
}

#[tokio::test]
async fn a_backup_that_vanishes_is_told_and_may_come_back() {
    let mut scene = Scene::start().await;
    let backup = recorded(&mut scene, "2126-01-01T00:00:00Z").await;
    scene.api.remove(&format!("{BACKUPS}/b"));
    until_gone(&scene, "Vanished").await;
    scene
        .until("it to be told", |scene| {
            label(scene) == "daily" && told(scene) == 1
        })
        .await;
    sync(&scene, &backup, 2);
    scene
        .until("the label to go", |scene| label(scene).is_null())
        .await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["returned"], Value::Null, "{status}");
    assert_eq!(status["gone"], Value::Null);
}

/// Nobody could have restored it with what this cluster knows.
#[tokio::test]
async fn a_backup_that_was_not_recorded_is_no_loss() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.set_backup("b", &uid(2), "Completed");
    scene.run();
    scene.until_unobserved("b", &uid(2), "Synced").await;
    scene.api.remove(&format!("{BACKUPS}/b"));
    let how = |scene: &Scene| scene.status("b", &uid(2))["gone"]["how"].clone();
    scene
        .until("it to be gone", |scene| how(scene) == "Vanished")
        .await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(told(&scene), 0);
}

fn adoption(scene: &Scene) -> Value {
    let backup = scene.api.get(&format!("{BACKUPS}/b")).unwrap();
    backup["metadata"]["annotations"][ADOPT_ANNOTATION].clone()
}

/// From then on, what is written on the Backup counts.
#[tokio::test]
async fn an_annotation_with_which_a_backup_came_back_goes_before_its_record_is_known() {
    let (mut scene, forged) = deleted("2126-01-01T00:00:00Z", "Deleted").await;
    scene.gate.close_at(LINKED);
    sync(&scene, &forged, 2);
    scene.gate.reached().await;
    assert_eq!(scene.status("b", &uid(1))["syncedAs"], uid(2));
    assert_eq!(adoption(&scene), Value::Null);
    scene.kill().await;
    scene.gate.open();
    scene.run();
    scene.until_annotated("b").await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.status("b", &uid(1))["returned"]["how"], "Deleted");
}

/// The watch may show a word that was withdrawn.
#[tokio::test]
async fn a_word_that_is_not_there_any_more_takes_nothing_back() {
    let (scene, backup) = deleted("2126-01-01T00:00:00Z", "Deleted").await;
    sync(&scene, &backup, 2);
    scene.until_annotated("b").await;
    let path = format!("{BACKUPS}/b");
    let without = scene.api.get(&path).unwrap();
    let mut wanted = without.clone();
    wanted["metadata"]["annotations"][ADOPT_ANNOTATION] = json!("jane");
    let (api, looked) = (scene.api.clone(), Arc::new(Notify::new()));
    let asked = Arc::clone(&looked);
    scene.api.set_hook(move |method, path| {
        if method == "GET" && path.ends_with("/backups/b") {
            api.put(path, without.clone());
            asked.notify_one();
        }
        None
    });
    scene.api.put(&path, wanted);
    let _ = timeout(PATIENCE, looked.notified()).await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(adoption(&scene), Value::Null);
    assert_eq!(scene.status("b", &uid(1))["returned"]["how"], "Deleted");
}

#[tokio::test]
async fn what_goes_while_nobody_watches_is_told_so() {
    for (expires, how, label_then) in [
        ("2126-01-01T00:00:00Z", "Unseen", json!("daily")),
        ("2026-01-01T00:00:00Z", "Expired", Value::Null),
    ] {
        let mut scene = Scene::start().await;
        recorded(&mut scene, expires).await;
        scene.kill().await;
        scene.api.remove(&format!("{BACKUPS}/b"));
        scene.run();
        until_gone(&scene, how).await;
        scene
            .until("the label", |scene| label(scene) == label_then)
            .await;
    }
}

/// Ends the recorder at each request after `change`, one after the other, until `change` is told in full.
async fn killed_at_each_request(
    prepare: impl AsyncFn(&mut Scene) -> Value,
    change: impl Fn(&Scene, &Value),
    is_told: impl Fn(&Scene) -> bool,
) {
    let mut number = 0;
    loop {
        let mut scene = Scene::start().await;
        let backup = prepare(&mut scene).await;
        scene.rest(Duration::from_millis(300)).await;
        scene.gate.close_after(scene.gate.passed().len() + number);
        change(&scene, &backup);
        let is_killed = tokio::select! {
            () = scene.gate.reached() => true,
            () = scene.until("it to be told", &is_told) => false,
        };
        scene.kill().await;
        scene.gate.open();
        scene.run();
        scene
            .until(&format!("it to be told after kill {number}"), &is_told)
            .await;
        if !is_killed {
            assert!(number > 2, "{number}");
            return;
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_schedule_is_said_to_lack_what_vanished_and_nothing_else() {
    let vanish = |scene: &Scene, _: &Value| scene.api.remove(&format!("{BACKUPS}/b"));
    let prepare = async |scene: &mut Scene| recorded(scene, "2126-01-01T00:00:00Z").await;
    killed_at_each_request(prepare, vanish, |scene| {
        label(scene) == "daily" && scene.status("b", &uid(1))["gone"].is_object()
    })
    .await;

    let prepare = async |scene: &mut Scene| {
        let backup = recorded(scene, "2126-01-01T00:00:00Z").await;
        vanish(scene, &backup);
        scene
            .until("it to be told", |scene| label(scene) == "daily")
            .await;
        backup
    };
    let come_back = |scene: &Scene, backup: &Value| sync(scene, backup, 2);
    killed_at_each_request(prepare, come_back, |scene| {
        label(scene).is_null() && scene.status("b", &uid(1))["gone"].is_null()
    })
    .await;
}
