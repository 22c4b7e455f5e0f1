//! The recorder is ended at each request that it sends, before and after it is answered.

use std::time::Duration;

use super::{BACKUPS, RECORDS, Scene, uid};
use crate::integrity::public_key::PublicKey;
use crate::integrity::verification::verify;

/// Fails unless the one Backup is recorded once and in whole.
pub(super) fn is_recorded(scene: &Scene, name: &str, uid: &str) {
    let status = scene.status(name, uid);
    assert_eq!(status["state"], "Recorded", "{status}");
    let checksum = status["checksum"].as_str().unwrap();
    assert_eq!(scene.checksum(name).as_deref(), Some(checksum));
    let envelopes = scene.s3.files(&format!("backups/{name}/velero-trust."));
    assert_eq!(envelopes.len(), 1, "{name}");
    let keys = "/apis/velero-trust.io/v1alpha1/trustedkeys";
    let id = envelopes[0].0.split('.').nth(1).unwrap();
    let key = scene.api.get(&format!("{keys}/velero-trust-{id}")).unwrap();
    let key = PublicKey::from_pem(key["spec"]["publicKey"].as_str().unwrap()).unwrap();
    let json = status["envelope"].as_str().unwrap();
    assert_eq!(envelopes[0].1.content, json.as_bytes());
    let verified = verify(json.as_bytes(), &[&key], Some(name), &[]).unwrap();
    assert_eq!(verified.statement.backup.uid, uid);
    assert_eq!(
        verified.differences.len(),
        2,
        "nothing but what Velero wrote"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_it_goes_on_and_records_once() {
    let uid = uid(1);
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid, "InProgress");
    scene.run();
    scene
        .until("a record", |scene| scene.record("b", &uid).is_some())
        .await;
    scene.complete("b", &uid);
    scene.until_annotated("b").await;
    scene.rest(Duration::from_millis(300)).await;
    is_recorded(&scene, "b", &uid);
    let steps = scene.gate.passed();
    let reads = steps
        .iter()
        .filter(|step| *step == "S3 GET backups/b/b.tar.gz");
    assert_eq!(reads.count(), 1, "{steps:#?}");
    assert_eq!(scene.api.count("POST", RECORDS), 1, "{steps:#?}");
    let annotated = scene.api.count("PATCH", BACKUPS);
    assert_eq!(annotated, 1, "{steps:#?}");

    let kills = (0..steps.len()).map(async |number| {
        let mut scene = Scene::start().await;
        scene.gate.close_after(number);
        scene.set_backup("b", &uid, "InProgress");
        scene.run();
        tokio::select! {
            () = scene.gate.reached() => {}
            () = scene.until("a record", |scene| scene.record("b", &uid).is_some()) => {
                scene.complete("b", &uid);
                scene.gate.reached().await;
            }
        }
        scene.kill().await;
        scene.complete("b", &uid);
        scene.gate.open();
        scene.run();
        scene.until_annotated("b").await;
        is_recorded(&scene, "b", &uid);
    });
    let count = futures::future::join_all(kills).await.len();
    assert!(count > 20, "{count}");
}
