//! The key that signs: which type it has, and since when this cluster has had one.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kills::is_recorded;
use super::{BACKUPS, RECORDS, Scene, uid};
use crate::integrity::envelope::Envelope;
use crate::integrity::public_key::Algorithm;
use crate::names::{ADOPT_ANNOTATION, CHECKSUM_ANNOTATION};
use crate::signing_key::SigningKey;

const SECRET: &str = "/api/v1/namespaces/velero-trust/secrets/velero-trust-signing-key";
const KEYS: &str = "/apis/velero-trust.io/v1alpha1/trustedkeys";

/// Returns the name of the algorithm of the only TrustedKey.
fn algorithm(scene: &Scene) -> String {
    let keys = scene.api.all(KEYS);
    assert_eq!(keys.len(), 1, "{keys:?}");
    let algorithm = keys[0].1["spec"]["algorithm"].as_str();
    algorithm.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_key_is_made_of_the_type_that_is_asked_for_and_one_of_another_type_is_used() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let logged = || std::fs::read_to_string(log.path()).unwrap();
    for (first, second, made, told) in [
        (
            Algorithm::Ed25519,
            Algorithm::EcdsaP256,
            "Ed25519",
            "is of type Ed25519, not ECDSA-P256",
        ),
        (
            Algorithm::EcdsaP256,
            Algorithm::Ed25519,
            "ECDSA-P256",
            "is of type ECDSA-P256, not Ed25519",
        ),
    ] {
        let mut scene = Scene::start().await;
        scene.complete("b", &uid(1));
        scene.run_to_sign_with(first, true);
        scene.until_annotated("b").await;
        is_recorded(&scene, "b", &uid(1));
        assert_eq!(algorithm(&scene), made);
        assert!(!logged().contains(told), "{}", logged());
        scene.kill().await;
        let secret = scene.api.get(SECRET);
        scene.complete("c", &uid(2));
        scene.run_to_sign_with(second, true);
        scene.until_annotated("c").await;
        is_recorded(&scene, "c", &uid(2));
        assert_eq!(algorithm(&scene), made);
        assert_eq!(scene.api.get(SECRET), secret);
        assert!(logged().contains(told), "{}", logged());
    }
}

/// A Backup was made while the first key signed, which is lost. Its checksum is not one that a person set
/// before the installation.
#[tokio::test]
async fn a_new_key_excuses_no_checksum_of_the_time_of_the_old_one() {
    let mut scene = Scene::start().await;
    let set_made = |scene: &Scene, (path, mut key): (String, Value), time: &str| {
        key["metadata"]["creationTimestamp"] = json!(time);
        scene.api.put(&path, key);
    };
    let keys_are_made = async |scene: &mut Scene, count: usize| {
        scene.run();
        scene
            .until("a key", |scene| scene.api.all(KEYS).len() == count)
            .await;
        scene.kill().await;
    };
    keys_are_made(&mut scene, 1).await;
    let [first] = <[_; 1]>::try_from(scene.api.all(KEYS)).unwrap();
    set_made(&scene, first.clone(), "2026-01-02T00:00:00Z");
    scene.api.remove(SECRET);
    keys_are_made(&mut scene, 2).await;
    let mut keys = scene.api.all(KEYS).into_iter();
    let second = keys.find(|(path, _)| *path != first.0).unwrap();
    set_made(&scene, second, "2026-01-04T00:00:00Z");

    scene.complete("b", &uid(1));
    scene.set_backup("b", &uid(2), "Completed");
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["creationTimestamp"] = json!("2026-01-03T00:00:00Z");
    backup["metadata"]["annotations"][CHECKSUM_ANNOTATION] = json!("x");
    scene.api.put(&path, backup);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    assert_eq!(scene.checksum("b"), None);
}

/// Lets another key sign, as `velero-trust keys rotate` does, and sets the state of the first one. Returns the path of
/// that, and the new key.
fn rotate(scene: &Scene, state: &str) -> (String, SigningKey) {
    let (path, _) = scene.api.first(KEYS).unwrap();
    let mut secret = scene.api.get(SECRET).unwrap();
    let new = SigningKey::generate(Algorithm::Ed25519).unwrap();
    secret["data"]["key.pem"] = json!(STANDARD.encode(new.to_pem()));
    scene.api.put(SECRET, secret);
    set_state(scene, &path, state);
    (path, new)
}

/// Asserts that the envelope in this status of a record was signed with `key`.
fn is_signed_by(key: &SigningKey, status: &Value) {
    let envelope = status["envelope"].as_str().unwrap();
    let envelope = Envelope::parse(envelope.as_bytes()).unwrap();
    assert!(envelope.verify(&[key.public()]).is_ok());
}

fn set_state(scene: &Scene, path: &str, state: &str) {
    let mut key = scene.api.get(path).unwrap();
    key["spec"]["state"] = json!(state);
    scene.api.put(path, key);
}

#[tokio::test]
async fn a_key_that_is_rotated_signs_without_a_restart() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let (_, new) = rotate(&scene, "VerifyOnly");

    scene.complete("c", &uid(2));
    scene.until_annotated("c").await;
    is_recorded(&scene, "c", &uid(2));
    is_signed_by(&new, &scene.status("c", &uid(2)));
    let keys = scene.api.all(KEYS);
    assert_eq!(keys.len(), 2, "{keys:?}");
    is_recorded(&scene, "b", &uid(1));
}

#[tokio::test]
async fn what_a_revoked_key_signed_closes_until_a_user_vouches_for_it() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_annotated("b").await;
    let (_, new) = rotate(&scene, "Revoked");
    scene.until_state("b", &uid(1), "Unobserved").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["reason"], "KeyRevoked", "{status}");
    assert_eq!(scene.checksum("b"), None);

    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["annotations"][ADOPT_ANNOTATION] = json!("jane");
    scene.api.put(&path, backup);
    scene.until_state("b", &uid(1), "Recorded").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["adoptedBy"], "jane", "{status}");
    assert_eq!(status["reason"], Value::Null, "{status}");
    is_signed_by(&new, &status);
}

#[tokio::test]
async fn what_a_revoked_key_signed_opens_again_if_the_key_counts_again() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_annotated("b").await;
    let recorded = scene.status("b", &uid(1));
    let (path, _) = rotate(&scene, "Revoked");
    scene.until_state("b", &uid(1), "Unobserved").await;
    set_state(&scene, &path, "VerifyOnly");
    scene.until_annotated("b").await;
    assert_eq!(scene.status("b", &uid(1)), recorded);
    let tarball = |step: &&String| *step == "S3 GET backups/b/b.tar.gz";
    assert_eq!(scene.gate.passed().iter().filter(tarball).count(), 1);
}

/// When it was recorded here is known, also of a Backup that Velero made from the bucket anew since.
#[tokio::test]
async fn what_was_recorded_before_a_key_was_stolen_opens_again_for_a_backup_that_is_synced_anew() {
    let scene = Scene::recorded().await;
    let path = format!("{RECORDS}/b.{}", uid(1));
    let mut record = scene.api.get(&path).unwrap();
    let first = "2026-02-01T00:00:00Z";
    record["status"]["recordedAt"] = json!(first);
    scene.api.put(&path, record);
    let (key, _) = rotate(&scene, "Revoked");
    scene.until_unobserved("b", &uid(1), "KeyRevoked").await;
    scene.set_backup("b", &uid(2), "Completed");
    scene.until_unobserved("b", &uid(2), "KeyRevoked").await;

    let mut revoked = scene.api.get(&key).unwrap();
    revoked["spec"]["revokedAt"] = json!("2026-03-01T00:00:00Z");
    scene.api.put(&key, revoked);
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.until_annotated("b").await;
    assert_eq!(scene.status("b", &uid(1))["recordedAt"], first);
}

/// Git brings it back.
#[tokio::test]
async fn what_this_cluster_recorded_stays_while_its_trustedkey_is_away() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_annotated("b").await;
    let (path, _) = rotate(&scene, "VerifyOnly");
    scene.complete("c", &uid(2));
    scene.until_annotated("c").await;
    scene.api.remove(&path);
    // It is judged after the key went.
    scene.complete("d", &uid(3));
    scene.until_annotated("d").await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Recorded");
}
