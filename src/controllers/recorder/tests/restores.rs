//! Restores that wait for the files of a backup to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::api::Act;
use super::{RECORDS, Scene, uid};
use crate::controllers::channels::{WaitingByBackup, WaitingRestores};
use crate::decision::Key;

const KEYS: &str = "/apis/velero-trust.io/v1alpha1/trustedkeys";
const TARBALL: &str = "S3 GET backups/b/b.tar.gz";

/// Returns what tells that these Restores wait for the Backup `b`, and the others do not need it.
fn waiting(unread: &[&str], others: &[&str]) -> WaitingByBackup {
    let set =
        |uids: &[&str]| -> BTreeSet<String> { uids.iter().map(ToString::to_string).collect() };
    let restores = WaitingRestores {
        unread: set(unread),
        others: set(others),
        stale: Vec::new(),
    };
    let all = BTreeMap::from([(Key::new("velero", "b"), restores)]);
    Arc::new(all)
}

fn nobody() -> WaitingByBackup {
    Arc::default()
}

impl Scene {
    pub(super) fn wait(&self, unread: &[&str], others: &[&str]) {
        self.waiting.send_replace(Some(waiting(unread, others)));
    }

    /// Returns what the record of the Backup `b` says about Restores.
    pub(super) fn verification(&self) -> Value {
        self.status("b", &uid(1))["verification"].clone()
    }

    /// Returns the UIDs of the Restores for which the last reading counts.
    pub(super) fn read_for(&self) -> Vec<String> {
        let restores = self.verification()["reading"]["restores"].clone();
        serde_json::from_value(restores).unwrap_or_default()
    }

    pub(super) async fn until_read_for(&self, uids: &[&str]) {
        let what = format!("a reading for {uids:?}");
        self.until(&what, |scene| scene.read_for() == uids).await;
    }

    pub(super) async fn until_failure(&self, reason: &str) -> Value {
        let what = format!("the failure {reason}");
        self.until(&what, |scene| {
            scene.verification()["failure"]["reason"] == reason
        })
        .await;
        self.verification()["failure"].clone()
    }

    fn tarballs(&self) -> usize {
        let passed = self.gate.passed();
        passed.iter().filter(|passed| *passed == TARBALL).count()
    }

    /// Runs a recorder that has recorded the Backup `b`.
    pub(super) async fn recorded() -> Self {
        let mut scene = Self::start().await;
        scene.complete("b", &uid(1));
        scene.run();
        scene.until_annotated("b").await;
        scene
    }
}

#[tokio::test]
async fn one_reading_counts_for_all_restores_that_wait_when_it_begins() {
    let scene = Scene::recorded().await;
    assert_eq!(scene.tarballs(), 1);
    let ten = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    scene.wait(&ten[..7], &ten[7..]);
    scene.until_read_for(&ten).await;
    let status = scene.status("b", &uid(1));
    let reading = &status["verification"]["reading"];
    let tarball = &reading["files"][0];
    assert_eq!(
        (&tarball["name"], &tarball["size"]),
        (&json!("b.tar.gz"), &json!(7))
    );
    let digest = tarball["sha256"].as_str().unwrap();
    assert_eq!(status["checksum"], format!("sha256:{digest}"));
    assert_eq!(reading["files"].as_array().unwrap().len(), 2);
    let list = &reading["lists"][0];
    assert_eq!(list["backup"]["uid"], uid(1));
    let manifest = list["sha256"].as_str().unwrap();
    assert_eq!(status["manifest"], format!("sha256:{manifest}"));
    assert_eq!(
        (&reading["provider"], &reading["bucket"]),
        (&json!("aws"), &json!("bucket"))
    );
    assert_eq!(status["verification"]["progress"], Value::Null);
    // Those that need no reading any more.
    scene.wait(&[], &ten);
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.tarballs(), 2, "{:#?}", scene.gate.passed());
}

#[tokio::test]
async fn restores_that_come_while_files_are_read_wait_for_the_next_reading() {
    let scene = Scene::recorded().await;
    let sender = scene.waiting.clone();
    scene.s3.set_hook(move |_, method, key| {
        if method == "GET" && key.ends_with("/b.tar.gz") {
            sender.send_replace(Some(waiting(&["0", "1", "2"], &[])));
        }
        None
    });
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0", "1", "2"]).await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.tarballs(), 3, "{:#?}", scene.gate.passed());
}

/// Another cluster put it, with a key that this one may not use.
#[tokio::test]
async fn an_envelope_that_may_not_be_read_holds_up_no_restore() {
    let scene = Scene::recorded().await;
    let name = "backups/b/velero-trust.0123456789abcdef.dsse.json";
    scene.s3.put(name, b"{}", Timestamp::now());
    scene.s3.set_hook(move |_, method, key| {
        (method == "GET" && key.ends_with("0123456789abcdef.dsse.json")).then_some(403)
    });
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let lists = scene.verification()["reading"]["lists"].clone();
    assert_eq!(lists.as_array().map(Vec::len), Some(1), "{lists}");
}

/// The bucket lists something else at the gate.
#[tokio::test]
async fn files_are_read_anew_after_they_changed() {
    let scene = Scene::recorded().await;
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let first = scene.verification()["reading"].clone();
    let now = Timestamp::now();
    scene.s3.put("backups/b/b.tar.gz", b"swapped", now);
    let stale = serde_json::from_value::<crate::kubernetes::crds::RecordedReading>(first.clone());
    let mut restores = waiting(&["0"], &[]);
    let all = Arc::get_mut(&mut restores).unwrap();
    all.values_mut().next().unwrap().stale = vec![stale.unwrap().mark()];
    scene.waiting.send_replace(Some(restores));
    scene
        .until("another reading", |scene| {
            let reading = scene.verification()["reading"].clone();
            reading["listing"] != first["listing"] && reading["files"] != first["files"]
        })
        .await;
    let reading = scene.verification()["reading"].clone();
    assert_eq!(reading["lists"], Value::Null, "none lists these files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_request_the_reading_goes_on() {
    let scene = Scene::recorded().await;
    scene.rest(Duration::from_millis(300)).await;
    let before = scene.gate.passed().len();
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let count = scene.gate.passed().len() - before;
    assert!(count >= 10, "{count}");
    let kills = (0..count).map(async |number| {
        let mut scene = Scene::recorded().await;
        scene.rest(Duration::from_millis(300)).await;
        scene.gate.close_after(scene.gate.passed().len() + number);
        scene.wait(&["0"], &[]);
        scene.gate.reached().await;
        scene.kill().await;
        scene.gate.open();
        scene.run();
        scene.until_read_for(&["0"]).await;
        scene
            .until("the end of the progress", |scene| {
                scene.verification()["progress"].is_null()
            })
            .await;
    });
    futures::future::join_all(kills).await;
}

#[tokio::test]
async fn a_store_that_is_down_says_nothing_about_the_files() {
    let scene = Scene::recorded().await;
    scene.s3.set_hook(|_, _, _| Some(503));
    scene.wait(&["0"], &[]);
    let failure = scene.until_failure("ServerError").await;
    assert_eq!(failure["class"], "Passing");
    assert_eq!(scene.status("b", &uid(1))["state"], "Recorded");
    scene.s3.set_hook(|_, _, _| None);
    // Another Restore is a reason to try at once.
    scene.wait(&["0", "1"], &[]);
    scene.until_read_for(&["0", "1"]).await;
    assert_eq!(scene.verification()["failure"], Value::Null);
}

#[tokio::test]
async fn a_failure_that_lasts_keeps_its_beginning_until_no_restore_waits() {
    let scene = Scene::recorded().await;
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    scene.s3.set_hook(move |_, method, _| {
        counted.fetch_add(usize::from(method == "LIST"), Ordering::Relaxed);
        Some(403)
    });
    scene.wait(&["0"], &[]);
    let failure = scene.until_failure("AccessDenied").await;
    assert_eq!(failure["class"], "Lasting", "{failure}");
    // As if it was some time ago.
    let path = format!("{RECORDS}/b.{}", uid(1));
    let mut record = scene.api.get(&path).unwrap();
    record["status"]["verification"]["failure"]["since"] = json!("2026-01-01T00:00:00Z");
    scene.api.put(&path, record);
    let before = lists.load(Ordering::Relaxed);
    scene.wait(&["0", "1"], &[]);
    scene
        .until("another try", |_| lists.load(Ordering::Relaxed) > before)
        .await;
    scene.rest(Duration::from_millis(300)).await;
    let failure = scene.verification()["failure"].clone();
    assert_eq!(failure["since"], "2026-01-01T00:00:00Z", "{failure}");
    scene.waiting.send_replace(Some(nobody()));
    scene
        .until("the end of the failure", |scene| {
            scene.verification()["failure"].is_null()
        })
        .await;
}

#[tokio::test]
async fn nothing_is_read_further_when_no_restore_waits_any_more() {
    let scene = Scene::recorded().await;
    let sender = scene.waiting.clone();
    scene.api.set_hook(move |method, path| {
        let is_progress = method == "PATCH" && path.starts_with(RECORDS);
        if is_progress {
            sender.send_replace(Some(nobody()));
        }
        is_progress.then_some(Act::Delay(Duration::from_millis(300)))
    });
    scene.wait(&["0"], &[]);
    scene
        .until("the progress", |scene| {
            !scene.verification()["progress"].is_null()
        })
        .await;
    scene
        .until("its end", |scene| {
            scene.verification()["progress"].is_null()
        })
        .await;
    assert!(scene.read_for().is_empty());
    assert!(scene.tarballs() <= 2);
}

/// Somebody else notes what became of another Restore meanwhile.
#[tokio::test]
async fn a_write_of_somebody_else_loses_nothing() {
    let scene = Scene::recorded().await;
    let api = Mutex::new(scene.api.clone());
    let writes = AtomicUsize::new(0);
    scene.api.set_hook(move |method, path| {
        let is_write = method == "PATCH" && path.starts_with(RECORDS);
        // The first one notes the progress.
        if is_write && writes.fetch_add(1, Ordering::Relaxed) == 1 {
            let api = api.lock().unwrap();
            let path = format!("{RECORDS}/b.{}", uid(1));
            let mut record = api.get(&path).unwrap();
            let accepted = json!([{"restore": "r", "uid": "9", "by": "jane", "reason": "test"}]);
            record["status"]["verification"]["accepted"] = accepted;
            api.put(&path, record);
        }
        None
    });
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    assert_eq!(scene.verification()["accepted"][0]["by"], "jane");
    assert_eq!(scene.tarballs(), 2);
}

#[tokio::test]
async fn what_is_known_of_restores_stays_when_the_files_are_recorded() {
    let mut scene = Scene::start().await;
    let accepted = json!([{"restore": "r", "uid": "9", "by": "jane", "reason": "test"}]);
    let record = json!({
        "spec": {"namespace": "velero", "backup": "b", "uid": uid(1), "observed": true},
        "status": {"state": "Pending", "verification": {"accepted": accepted}},
    });
    scene.api.put(&format!("{RECORDS}/b.{}", uid(1)), record);
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(scene.verification()["accepted"], accepted);
}

#[tokio::test]
async fn a_backup_for_which_a_restore_waits_is_recorded_before_others() {
    let mut scene = Scene::start().await;
    // The slots of the location are taken for ever.
    for number in 2..6 {
        scene.complete(&format!("other-{number}"), &uid(number));
    }
    scene.complete("b", &uid(1));
    scene.api.set_hook(|method, path| {
        let is_other = method == "GET" && path.contains("/backups/other") || {
            method == "PATCH" && path.contains("/backups/other")
        };
        is_other.then_some(Act::Delay(Duration::from_hours(1)))
    });
    scene.wait(&["0"], &[]);
    scene.run();
    scene.until_read_for(&["0"]).await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Recorded");
    assert_eq!(scene.tarballs(), 1);
}

#[tokio::test]
async fn where_existing_backups_are_not_recorded_a_pending_record_holds_the_reading() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run_with(false);
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.record("b", &uid(1)), None);
    let passed = scene.gate.passed();
    assert!(
        !passed.iter().any(|passed| passed.starts_with("S3")),
        "{passed:#?}"
    );
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["state"], "Pending");
    assert_eq!(
        status["verification"]["reading"]["files"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_failure_to_record_is_told_to_the_restores_that_wait() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.s3.set_hook(|_, _, _| Some(503));
    scene.wait(&["0"], &[]);
    scene.run();
    let failure = scene.until_failure("ServerError").await;
    assert_eq!(failure["class"], "Passing");
    assert_eq!(scene.status("b", &uid(1))["state"], "Unreadable");
    scene.s3.set_hook(|_, _, _| None);
    scene.wait(&["0", "1"], &[]);
    scene.until_read_for(&["0", "1"]).await;
    assert_eq!(scene.verification()["failure"], Value::Null);
}

#[tokio::test]
async fn a_bucket_that_changes_at_every_look_is_a_failure_of_its_own() {
    let scene = Scene::recorded().await;
    let writes = AtomicUsize::new(0);
    scene.s3.set_hook(move |s3, method, key| {
        // The last one that is read.
        if method == "GET" && key.ends_with("/velero-backup.json") {
            let bytes = vec![b'x'; 7 + writes.fetch_add(1, Ordering::Relaxed)];
            s3.put("backups/b/stray", &bytes, Timestamp::now());
        }
        None
    });
    scene.wait(&["0"], &[]);
    let failure = scene.until_failure("Changing").await;
    assert_eq!(failure["class"], "Changing");
    assert_eq!(scene.tarballs(), 4);
    assert!(scene.read_for().is_empty());
}

#[tokio::test]
async fn an_older_kind_keeps_no_reading_so_nothing_is_read() {
    let scene = Scene::recorded().await;
    scene.api.refuse_in_status(&["verification"]);
    scene.wait(&["0"], &[]);
    scene
        .until("the list", |scene| {
            let passed = scene.gate.passed();
            let lists = passed.iter().filter(|passed| *passed == "S3 LIST ");
            lists.count() > 2
        })
        .await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.tarballs(), 1);
    assert_eq!(scene.verification(), Value::Null);
    let told = (*scene.trouble.borrow()).unwrap_or_default();
    assert!(
        told.ends_with("run `kubectl apply -k manifests/crds`"),
        "{told}"
    );
    // Somebody did.
    scene.api.refuse_in_status(&[]);
    scene.wait(&["0", "1"], &[]);
    scene.until_read_for(&["0", "1"]).await;
    assert_eq!(*scene.trouble.borrow(), None);
}

/// What is read to record a backup is not read again for the Restores that waited before.
#[tokio::test]
async fn what_is_read_to_record_counts_for_restores_that_wait_before() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.wait(&["0", "1"], &["2"]);
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.read_for(), ["0", "1", "2"]);
    assert_eq!(scene.tarballs(), 1, "{:#?}", scene.gate.passed());
    let status = scene.status("b", &uid(1));
    let recorded = status["verification"]["reading"].clone();
    let manifest = recorded["lists"][0]["sha256"].as_str().unwrap();
    assert_eq!(status["manifest"], format!("sha256:{manifest}"));
    // It says what another reading says.
    scene.wait(&["3"], &[]);
    scene.until_read_for(&["3"]).await;
    let verified = scene.verification()["reading"].clone();
    for field in ["listing", "files", "lists", "provider", "bucket"] {
        assert_eq!(recorded[field], verified[field], "{field}");
    }
}

#[tokio::test]
async fn what_is_read_to_record_counts_for_no_restore_that_comes_meanwhile() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let sender = scene.waiting.clone();
    let is_first = AtomicUsize::new(0);
    scene.s3.set_hook(move |_, method, _| {
        if method == "LIST" && is_first.fetch_add(1, Ordering::Relaxed) == 0 {
            sender.send_replace(Some(waiting(&["0", "1"], &[])));
        }
        None
    });
    scene.wait(&["0"], &[]);
    scene.run();
    scene.until_read_for(&["0"]).await;
    assert_eq!(scene.tarballs(), 1);
    scene.until_read_for(&["0", "1"]).await;
    assert_eq!(scene.tarballs(), 2);
}

/// An envelope that was signed before vouches for the record, and not for what is in the bucket at the moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_records_the_files_are_still_read_for_restores() {
    let run = async |kill_at: Option<usize>| {
        let mut scene = Scene::start().await;
        scene.complete("b", &uid(1));
        scene.wait(&["0"], &[]);
        if let Some(number) = kill_at {
            scene.gate.close_after(number);
            scene.run();
            scene.gate.reached().await;
            scene.kill().await;
            scene.gate.open();
        }
        scene.run();
        scene.until_read_for(&["0"]).await;
        scene.until_state("b", &uid(1), "Recorded").await;
        let files = scene.verification()["reading"]["files"].clone();
        assert_eq!(files.as_array().unwrap().len(), 2);
        scene.gate.passed().len()
    };
    let count = run(None).await;
    assert!(count > 20, "{count}");
    futures::future::join_all((0..count).map(|number| run(Some(number)))).await;
}

/// Something was looked at, and everything is missing.
#[tokio::test]
async fn an_empty_directory_is_read_and_has_no_files() {
    let scene = Scene::recorded().await;
    for (key, _) in scene.s3.files("backups/b/") {
        scene.s3.remove(&key);
    }
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let verification = scene.verification();
    assert_eq!(verification["reading"]["files"], json!([]));
    assert_eq!(verification["failure"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_recorded_because_there_are_no_files_is_read_for_restores() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "Completed");
    scene.wait(&["0"], &[]);
    scene.run();
    scene.until_read_for(&["0"]).await;
    let status = scene.status("b", &uid(1));
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("Unreadable"), &json!("NoFiles"))
    );
    assert_eq!(status["verification"]["reading"]["files"], json!([]));
    assert_eq!(status["verification"]["failure"], Value::Null);
    // Another Restore is a reason to look again. What is known is no failure then, either.
    scene.wait(&["0", "1"], &[]);
    scene.until_read_for(&["0", "1"]).await;
    scene.wait(&["0"], &["1"]);
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.verification()["failure"], Value::Null);
}

/// Verifying needs no key.
#[tokio::test]
async fn without_a_key_that_signs_files_are_read_for_restores_and_recorded_once_there_is_one() {
    let mut scene = Scene::recorded().await;
    scene.kill().await;
    let (path, mut key) = scene.api.first(KEYS).unwrap();
    key["spec"]["state"] = json!("VerifyOnly");
    scene.api.put(&path, key.clone());
    scene.complete("c", &uid(2));
    scene.set_backup("d", &uid(3), "InProgress");
    scene.wait(&["0"], &[]);
    let begin = scene.run_to_sign_later();
    scene.until_read_for(&["0"]).await;
    let reading = &scene.verification()["reading"];
    assert_eq!(reading["lists"].as_array().unwrap().len(), 1);
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(scene.record("c", &uid(2)), None);
    assert!(
        scene.record("d", &uid(3)).is_some(),
        "it was seen before it was complete"
    );
    key["spec"]["state"] = json!("Active");
    scene.api.put(&path, key);
    begin.notify_one();
    scene.until_state("c", &uid(2), "Recorded").await;
    scene.complete("d", &uid(3));
    scene.until_state("d", &uid(3), "Recorded").await;
    assert_eq!(scene.status("d", &uid(3))["level"], "observed");
}

/// Whoever writes the bucket can put as much beside the files as they like.
#[tokio::test]
async fn what_velero_does_not_know_is_listed_and_not_read_for_restores() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.s3.put("backups/b/notes", b"signed", Timestamp::now());
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    scene
        .s3
        .put("backups/b/junk", &vec![0; 1 << 20], Timestamp::now());
    let reads = |scene: &Scene, file: &str| {
        let passed = scene.gate.passed();
        let read = format!("S3 GET backups/b/{file}");
        passed.iter().filter(|passed| **passed == read).count()
    };
    assert_eq!(reads(&scene, "notes"), 1);
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    assert_eq!((reads(&scene, "notes"), reads(&scene, "junk")), (1, 0));
    let reading = scene.verification()["reading"].clone();
    assert_eq!(reading["files"].as_array().unwrap().len(), 2);
    let unread = json!([{"name": "junk", "size": 1 << 20}, {"name": "notes", "size": 6}]);
    assert_eq!(reading["unread"], unread);
    assert_eq!(reading["lists"], Value::Null, "none lists the junk");
    scene.s3.remove("backups/b/junk");
    scene.wait(&["1"], &[]);
    scene.until_read_for(&["1"]).await;
    let reading = scene.verification()["reading"].clone();
    assert_eq!(reading["lists"].as_array().unwrap().len(), 1);
}

/// Somebody may vouch for it.
#[tokio::test]
async fn without_a_key_that_signs_what_is_not_recorded_is_read_for_restores() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let begin = scene.run_to_sign_later();
    scene.rest(Duration::from_millis(300)).await;
    let passed = scene.gate.passed();
    assert!(
        !passed.iter().any(|passed| passed.starts_with("S3")),
        "{passed:#?}"
    );
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Pending");
    begin.notify_one();
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(
        (scene.read_for(), scene.tarballs()),
        (vec!["0".to_owned()], 2)
    );
}
