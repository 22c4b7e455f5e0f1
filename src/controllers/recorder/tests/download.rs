//! Buckets to which velero-trust has no rights: Velero signs a URL for the tarball.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{BACKUPS, EVENTS, RECORDS, Scene, uid};
use crate::digest::Sha256;
use crate::names::{ADOPT_ANNOTATION, CHECKSUM_ANNOTATION, MANIFEST_ANNOTATION};

const REQUESTS: &str = "/apis/velero.io/v1/namespaces/velero/downloadrequests";
const TARBALL: &str = "backups/b/b.tar.gz";

/// What no log and no object may tell.
const SIGNATURE: &str = "X-Amz-Signature=0123456789abcdef";

impl Scene {
    /// Refuses everything to velero-trust's own credentials with this status. What has a signed URL is read.
    fn refuse_store(&self, code: u16) {
        self.s3
            .set_hook(move |_, method, _| (method != "PRESIGNED").then_some(code));
    }

    /// Lets Velero answer each DownloadRequest with the URL that `url` makes of that of the tarball.
    fn answer_downloads(&self, url: impl Fn(&str) -> String + Send + Sync + 'static) {
        let (api, tarball) = (
            self.api.clone(),
            format!("{}/bucket/{TARBALL}", self.s3.url),
        );
        self.api.set_hook(move |method, path| {
            if method == "GET"
                && path.starts_with(REQUESTS)
                && let Some(mut request) = api.get(path)
            {
                let url = url(&format!("{tarball}?X-Amz-Expires=600&{SIGNATURE}"));
                request["status"] = json!({"phase": "Processed", "downloadURL": url});
                api.put(path, request);
            }
            None
        });
    }

    /// Runs a recorder that sees the Backup `b` before it is complete.
    async fn observing() -> Self {
        let mut scene = Self::start().await;
        scene.asks_velero = true;
        scene.answer_downloads(str::to_owned);
        scene.set_backup("b", &uid(1), "InProgress");
        scene.run();
        scene
            .until("its record", |scene| scene.record("b", &uid(1)).is_some())
            .await;
        scene
    }

    fn requested(&self) -> usize {
        self.api.count("POST", REQUESTS)
    }

    fn annotation(&self, name: &str) -> Value {
        let backup = self.api.get(&format!("{BACKUPS}/b")).unwrap();
        backup["metadata"]["annotations"][name].clone()
    }
}

fn checksum(content: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(content))
}

#[tokio::test]
async fn only_the_tarball_is_recorded_where_velero_alone_has_rights() {
    let scene = Scene::observing().await;
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    let expected = checksum(b"tarball");
    scene
        .until("the annotation", |scene| {
            scene.checksum("b").as_ref() == Some(&expected)
        })
        .await;
    let status = scene.status("b", &uid(1));
    let fields = ["level", "reason", "checksum", "files", "bytes"].map(|name| &status[name]);
    let expected = ["tarballOnly", "AccessDenied", &expected].map(Value::from);
    let [level, reason, sum] = &expected;
    assert_eq!(
        fields,
        [level, reason, sum, &json!(1), &json!(7)],
        "{status}"
    );
    assert_eq!(status["location"]["bucket"], "bucket");
    assert_eq!(
        (&status["envelope"], &status["manifest"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(scene.annotation(MANIFEST_ANNOTATION), Value::Null);
    // It is asked once, and what was asked with is gone.
    assert_eq!(
        (scene.requested(), scene.api.all(REQUESTS)),
        (1, Vec::new())
    );
    scene
        .until("the Event", |scene| {
            let events = scene.api.all(EVENTS);
            events
                .iter()
                .any(|(_, event)| event["reason"] == "BackupTarballOnly")
        })
        .await;
    let told = [
        scene.api.all(RECORDS),
        scene.api.all(EVENTS),
        scene.api.all(BACKUPS),
    ];
    let told = format!("{told:?}");
    assert!(!told.contains("X-Amz"), "{told}");
}

#[tokio::test]
async fn the_first_record_stays_when_the_recorder_begins_anew() {
    let mut scene = Scene::observing().await;
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    scene.kill().await;
    scene.s3.put(TARBALL, b"changed", Timestamp::now());
    let before = scene.status("b", &uid(1));
    scene.run();
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.status("b", &uid(1)), before);
    assert_eq!(scene.requested(), 1);
}

#[tokio::test]
async fn velero_is_not_asked_for_any_other_trouble() {
    for code in [404, 503] {
        let scene = Scene::observing().await;
        scene.refuse_store(code);
        scene.complete("b", &uid(1));
        scene.until_state("b", &uid(1), "Unreadable").await;
        assert_eq!(scene.requested(), 0, "{code}");
    }
    // Where the bucket can be read, it is.
    let scene = Scene::observing().await;
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(scene.requested(), 0);
}

#[tokio::test]
async fn credentials_that_velero_alone_can_use_are_a_lack_of_rights() {
    let scene = Scene::observing().await;
    // [default], sso_session=a
    let keys = json!({"data": {"cloud": "W2RlZmF1bHRdCnNzb19zZXNzaW9uPWEK"}});
    scene
        .api
        .put("/api/v1/namespaces/velero/secrets/cloud", keys);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    assert_eq!(scene.status("b", &uid(1))["reason"], "NoCredentials");
}

/// Of a Backup that came by sync, only velero-backup.json tells that.
#[tokio::test]
async fn what_was_not_seen_before_it_was_complete_is_not_recorded_by_its_tarball() {
    let mut scene = Scene::start().await;
    scene.asks_velero = true;
    scene.answer_downloads(str::to_owned);
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Unreadable").await;
    assert_eq!(scene.status("b", &uid(1))["reason"], "AccessDenied");
    assert_eq!(scene.requested(), 0);
}

#[tokio::test]
async fn a_tarball_that_was_written_later_is_not_recorded() {
    let scene = Scene::observing().await;
    scene.refuse_store(403);
    scene.s3.put(
        TARBALL,
        b"tarball",
        Timestamp::now() + SignedDuration::from_hours(1),
    );
    scene.set_backup("b", &uid(1), "Completed");
    scene.until_unobserved("b", &uid(1), "WrittenLater").await;
    assert_eq!(scene.checksum("b"), None);
    assert_eq!(scene.api.all(REQUESTS), Vec::new());
}

#[tokio::test]
async fn a_url_that_leads_elsewhere_is_not_read() {
    let elsewhere = |from: &'static str, to: &'static str| move |url: &str| url.replace(from, to);
    for (url, why) in [
        (
            elsewhere("127.0.0.1", "localhost"),
            "the signed URL is of localhost",
        ),
        (elsewhere("b.tar.gz", "b-logs.gz"), "not that of the file"),
        (elsewhere("?", "?versionId=1&"), "the parameter `versionId`"),
    ] {
        let scene = Scene::observing().await;
        scene.answer_downloads(url);
        scene.refuse_store(403);
        scene.complete("b", &uid(1));
        scene.until_state("b", &uid(1), "Unreadable").await;
        let status = scene.status("b", &uid(1));
        let message = status["message"].as_str().unwrap();
        assert!(
            message.contains(why) && !message.contains("X-Amz"),
            "{message}"
        );
        assert_eq!(status["reason"], "AccessDenied");
        let passed = scene.gate.passed();
        assert!(
            !passed.iter().any(|one| one.contains("PRESIGNED")),
            "{passed:#?}"
        );
        assert_eq!(scene.api.all(REQUESTS), Vec::new());
    }
}

#[tokio::test]
async fn a_request_that_somebody_else_made_is_replaced() {
    let scene = Scene::observing().await;
    let name = format!("{REQUESTS}/velero-trust-{}", uid(1));
    let target = json!({"kind": "BackupContents", "name": "other"});
    scene.api.put(
        &name,
        json!({"metadata": {"uid": "other"}, "spec": {"target": target}}),
    );
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    assert_eq!(scene.status("b", &uid(1))["checksum"], checksum(b"tarball"));
    assert_eq!(scene.api.all(REQUESTS), Vec::new());
}

#[tokio::test]
async fn a_request_that_is_changed_meanwhile_is_not_believed() {
    let scene = Scene::observing().await;
    let (api, s3) = (scene.api.clone(), scene.s3.url.clone());
    scene.api.set_hook(move |method, path| {
        if method == "GET"
            && path.starts_with(REQUESTS)
            && let Some(mut request) = api.get(path)
        {
            request["spec"]["target"]["name"] = "other".into();
            let url = format!("{s3}/bucket/{TARBALL}?{SIGNATURE}");
            request["status"] = json!({"phase": "Processed", "downloadURL": url});
            api.put(path, request);
        }
        None
    });
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "Unreadable").await;
    let message = scene.status("b", &uid(1))["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.contains("somebody took it away, or changed it"),
        "{message}"
    );
}

#[tokio::test]
async fn a_restore_waits_for_a_reading_of_the_tarball() {
    let scene = Scene::observing().await;
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    scene.s3.put(TARBALL, b"changed", Timestamp::now());
    scene.wait(&["r"], &[]);
    scene.until_read_for(&["r"]).await;
    let reading = scene.verification()["reading"].clone();
    assert_eq!(reading["listing"], Value::Null);
    let files = reading["files"].as_array().unwrap();
    assert_eq!(files.len(), 1);
    let digest = files[0]["sha256"].as_str().unwrap();
    assert_eq!(format!("sha256:{digest}"), checksum(b"changed"));
    let status = scene.status("b", &uid(1));
    assert_eq!(status["checksum"], checksum(b"tarball"));
    assert_eq!(
        (scene.requested(), scene.api.all(REQUESTS)),
        (2, Vec::new())
    );
}

/// What is signed lists all files, so that the tarball alone would say nothing.
#[tokio::test]
async fn what_is_signed_is_not_compared_with_the_tarball_alone() {
    let mut scene = Scene::start().await;
    scene.asks_velero = true;
    scene.answer_downloads(str::to_owned);
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.refuse_store(403);
    scene.wait(&["r"], &[]);
    scene.until_failure("AccessDenied").await;
    assert_eq!(scene.requested(), 0);
}

/// Completes `b`, for which jane vouches after its record is there, and lets the store refuse it.
async fn adopted(content: &'static [u8]) -> Scene {
    let scene = Scene::observing().await;
    scene.refuse_store(403);
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "TarballOnly").await;
    scene.until_annotated("b").await;
    scene.s3.put(TARBALL, content, Timestamp::now());
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["annotations"][ADOPT_ANNOTATION] = "jane".into();
    scene.api.put(&path, backup);
    scene
        .until("the end of the adoption", |scene| {
            scene.annotation(ADOPT_ANNOTATION).is_null()
        })
        .await;
    scene
}

#[tokio::test]
async fn a_user_vouches_for_the_recorded_tarball_and_for_no_other() {
    let scene = adopted(b"tarball").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(
        (&status["state"], &status["adoptedBy"]),
        (&json!("TarballOnly"), &json!("jane"))
    );
    let scene = adopted(b"another").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["checksum"], checksum(b"tarball"));
    let why = status["notAdopted"].as_str().unwrap();
    assert!(why.contains("not the one that was recorded"), "{why}");
    assert_eq!(scene.annotation(CHECKSUM_ANNOTATION), checksum(b"tarball"));
}

#[tokio::test]
async fn a_backup_that_goes_away_meanwhile_has_no_record() {
    let scene = Scene::observing().await;
    let (api, count) = (scene.api.clone(), Arc::new(AtomicUsize::default()));
    let counted = Arc::clone(&count);
    scene.s3.set_hook(move |_, method, _| {
        if method == "PRESIGNED" {
            counted.fetch_add(1, Ordering::Relaxed);
            api.remove(&format!("{BACKUPS}/b"));
            return None;
        }
        Some(403)
    });
    scene.complete("b", &uid(1));
    scene
        .until("the end", |scene| scene.record("b", &uid(1)).is_none())
        .await;
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(scene.api.all(REQUESTS), Vec::new());
}
