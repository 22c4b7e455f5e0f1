//! Two Velero namespaces on one bucket: what somebody vouches for in one of them counts nothing in the
//! other.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Scene, uid};
use crate::names::ADOPT_ANNOTATION;

const OTHER: &str = "/apis/velero.io/v1/namespaces/other/backups/b";

/// Starts a Backup of namespace `velero` whose tarball was written later, and one of namespace `other` with
/// the same files.
async fn start() -> Scene {
    let scene = Scene::start().await;
    let objects = scene.api.all("/api/v1/namespaces/velero").into_iter();
    let locations = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations";
    for (path, object) in objects.chain(scene.api.all(locations)) {
        let path = path.replace("/namespaces/velero/", "/namespaces/other/");
        let text = object.to_string().replace("\"velero\"", "\"other\"");
        scene.api.put(&path, serde_json::from_str(&text).unwrap());
    }
    scene.complete("b", &uid(1));
    let later = Timestamp::now() + SignedDuration::from_secs(100);
    scene.s3.put("backups/b/b.tar.gz", b"swapped", later);
    scene
}

fn put_other(scene: &Scene) {
    let backup = Scene::backup("b", &uid(2), "Completed").to_string();
    let backup = backup.replace("\"velero\"", "\"other\"");
    scene.api.put(OTHER, serde_json::from_str(&backup).unwrap());
}

fn adopt_other(scene: &Scene) {
    let mut backup = scene.api.get(OTHER).unwrap();
    backup["metadata"]["annotations"] = json!({ADOPT_ANNOTATION: "mallory"});
    scene.api.put(OTHER, backup);
}

#[tokio::test]
async fn a_record_is_not_completed_from_another_namespace() {
    let mut scene = start().await;
    scene.run();
    scene.until_state("b", &uid(1), "Unobserved").await;
    put_other(&scene);
    scene.until_state("b", &uid(2), "Unobserved").await;
    adopt_other(&scene);
    scene
        .until("the adoption to be refused", |scene| {
            let why = scene.status("b", &uid(2))["notAdopted"].clone();
            why.as_str()
                .is_some_and(|why| why.contains("namespace velero"))
        })
        .await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Unobserved");
    assert_eq!(scene.checksum("b"), None);
}

#[tokio::test]
async fn a_record_of_another_namespace_is_not_taken_for_the_own_one() {
    let mut scene = start().await;
    let own = scene
        .api
        .get("/apis/velero.io/v1/namespaces/velero/backups/b");
    scene
        .api
        .remove("/apis/velero.io/v1/namespaces/velero/backups/b");
    put_other(&scene);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    adopt_other(&scene);
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.api.put(
        "/apis/velero.io/v1/namespaces/velero/backups/b",
        own.unwrap(),
    );
    scene.rest(Duration::from_millis(500)).await;
    assert_eq!(scene.checksum("b"), None);
    assert_eq!(
        scene.record("b", &uid(1)).unwrap()["spec"]["namespace"],
        "other"
    );
}
