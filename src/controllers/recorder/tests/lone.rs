//! Velero deletes a backup while its envelope is put, and the recorder is ended at that moment.

use std::time::Duration;

use serde_json::json;

use super::{BACKUPS, Scene, uid};

const ENVELOPE: &str = "backups/b/velero-trust.";

/// Deletes the Backup, and the files that Velero listed before an envelope was put.
fn delete(scene: &Scene) {
    delete_files(scene);
    scene.api.remove(&format!("{BACKUPS}/b"));
}

fn delete_files(scene: &Scene) {
    for file in ["velero-backup.json", "b.tar.gz"] {
        scene.s3.remove(&format!("backups/b/{file}"));
    }
}

fn is_recorded(scene: &Scene) -> bool {
    scene.status("b", &uid(1))["state"] == "Recorded"
}

/// Runs until the gate is reached, or the annotation is there.
async fn record(scene: &mut Scene, is_observed: bool) {
    if is_observed {
        scene.set_backup("b", &uid(1), "InProgress");
        scene.run();
        tokio::select! {
            () = scene.gate.reached() => return,
            () = scene.until("a record", |scene| scene.record("b", &uid(1)).is_some()) => {}
        }
        scene.complete("b", &uid(1));
    } else {
        scene.complete("b", &uid(1));
        scene.run();
    }
    tokio::select! {
        () = scene.gate.reached() => {}
        () = scene.until_annotated("b") => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_no_lone_envelope_stays() {
    for is_observed in [true, false] {
        let mut scene = Scene::start().await;
        record(&mut scene, is_observed).await;
        scene.rest(Duration::from_millis(300)).await;
        let steps = scene.gate.passed();
        assert!(steps.iter().any(|step| step.starts_with("after S3 PUT")));
        let kills = (0..steps.len()).map(async |number| {
            let mut scene = Scene::start().await;
            scene.gate.close_after(number);
            record(&mut scene, is_observed).await;
            scene.kill().await;
            // Its envelope was there before Velero began to delete.
            if is_recorded(&scene) {
                return 0;
            }
            let was_put = !scene.s3.files(ENVELOPE).is_empty();
            delete(&scene);
            scene.gate.open();
            scene.run();
            let what = format!("all to be gone after {}", steps[number]);
            scene
                .until(&what, |scene| {
                    let is_gone = scene.record("b", &uid(1)).is_none();
                    is_gone && scene.s3.files(ENVELOPE).is_empty()
                })
                .await;
            usize::from(was_put)
        });
        let lone = futures::future::join_all(kills).await;
        let lone = lone.into_iter().sum::<usize>();
        assert!(lone >= 4, "{lone}");
    }
}

/// Starts a recorder that is ended when its envelope was put.
async fn put(scene: &mut Scene) {
    scene.complete("b", &uid(1));
    scene.gate.close_at("after S3 PUT");
    scene.run();
    scene.gate.reached().await;
    scene.kill().await;
    scene.gate.open();
    assert_eq!(scene.s3.files(ENVELOPE).len(), 1);
}

/// Only the files went away, as if somebody else emptied the folder. Velero keeps a Backup while its
/// folder has any file.
#[tokio::test]
async fn a_lone_envelope_keeps_no_backup() {
    let mut scene = Scene::start().await;
    put(&mut scene).await;
    delete_files(&scene);
    scene.run();
    scene
        .until("the envelope to go", |scene| {
            scene.s3.files(ENVELOPE).is_empty()
        })
        .await;
    scene.until_state("b", &uid(1), "Unreadable").await;
    assert_eq!(scene.status("b", &uid(1))["reason"], "NoFiles");
}

#[tokio::test]
async fn only_what_we_put_is_taken_away() {
    let mut scene = Scene::start().await;
    put(&mut scene).await;
    let (name, file) = scene.s3.files(ENVELOPE).remove(0);
    // The files are there.
    scene.api.remove(&format!("{BACKUPS}/b"));
    scene.run();
    let is_forgotten = |scene: &Scene| scene.record("b", &uid(1)).is_none();
    scene.until("the record to go", is_forgotten).await;
    assert_eq!(scene.s3.files(ENVELOPE).len(), 1);

    // The envelope is somebody else's.
    let mut scene = Scene::start().await;
    put(&mut scene).await;
    delete(&scene);
    let (own, _) = scene.s3.files(ENVELOPE).remove(0);
    scene.s3.put(&own, &file.content, file.modified);
    scene.run();
    scene.until("the record to go", is_forgotten).await;
    assert_eq!(scene.s3.files(&own).len(), 1);
    assert_ne!(name, own);

    // The location is gone, and nobody can look.
    let mut scene = Scene::start().await;
    put(&mut scene).await;
    delete(&scene);
    let location = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default";
    scene.api.remove(location);
    scene.run();
    scene.until("the record to go", is_forgotten).await;
}

/// The store does not answer at first, and Velero marks the Backup before it deletes it.
#[tokio::test]
async fn an_envelope_is_taken_away_as_soon_as_the_store_answers() {
    let mut scene = Scene::start().await;
    put(&mut scene).await;
    delete_files(&scene);
    scene.set_backup("b", &uid(1), "Deleting");
    scene
        .s3
        .set_hook(|_, method, _| (method == "GET" || method == "LIST").then_some(403));
    scene.run();
    scene.rest(Duration::from_millis(500)).await;
    scene.api.remove(&format!("{BACKUPS}/b"));
    let is_asked = |scene: &Scene| {
        let passed = scene.gate.passed();
        let put = passed.iter().rposition(|step| step.contains("S3 PUT"));
        let asked = passed.iter().skip(put.unwrap_or_default());
        asked.filter(|step| step.contains("after S3 GET")).count() > 0
    };
    scene.until("a try", is_asked).await;
    assert!(scene.record("b", &uid(1)).is_some());
    scene.s3.set_hook(|_, _, _| None);
    scene
        .until("the envelope to go", |scene| {
            scene.s3.files(ENVELOPE).is_empty() && scene.record("b", &uid(1)).is_none()
        })
        .await;
}

/// The envelope of a recorded backup, which could not be put at first.
#[tokio::test]
async fn the_envelope_of_a_recorded_backup_is_taken_away() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.set_location(&json!({"accessMode": "ReadOnly"}));
    scene.run();
    scene.until_annotated("b").await;
    scene.kill().await;
    scene.set_location(&json!({}));
    scene.gate.close_at("after S3 PUT");
    scene.run();
    scene.gate.reached().await;
    scene.kill().await;
    scene.gate.open();
    delete(&scene);
    scene.run();
    scene
        .until("the envelope to go", |scene| {
            let status = scene.status("b", &uid(1));
            let is_closed = status["gone"]["how"] == "Unseen";
            is_closed && scene.s3.files(ENVELOPE).is_empty()
        })
        .await;
    let status = scene.status("b", &uid(1));
    assert!(status["pendingUpload"].is_null(), "{status}");
    assert!(status["envelope"].is_string(), "{status}");
}
