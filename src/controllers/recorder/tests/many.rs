//! What many records cost.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{BACKUPS, RECORDS, Scene, uid};
use crate::digest::Sha256;
use crate::names;

/// Sets Backups that are recorded and annotated, with their records, and at last an older one that is
/// not annotated yet.
fn set(scene: &Scene, count: usize) {
    let digest = Sha256::of(b"x").prefixed();
    for number in 1..=count {
        let name = if number == count {
            "a".to_owned()
        } else {
            format!("daily-{number:06}")
        };
        let record = json!({
            "spec": {"namespace": "velero", "backup": name, "uid": uid(number), "observed": true},
            "status": {
                "state": "Recorded", "checksum": digest, "manifest": digest,
                "recordedAt": Timestamp::now().to_string(),
            },
        });
        let path = format!("{RECORDS}/{name}.{}", uid(number));
        scene.api.put(&path, record);
        let mut backup = Scene::backup(&name, &uid(number), "Completed");
        if number < count {
            backup["metadata"]["annotations"] = json!({
                names::CHECKSUM_ANNOTATION: digest, names::MANIFEST_ANNOTATION: digest,
            });
        }
        scene.api.put(&format!("{BACKUPS}/{name}"), backup);
    }
}

/// Returns the CPU time of this thread in milliseconds.
fn cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1_000_000
}

/// Returns the CPU time of a change of each of so many records and Backups, in milliseconds, with that
/// of the API server.
async fn cost(count: usize) -> u64 {
    let mut scene = Scene::start().await;
    set(&scene, count);
    scene.run();
    let is_annotated = |scene: &Scene| scene.checksum("a").is_some();
    scene.until("the annotation", is_annotated).await;
    set(&scene, count);
    let before = cpu();
    scene.until("the annotation", is_annotated).await;
    cpu() - before
}

#[tokio::test]
async fn each_change_costs_the_same_however_many_records_there_are() {
    let (few, many) = (cost(200).await, cost(2_000).await);
    // Ten times as much, if not for what is shared; a look at all records for each makes it a hundred.
    assert!(many <= 30 * few.max(5), "{few} ms, {many} ms");
}
