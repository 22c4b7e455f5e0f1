//! The Secret with the key that signs goes away.

use std::time::Duration;

use serde_json::json;

use super::{Scene, uid};

const SECRET: &str = "/api/v1/namespaces/velero-trust/secrets/velero-trust-signing-key";
const KEYS: &str = "/apis/velero-trust.io/v1alpha1/trustedkeys";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/velero-trust/events";

/// Starts the recorder, which makes a key, and ends it.
async fn start_once(scene: &mut Scene, number: usize) {
    let name = format!("b{number}");
    scene.complete(&name, &uid(number));
    scene.run();
    scene.until_state(&name, &uid(number), "Recorded").await;
    scene.kill().await;
}

#[tokio::test]
async fn a_lost_key_is_told_by_an_event() {
    let mut scene = Scene::start().await;
    start_once(&mut scene, 1).await;
    let (old, _) = scene.api.first(KEYS).unwrap();
    assert!(scene.api.all(EVENTS).is_empty(), "the first key is no news");
    start_once(&mut scene, 2).await;
    assert!(scene.api.all(EVENTS).is_empty(), "nothing was lost");
    scene.api.remove(SECRET);
    start_once(&mut scene, 3).await;
    let events = scene.api.all(EVENTS);
    assert_eq!(events.len(), 1, "{events:?}");
    let (_, event) = &events[0];
    assert_eq!(event["reason"], "SigningKeyLost", "{event}");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["regarding"]["kind"], "Deployment");
    let note = event["note"].as_str().unwrap();
    let old = old.rsplit('/').next().unwrap();
    assert!(note.contains(old), "{note}");
    assert!(note.contains("keys export"), "{note}");
}

/// As the documentation says.
#[tokio::test]
async fn a_key_that_is_changed_on_purpose_was_not_lost() {
    let mut scene = Scene::start().await;
    start_once(&mut scene, 1).await;
    let (old, mut key) = scene.api.first(KEYS).unwrap();
    key["spec"]["state"] = json!("VerifyOnly");
    scene.api.put(&old, key);
    scene.api.remove(SECRET);
    start_once(&mut scene, 2).await;
    scene.rest(Duration::from_millis(200)).await;
    assert!(scene.api.all(EVENTS).is_empty());
}

/// A key of somebody else, whose signatures count here, is none that was lost.
#[tokio::test]
async fn the_key_of_another_cluster_was_not_lost() {
    let mut scene = Scene::start().await;
    let other = json!({"metadata": {}, "spec": {"publicKey": "x", "state": "Active"}});
    scene.api.put(&format!("{KEYS}/other"), other);
    start_once(&mut scene, 1).await;
    scene.rest(Duration::from_millis(200)).await;
    assert!(scene.api.all(EVENTS).is_empty());
}
