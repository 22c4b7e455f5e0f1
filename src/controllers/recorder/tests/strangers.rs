//! Signed lists beside a backup, of clusters whose keys nobody trusts here.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::import::{DOCUMENT, KEYS, Other, requests, sync, sync_named};
use super::{EVENTS, Scene, uid};
use crate::digest::Sha256;
use crate::integrity::files;
use crate::integrity::public_key::Algorithm;
use crate::signing_key::SigningKey;

fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::Ed25519).unwrap()
}

/// Trusts a key that signed nothing. Without a key of another cluster, no list is looked at.
fn trust_another(scene: &Scene, name: &str) {
    let key = json!({
        "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
        "metadata": {"name": name},
        "spec": {"publicKey": new_key().public_pem()},
    });
    scene.api.put(&format!("{KEYS}/{name}"), key);
}

/// Starts a recorder that judged the backup `b`, which another cluster signed with a key that nobody trusts here.
async fn judged() -> (Scene, Other) {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    trust_another(&scene, "another");
    sync(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    (scene, other)
}

/// Who signed it is not known before the list is read.
#[tokio::test]
async fn a_list_that_cannot_be_read_at_the_moment_is_no_judgement() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    trust_another(&scene, "another");
    sync(&scene);
    scene
        .s3
        .set_hook(|_, method, key| (method == "GET" && key.ends_with(".dsse.json")).then_some(503));
    scene.run();
    scene.until_state("b", &uid(2), "Unreadable").await;
    scene.s3.set_hook(|_, _, _| None);
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    let signers = &scene.status("b", &uid(2))["signers"];
    assert_eq!(signers[0]["keyId"], other.id(), "{signers}");
}

/// Each needs room in the record, and anybody who may write the bucket can name as many as they like.
#[tokio::test]
async fn of_many_signers_some_are_told() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    for list in 0..3 {
        let mut envelope: Value =
            serde_json::from_str(&other.envelope().to_json().unwrap()).unwrap();
        let signatures = (0..8).map(|signer| {
            let id = Sha256::of(format!("{list} {signer}").as_bytes()).to_string();
            json!({"keyid": id, "sig": "AAAA"})
        });
        envelope["signatures"] = signatures.collect();
        let file = files::envelope(&new_key().public().id().to_string());
        let (path, content) = (format!("backups/b/{file}"), envelope.to_string());
        scene.s3.put(&path, content.as_bytes(), Timestamp::now());
    }
    trust_another(&scene, "another");
    sync(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    let signers = scene.status("b", &uid(2))["signers"].clone();
    assert_eq!(signers.as_array().map(Vec::len), Some(16), "{signers}");
}

/// That the store is down says nothing, neither for the backup nor against it.
#[tokio::test]
async fn a_judgement_stays_while_the_store_cannot_be_read_for_other_keys() {
    let (scene, other) = judged().await;
    let message = scene.status("b", &uid(2))["message"].clone();
    scene.s3.set_hook(|_, _, _| Some(403));
    let before = requests(&scene).len();
    other.trust(&scene, &json!({}));
    scene
        .until("a look after the one that failed", |scene| {
            let document = format!("S3 GET {DOCUMENT}");
            let since = requests(scene).split_off(before);
            since.iter().filter(|step| **step == document).count() > 1
        })
        .await;
    let status = scene.status("b", &uid(2));
    assert_eq!(status["state"], "Unobserved", "{status}");
    assert_eq!(status["message"], message);
}

#[tokio::test]
async fn the_same_judgement_by_other_keys_is_told_once() {
    let (scene, _) = judged().await;
    let trust = |scene: &Scene| scene.status("b", &uid(2))["trust"].clone();
    let before = trust(&scene);
    assert!(before.is_string());
    trust_another(&scene, "a-third");
    scene
        .until("the other keys", |scene| trust(scene) != before)
        .await;
    scene.rest(Duration::from_millis(300)).await;
    let events = scene.api.all(EVENTS).into_iter();
    let told = events.filter(|(_, event)| event["reason"] == "BackupUnobserved");
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    // An Event that is sent again is counted.
    assert_eq!(told[0].1["series"], Value::Null);
}

/// Of 5,000 backups, each would cost twice as many requests.
#[tokio::test]
async fn a_key_that_signed_nothing_is_not_asked_for_each_backup() {
    let mut scene = Scene::start().await;
    let key = Arc::new(new_key());
    for (name, number) in [("b-1", 1), ("b-2", 2)] {
        let other = Other::named(&scene, name, number, Arc::clone(&key));
        other.sign(&scene);
        other.trust(&scene, &json!({}));
    }
    // It is the first one.
    trust_another(&scene, "another");
    scene.run();
    sync_named(&scene, "b-1", 101);
    scene.until_state("b-1", &uid(1), "Recorded").await;
    sync_named(&scene, "b-2", 102);
    scene.until_state("b-2", &uid(2), "Recorded").await;
    let requests = requests(&scene).into_iter();
    let of_second: Vec<_> = requests.filter(|step| step.contains("b-2")).collect();
    assert_eq!(of_second.len(), 2, "{of_second:#?}");
}

/// Another cluster of the bucket adopted the backup.
#[tokio::test]
async fn a_list_of_another_cluster_changes_nothing_of_what_is_read_for_restores() {
    let scene = Scene::recorded().await;
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let before = scene.verification()["reading"].clone();
    let file = files::envelope(&new_key().public().id().to_string());
    let path = format!("backups/b/{file}");
    scene.s3.put(&path, b"{}", Timestamp::now());
    scene.wait(&["1"], &["0"]);
    scene.until_read_for(&["0", "1"]).await;
    let after = scene.verification()["reading"].clone();
    for field in ["listing", "files", "unread", "lists"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}
