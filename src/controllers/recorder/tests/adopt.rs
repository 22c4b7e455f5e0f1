//! A user vouches for the files of a Backup.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::api::Act;
use super::{BACKUPS, EVENTS, RECORDS, Scene, uid};
use crate::integrity::envelope::Envelope;
use crate::integrity::statement::{Level, Statement};
use crate::names::{
    ADOPT_ANNOTATION, CHECKSUM_ANNOTATION, DECLARED_CHECKSUM_ANNOTATION, MANIFEST_ANNOTATION,
    VERIFIED_AT_ANNOTATION,
};

const B: &str = "/apis/velero.io/v1/namespaces/velero/backups/b";

/// Patches the annotations of the Backup.
fn annotate(scene: &Scene, annotations: &Value) {
    let mut backup = scene.api.get(B).unwrap();
    json_patch::merge(&mut backup["metadata"]["annotations"], annotations);
    scene.api.put(B, backup);
}

fn annotations(scene: &Scene) -> Value {
    scene.api.get(B).unwrap()["metadata"]["annotations"].clone()
}

/// Makes the complete Backup with the uid `number`, whose files have the uid 1.
fn sync(scene: &Scene, number: usize) {
    scene.complete("b", &uid(1));
    scene.set_backup("b", &uid(number), "Completed");
}

/// Returns how the record of the files says that they are recorded.
fn signed(scene: &Scene) -> Statement {
    let envelope = scene.status("b", &uid(1))["envelope"].clone();
    let envelope = Envelope::parse(envelope.as_str().unwrap().as_bytes()).unwrap();
    Statement::parse(envelope.payload()).unwrap()
}

fn is_adopted(scene: &Scene) -> bool {
    let status = scene.status("b", &uid(1));
    let is_forgotten = scene.record("b", &uid(2)).is_none();
    let annotations = annotations(scene);
    status["state"] == "Recorded"
        && is_forgotten
        && annotations[ADOPT_ANNOTATION].is_null()
        && annotations[CHECKSUM_ANNOTATION].is_string()
}

fn check_adopted(scene: &Scene) {
    let status = scene.status("b", &uid(1));
    assert_eq!(
        (&status["level"], &status["adoptedBy"], &status["gone"]),
        (&json!("adopted"), &json!("jane"), &Value::Null),
        "{status}"
    );
    let annotations = annotations(scene);
    assert_eq!(annotations[CHECKSUM_ANNOTATION], status["checksum"]);
    assert_eq!(annotations[MANIFEST_ANNOTATION], status["manifest"]);
    let signed = signed(scene);
    assert_eq!(signed.level, Level::Adopted { by: "jane".into() });
    assert_eq!(signed.backup.uid, uid(1));
    assert_eq!(scene.s3.files("backups/b/velero-trust.").len(), 1);
}

/// The Backup came by sync; the recorder is ended at each request that the adoption takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_a_synced_backup_is_adopted_once() {
    let adopted = json!({ADOPT_ANNOTATION: "jane"});
    let mut scene = Scene::start().await;
    sync(&scene, 2);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    scene.rest(Duration::from_millis(300)).await;
    let before = scene.gate.passed().len();
    annotate(&scene, &adopted);
    scene.until("the adoption", is_adopted).await;
    scene.rest(Duration::from_millis(300)).await;
    check_adopted(&scene);
    let steps = scene.gate.passed();
    let reads = steps
        .iter()
        .filter(|step| *step == "S3 GET backups/b/b.tar.gz");
    assert_eq!(reads.count(), 1, "{steps:#?}");
    let events = scene.api.all(EVENTS);
    let notes = events.iter().map(|(_, event)| event["note"].to_string());
    let told = notes.filter(|note| note.contains("on the word of jane"));
    assert_eq!(told.count(), 1, "{events:#?}");

    // It comes by sync again, and is known.
    scene.set_backup("b", &uid(3), "Completed");
    scene.until_annotated("b").await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.record("b", &uid(3)), None);

    let kills = (0..steps.len() - before).map(async |number| {
        let mut scene = Scene::start().await;
        sync(&scene, 2);
        scene.run();
        scene.until_state("b", &uid(2), "Unobserved").await;
        scene.rest(Duration::from_millis(300)).await;
        scene.gate.close_after(scene.gate.passed().len() + number);
        annotate(&scene, &adopted);
        scene.gate.reached().await;
        scene.kill().await;
        scene.gate.open();
        scene.run();
        scene.until("the adoption", is_adopted).await;
        scene.rest(Duration::from_millis(300)).await;
        check_adopted(&scene);
    });
    let count = futures::future::join_all(kills).await.len();
    assert!(count > 20, "{count}");
}

/// A Schedule copies its annotations onto its Backups while nothing of ours runs. The watch shows them
/// for long after they are removed.
#[tokio::test]
async fn annotations_with_which_a_backup_came_count_for_nothing() {
    let came = json!({
        ADOPT_ANNOTATION: "admin", DECLARED_CHECKSUM_ANNOTATION: "sha256:x",
        CHECKSUM_ANNOTATION: "sha256:x", "note": "kept",
    });
    for declared in [true, false] {
        for phase in ["InProgress", "Completed"] {
            let mut scene = Scene::start().await;
            sync(&scene, 2);
            scene.set_backup("b", &uid(2), phase);
            annotate(&scene, &came);
            if !declared {
                annotate(&scene, &json!({DECLARED_CHECKSUM_ANNOTATION: null}));
            }
            let watches = AtomicUsize::new(0);
            scene.api.set_hook(move |method, path| {
                let is_late = method == "WATCH" && path.ends_with("/backups");
                let is_late = is_late && watches.fetch_add(1, Ordering::Relaxed) == 0;
                is_late.then_some(Act::Delay(Duration::from_secs(1)))
            });
            scene.run();
            scene
                .until("a record", |scene| scene.record("b", &uid(2)).is_some())
                .await;
            if phase == "InProgress" {
                let left = annotations(&scene);
                assert_eq!(left, json!({"note": "kept"}), "{phase}");
                let mut backup = Scene::backup("b", &uid(2), "Completed");
                backup["metadata"]["annotations"] = left;
                scene.api.put(B, backup);
            }
            scene.until_state("b", &uid(2), "Unobserved").await;
            scene.rest(Duration::from_millis(1_200)).await;
            let status = scene.status("b", &uid(2));
            assert_eq!(status["state"], "Unobserved", "{phase} {declared}");
            assert_eq!(scene.record("b", &uid(1)), None, "{phase} {declared}");
            let left = annotations(&scene);
            assert!(left[ADOPT_ANNOTATION].is_null(), "{left}");
            assert_eq!(left["note"], "kept");
        }
    }
}

/// The Backup is older than the key, or younger.
#[tokio::test]
async fn a_checksum_that_nobody_could_set_by_hand_goes_with_the_judgement() {
    for (created, stays) in [
        ("2026-01-01T00:00:00Z", true),
        ("2026-01-03T00:00:00Z", false),
    ] {
        let mut scene = Scene::start().await;
        // The API server says when the key was made.
        scene.run();
        let keys = "/apis/velero-trust.io/v1alpha1/trustedkeys";
        scene
            .until("a key", |scene| scene.api.first(keys).is_some())
            .await;
        scene.kill().await;
        let (path, mut key) = scene.api.first(keys).unwrap();
        key["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
        scene.api.put(&path, key);
        sync(&scene, 2);
        let mut backup = scene.api.get(B).unwrap();
        backup["metadata"]["creationTimestamp"] = json!(created);
        let all = [
            CHECKSUM_ANNOTATION,
            MANIFEST_ANNOTATION,
            VERIFIED_AT_ANNOTATION,
        ];
        for key in all {
            backup["metadata"]["annotations"][key] = json!("x");
        }
        scene.api.put(B, backup);
        scene.run();
        scene.until_state("b", &uid(2), "Unobserved").await;
        for key in all {
            assert_eq!(annotations(&scene)[key] == "x", stays, "{created} {key}");
        }
    }
}

/// Nothing is read of what is declared.
#[tokio::test]
async fn a_declared_checksum_is_annotated_and_not_signed() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "Completed");
    scene.run();
    scene.until_state("b", &uid(1), "Unreadable").await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let declared =
        |checksum: &str| json!({ADOPT_ANNOTATION: "jane", DECLARED_CHECKSUM_ANNOTATION: checksum});
    annotate(&scene, &declared("sha256:abcde"));
    scene
        .until("the adoption to end", |scene| {
            annotations(scene)[ADOPT_ANNOTATION].is_null()
        })
        .await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["state"], "Unreadable");
    let why = status["notAdopted"].as_str().unwrap();
    assert!(why.contains("5 hexadecimal digits instead of 64"), "{why}");
    assert_eq!(scene.checksum("b"), None);

    annotate(&scene, &declared(&digest));
    scene.until_state("b", &uid(1), "Declared").await;
    scene
        .until("the annotation", |scene| {
            annotations(scene)[ADOPT_ANNOTATION].is_null()
        })
        .await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(annotations(&scene), json!({CHECKSUM_ANNOTATION: digest}));
    let status = scene.status("b", &uid(1));
    assert_eq!(status["adoptedBy"], "jane");
    assert_eq!(status["level"], "declared");
    for absent in ["envelope", "manifest", "notAdopted"] {
        assert!(status[absent].is_null(), "{status}");
    }
    // Somebody removes it from the Backup.
    annotate(&scene, &json!({CHECKSUM_ANNOTATION: null}));
    scene.until_annotated("b").await;
    // The store can be read by now, and a user vouches for what is there.
    scene.complete("b", &uid(1));
    annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.until("the adoption", is_adopted).await;
    check_adopted(&scene);
}

/// The record of the declaration has the uid of the Backup, and that of the files the uid in them.
#[tokio::test]
async fn what_was_declared_of_a_synced_backup_is_signed_later() {
    let mut scene = Scene::start().await;
    sync(&scene, 2);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let declared = json!({ADOPT_ANNOTATION: "jane", DECLARED_CHECKSUM_ANNOTATION: digest});
    annotate(&scene, &declared);
    scene.until_state("b", &uid(2), "Declared").await;
    scene
        .until("the annotation", |scene| {
            annotations(scene)[ADOPT_ANNOTATION].is_null()
        })
        .await;
    annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
    scene.until("the adoption", is_adopted).await;
    scene.rest(Duration::from_millis(300)).await;
    check_adopted(&scene);
}

/// Existing backups are left out, but the one for which a user vouches.
#[tokio::test]
async fn a_backup_without_a_record_is_judged_before_it_is_adopted() {
    let mut scene = Scene::start().await;
    sync(&scene, 2);
    scene.complete("own", &uid(4));
    scene.complete("other", &uid(5));
    scene.run_with(false);
    scene.rest(Duration::from_millis(500)).await;
    assert_eq!(scene.api.count("POST", RECORDS), 0);
    let adopt = json!({"metadata": {"annotations": {ADOPT_ANNOTATION: "jane"}}});
    for name in ["b", "own"] {
        let path = format!("{BACKUPS}/{name}");
        let mut backup = scene.api.get(&path).unwrap();
        json_patch::merge(&mut backup, &adopt);
        scene.api.put(&path, backup);
    }
    // One is recorded without anybody's word.
    scene.until_state("own", &uid(4), "Recorded").await;
    assert_eq!(scene.status("own", &uid(4))["level"], "late");
    scene.until_state("b", &uid(2), "Unobserved").await;
    scene.rest(Duration::from_millis(300)).await;
    assert!(annotations(&scene)[ADOPT_ANNOTATION].is_null());
    annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
    scene.until("the adoption", is_adopted).await;
    check_adopted(&scene);
    assert_eq!(scene.record("other", &uid(5)), None);
}

/// Who vouches for the files cannot make a backup of what is none.
#[tokio::test]
async fn what_velero_could_not_restore_is_not_adopted() {
    for (name, message) in [
        ("velero-backup.json", "velero-backup.json"),
        ("b.tar.gz", "b.tar.gz"),
    ] {
        let mut scene = Scene::start().await;
        sync(&scene, 2);
        scene.run();
        scene.until_state("b", &uid(2), "Unobserved").await;
        scene
            .s3
            .put(&format!("backups/b/{name}"), b"", super::Timestamp::now());
        annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
        scene
            .until("the adoption to end", |scene| {
                annotations(scene)[ADOPT_ANNOTATION].is_null()
            })
            .await;
        let status = scene.status("b", &uid(2));
        assert_eq!(status["state"], "Unobserved");
        assert_eq!(status["reason"], "Synced");
        let why = status["notAdopted"].as_str().unwrap();
        assert!(why.contains(message), "{why}");
        assert_eq!(scene.record("b", &uid(1)), None);
        assert!(scene.s3.files("backups/b/velero-trust.").is_empty());
    }
}

/// A store that does not answer is tried again, and the user need not ask again.
#[tokio::test]
async fn an_adoption_waits_for_the_store() {
    let mut scene = Scene::start().await;
    sync(&scene, 2);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    scene
        .s3
        .set_hook(|_, method, _| (method == "LIST").then_some(403));
    annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
    scene
        .until("it to be said", |scene| {
            scene.status("b", &uid(2))["notAdopted"].is_string()
        })
        .await;
    assert_eq!(annotations(&scene)[ADOPT_ANNOTATION], "jane");
    scene.s3.set_hook(|_, _, _| None);
    // Any change of the Backup lets it be tried at once.
    annotate(&scene, &json!({CHECKSUM_ANNOTATION: "x"}));
    scene.until("the adoption", is_adopted).await;
    check_adopted(&scene);
}

/// The policy lets nobody move the Backup for which a user vouches. What is read is also no longer what
/// was vouched for when it was moved anyway.
#[tokio::test]
async fn what_is_moved_while_it_is_read_is_not_adopted() {
    let mut scene = Scene::start().await;
    sync(&scene, 2);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    scene.rest(Duration::from_millis(500)).await;
    let api = scene.api.clone();
    scene.s3.set_hook(move |_, method, key| {
        if method == "GET" && key.ends_with("b.tar.gz") {
            let mut backup = api.get(B).unwrap();
            backup["spec"]["storageLocation"] = json!("elsewhere");
            api.put(B, backup);
        }
        None
    });
    annotate(&scene, &json!({ADOPT_ANNOTATION: "jane"}));
    let elsewhere = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/elsewhere";
    scene
        .until("the other location to be looked up", |scene| {
            scene.api.count("GET", elsewhere) > 0
        })
        .await;
    assert_eq!(scene.record("b", &uid(1)), None);
    assert_eq!(scene.checksum("b"), None);
}
