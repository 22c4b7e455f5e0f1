//! Slow answers, lagging watches, refusals, and Backups that change while they are read.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api::Act;
use super::{BACKUPS, EVENTS, RECORDS, Scene, uid};

const TARBALL: &str = "S3 GET backups/b/b.tar.gz";

fn reads(scene: &Scene, step: &str) -> usize {
    let passed = scene.gate.passed();
    passed.iter().filter(|passed| *passed == step).count()
}

/// The list of records comes long after that of Backups.
#[tokio::test]
async fn backups_without_a_record_wait_for_the_list_of_records() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let lists = AtomicUsize::new(0);
    scene.api.set_hook(move |method, path| {
        let is_late = method == "LIST" && path == RECORDS;
        // The first list only tells whether the kind exists.
        let is_late = is_late && lists.fetch_add(1, Ordering::Relaxed) > 0;
        is_late.then_some(Act::Delay(Duration::from_millis(500)))
    });
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
}

/// What waits for others to be read may have gone when its turn comes.
#[tokio::test]
async fn backups_that_wait_do_not_wait_for_those_that_are_gone() {
    let mut scene = Scene::start().await;
    for number in 0..8 {
        scene.complete(&format!("b{number}"), &uid(number));
    }
    // The first two are being read until the others are gone.
    let goes = Mutex::new(scene.api.clone());
    let asked = AtomicUsize::new(0);
    scene.api.set_hook(move |method, path| {
        let is_first = method == "GET" && path.ends_with("/configmaps/velero-trust-ca");
        let number = asked.fetch_add(usize::from(is_first), Ordering::Relaxed);
        if is_first && number == 1 {
            let api = goes.lock().unwrap();
            for number in 2..6 {
                api.remove(&format!("{BACKUPS}/b{number}"));
            }
        }
        (is_first && number < 2).then_some(Act::Delay(Duration::from_millis(500)))
    });
    scene.run();
    for number in [0, 1, 6, 7] {
        scene
            .until_state(&format!("b{number}"), &uid(number), "Recorded")
            .await;
    }
}

/// The watch of records lags behind what was written.
#[tokio::test]
async fn what_the_watch_does_not_tell_yet_is_neither_read_again_nor_replaced() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.api.set_hook(|method, path| {
        let is_late = method == "WATCH" && path == RECORDS;
        is_late.then_some(Act::Delay(Duration::from_secs(3)))
    });
    scene.run();
    scene.until_annotated("b").await;
    // Somebody else's change of the Backup.
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["annotations"] = json!({});
    scene.api.put(&path, backup);
    scene.until_annotated("b").await;
    scene.rest(Duration::from_millis(400)).await;
    assert_eq!(reads(&scene, TARBALL), 1);
    let writes = scene
        .api
        .count("PATCH", &format!("{RECORDS}/b.{}/status", uid(1)));
    // What is put into the bucket, and then what is recorded.
    assert_eq!(writes, 2);
}

/// Velero writes the Backup again while its files wait for others to be read, which moves the time
/// of the phase in `metadata.managedFields`.
#[tokio::test]
async fn a_later_write_of_velero_hides_no_change_of_a_file() {
    let mut scene = Scene::start().await;
    for number in [1, 2] {
        scene.complete(&format!("first-{number}"), &uid(number));
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    scene.api.set_hook(move |method, path| {
        let is_it = method == "GET" && path.ends_with("/configmaps/velero-trust-ca");
        let is_first = is_it && counted.fetch_add(1, Ordering::Relaxed) < 2;
        is_first.then_some(Act::Delay(Duration::from_secs(1)))
    });
    scene.run();
    scene
        .until("both to be read", |_| asked.load(Ordering::Relaxed) == 2)
        .await;
    scene.complete("b", &uid(3));
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    let later = |seconds| Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_secs(seconds);
    backup["metadata"]["managedFields"][0]["time"] = json!(later(100).to_string());
    scene.api.put(&path, backup);
    scene.s3.put("backups/b/b.tar.gz", b"swapped", later(50));
    scene.until_unobserved("b", &uid(3), "WrittenLater").await;
}

/// Somebody deletes a record whose Backup is there.
#[tokio::test]
async fn a_deleted_record_is_made_again() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.complete("b.c", &uid(2));
    scene.run();
    for (name, number) in [("b", 1), ("b.c", 2)] {
        scene.until_state(name, &uid(number), "Recorded").await;
    }
    scene.rest(Duration::from_millis(400)).await;
    for (name, number) in [("b", 1), ("b.c", 2)] {
        scene
            .api
            .remove(&format!("{RECORDS}/{name}.{}", uid(number)));
        scene.until_state(name, &uid(number), "Recorded").await;
    }
    // Its own envelope tells what was read before.
    assert_eq!(reads(&scene, TARBALL), 1);
}

/// Another leader judges while this one reads.
#[tokio::test]
async fn the_judgement_of_another_leader_stays() {
    for judged in ["Recorded", "Unobserved"] {
        let mut scene = Scene::start().await;
        scene.complete("b", &uid(1));
        let api = scene.api.clone();
        scene.s3.set_hook(move |_, method, key| {
            if method == "GET" && key.ends_with(".tar.gz") {
                let at = format!("{RECORDS}/b.{}", uid(1));
                let spec = json!({"namespace": "velero", "backup": "b", "uid": uid(1)});
                let status = json!({"state": judged, "reason": "First", "checksum": "first"});
                api.put(&at, json!({"spec": spec, "status": status}));
            }
            None
        });
        scene.run();
        scene
            .until("a judgement", |scene| {
                scene.status("b", &uid(1))["reason"] == "First"
            })
            .await;
        scene.rest(Duration::from_millis(400)).await;
        let status = scene.status("b", &uid(1));
        assert_eq!(status["reason"], "First", "{status}");
    }
}

/// The copy of the Backup is forged, between the look at its fields and its digest.
#[tokio::test]
async fn the_document_that_is_checked_is_the_one_that_is_signed() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let document = scene.s3.files("backups/b/velero-backup.json")[0].1.clone();
    let asked = AtomicUsize::new(0);
    scene.s3.set_hook(move |s3, method, key| {
        let is_document = method == "GET" && key.ends_with("velero-backup.json");
        if is_document && asked.fetch_add(1, Ordering::Relaxed) == 1 {
            let text = String::from_utf8(document.content.clone()).unwrap();
            let forged = text.replace("2026", "2031");
            s3.put(
                "backups/b/velero-backup.json",
                forged.as_bytes(),
                document.modified,
            );
        }
        None
    });
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let (_, document) = scene.s3.files("backups/b/velero-backup.json").remove(0);
    let digest = crate::digest::Sha256::of(&document.content).to_string();
    let envelope = scene.status("b", &uid(1))["envelope"].to_string();
    let envelope = serde_json::from_str::<String>(&envelope).unwrap();
    let envelope = crate::integrity::envelope::Envelope::parse(envelope.as_bytes()).unwrap();
    let signed = String::from_utf8_lossy(envelope.payload()).into_owned();
    let is_forged = String::from_utf8_lossy(&document.content).contains("2031");
    assert!(!is_forged || !signed.contains(&digest), "{signed}");
}

/// The API server fails for a moment, and the judgement that stays must not come from that.
#[tokio::test]
async fn what_cannot_be_asked_is_no_judgement() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let asked = AtomicUsize::new(0);
    scene.api.set_hook(move |_, path| {
        let is_first = path == "/version" && asked.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then_some(Act::Break)
    });
    scene.run();
    scene
        .until("a state", |scene| {
            let state = scene.status("b", &uid(1))["state"].clone();
            state.is_string() && state != "Pending"
        })
        .await;
    let status = scene.status("b", &uid(1));
    assert_ne!(status["state"], "Unobserved", "{status}");
}

/// The API server answers late.
#[tokio::test]
async fn a_slow_api_server_makes_no_file_look_late() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.api.set_hook(|_, path| {
        let is_it = path == "/version";
        is_it.then_some(Act::Delay(Duration::from_secs(8)))
    });
    scene.run();
    scene
        .until("a state", |scene| {
            let state = scene.status("b", &uid(1))["state"].clone();
            state.is_string() && state != "Pending"
        })
        .await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["state"], "Recorded", "{status}");
}

/// A folder without a single file holds nothing that could be judged: the location may have been
/// pointed to another bucket for a moment.
#[tokio::test]
async fn an_empty_folder_is_no_judgement() {
    let mut scene = Scene::start().await;
    scene.set_backup("b", &uid(1), "Completed");
    scene.run();
    scene.until_state("b", &uid(1), "Unreadable").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["reason"], "NoFiles", "{status}");
}

/// Whoever writes the bucket chooses what an error quotes.
#[tokio::test]
async fn a_message_is_short_whatever_the_bucket_says() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let long = "x".repeat(1 << 20);
    let document = json!({"kind": "Backup", "metadata": {}, "status": long}).to_string();
    let key = "backups/b/velero-backup.json";
    scene.s3.put(key, document.as_bytes(), Timestamp::now());
    scene.run();
    scene.until_state("b", &uid(1), "Unobserved").await;
    let message = scene.status("b", &uid(1))["message"].to_string();
    assert!(message.len() < 1_500, "{} bytes", message.len());
}

/// Velero deletes the backup while its envelope is written.
#[tokio::test]
async fn no_lone_envelope_stays_of_a_backup_that_is_being_deleted() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let api = scene.api.clone();
    scene.s3.set_hook(move |_, method, _| {
        if method == "PUT" {
            // It lists the files now, and deletes them later.
            api.put(
                &format!("{BACKUPS}/b"),
                Scene::backup("b", &uid(1), "Deleting"),
            );
        }
        None
    });
    scene.run();
    scene
        .until("the envelope to go", |scene| {
            let passed = scene.gate.passed();
            let deleted = passed
                .iter()
                .any(|step| step.starts_with("after S3 DELETE"));
            deleted && scene.s3.files("backups/b/velero-trust.").is_empty()
        })
        .await;
    assert_ne!(scene.status("b", &uid(1))["state"], "Recorded");
}

/// A write of somebody else at the same moment.
#[tokio::test]
async fn an_annotation_that_conflicts_is_written_later() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let asked = AtomicUsize::new(0);
    scene.api.set_hook(move |method, path| {
        let is_it = method == "PATCH" && path.starts_with(BACKUPS);
        (is_it && asked.fetch_add(1, Ordering::Relaxed) == 0).then_some(Act::Refuse(409))
    });
    scene.run();
    scene.until_annotated("b").await;
}

/// The watch of Backups leaves one out.
#[tokio::test]
async fn a_record_is_closed_only_if_its_backup_is_gone() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_annotated("b").await;
    // It counts as absent while it cannot be read.
    let path = format!("{BACKUPS}/b");
    let good = scene.api.get(&path).unwrap();
    let mut odd = good.clone();
    odd["status"]["phase"] = json!(1);
    scene.api.put(&path, odd);
    sleep(Duration::from_millis(500)).await;
    let status = scene.status("b", &uid(1));
    assert!(status["gone"].is_null(), "{status}");
    scene.api.put(&path, good.clone());
    scene.api.remove(&path);
    scene
        .until("it to be closed", |scene| {
            scene.status("b", &uid(1))["gone"]["how"] == "Vanished"
        })
        .await;
    // It is there again under its uid, as after a restore of etcd.
    scene.api.put(&path, good);
    scene
        .until("it to be open", |scene| {
            scene.status("b", &uid(1))["gone"].is_null()
        })
        .await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Recorded");
}

/// The reasons for which a store cannot be read change with each try.
#[tokio::test]
async fn a_store_that_fails_in_many_ways_is_told_of_once() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let asked = AtomicU16::new(0);
    scene
        .s3
        .set_hook(move |_, _, _| Some(500 + (asked.fetch_add(1, Ordering::Relaxed) / 3 % 4)));
    scene.run();
    scene.until_state("b", &uid(1), "Unreadable").await;
    for tries in 1..3 {
        let document = "S3 GET backups/b/velero-backup.json";
        let asked = reads(&scene, document);
        // What changes a Backup lets it be tried again at once.
        let path = format!("{BACKUPS}/b");
        let mut backup = scene.api.get(&path).unwrap();
        backup["metadata"]["annotations"] = json!({"velero-trust.io/checksum": tries.to_string()});
        scene.api.put(&path, backup);
        scene
            .until("another try", |scene| reads(scene, document) >= asked + 3)
            .await;
        scene.rest(Duration::from_millis(300)).await;
    }
    let writes = scene
        .api
        .count("PATCH", &format!("{RECORDS}/b.{}/status", uid(1)));
    assert_eq!(writes, 1);
    assert!(scene.api.count("POST", EVENTS) <= 1);
}

/// A full disk takes no envelope. The files are not read again and again for that.
#[tokio::test]
async fn a_refused_upload_is_said_and_nothing_is_read_again() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene
        .s3
        .set_hook(|_, method, _| (method == "PUT").then_some(400));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["envelopeInBucket"], false, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("400"), "{message}");
    assert_eq!(reads(&scene, TARBALL), 1);
}

/// All Backups went away while nobody watched.
#[tokio::test]
async fn few_steps_are_under_way_at_the_same_time() {
    let mut scene = Scene::start().await;
    for number in 0..60 {
        let name = format!("b{number}");
        let spec = json!({"namespace": "velero", "backup": name, "uid": uid(number)});
        let record = json!({"spec": spec, "status": {"state": "Recorded"}});
        let path = format!("{RECORDS}/{name}.{}", uid(number));
        scene.api.put(&path, record);
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    scene.api.set_hook(move |method, path| {
        let is_it = method == "GET" && path.starts_with(BACKUPS);
        let is_first = is_it && counted.fetch_add(1, Ordering::Relaxed) < 16;
        is_first.then_some(Act::Delay(Duration::from_secs(1)))
    });
    scene.run();
    scene
        .until("the first steps", |_| asked.load(Ordering::Relaxed) > 0)
        .await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 16);
    scene
        .until("all to be closed", |scene| {
            (0..60).all(|number| {
                let status = scene.status(&format!("b{number}"), &uid(number));
                status["gone"]["how"] == "Unseen"
            })
        })
        .await;
}

/// The envelope could not be put at first, and is allowed later.
#[tokio::test]
async fn an_envelope_is_put_when_the_bucket_takes_it() {
    for is_refused in [true, false] {
        let mut scene = Scene::start().await;
        scene.complete("b", &uid(1));
        if is_refused {
            scene
                .s3
                .set_hook(|_, method, _| (method == "PUT").then_some(403));
        } else {
            scene.set_location(&json!({"accessMode": "ReadOnly"}));
        }
        scene.run();
        scene.until_state("b", &uid(1), "Recorded").await;
        scene.rest(Duration::from_millis(400)).await;
        let puts = usize::from(is_refused);
        let put = |scene: &Scene| {
            let passed = scene.gate.passed();
            let puts = passed.iter().filter(|step| step.starts_with("S3 PUT"));
            puts.count()
        };
        assert_eq!(put(&scene), puts, "not at once");
        scene.kill().await;
        scene.run();
        scene
            .until("a look at the location", |scene| {
                let location = "GET /apis/velero.io/v1/namespaces/velero/backupstoragelocations";
                let passed = scene.gate.passed();
                passed
                    .iter()
                    .filter(|step| step.starts_with(location))
                    .count()
                    == 2
            })
            .await;
        scene.rest(Duration::from_millis(400)).await;
        assert_eq!(put(&scene), 2 * puts, "once for each start");
        let status = scene.status("b", &uid(1));
        assert_eq!(status["envelopeInBucket"], false, "{status}");
        scene.kill().await;
        scene.s3.set_hook(|_, _, _| None);
        scene.set_location(&json!({}));
        scene.run();
        scene
            .until("the envelope", |scene| {
                scene.status("b", &uid(1))["envelopeInBucket"] == true
            })
            .await;
        super::kills::is_recorded(&scene, "b", &uid(1));
        assert!(scene.status("b", &uid(1))["message"].is_null());
        assert_eq!(reads(&scene, TARBALL), 1);
    }
}

/// The location names another bucket or prefix than the one in which the files were.
#[tokio::test]
async fn an_envelope_is_put_only_where_its_files_were_read() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.set_location(&json!({"accessMode": "ReadOnly"}));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.kill().await;
    scene.set_location(&json!({"objectStorage": {"prefix": "elsewhere"}}));
    for (key, file) in scene.s3.files("backups/b/") {
        let key = format!("elsewhere/{key}");
        scene.s3.put(&key, &file.content, file.modified);
    }
    let asked = scene.gate.passed().len();
    scene.run();
    scene
        .until("a look at the location", |scene| {
            let passed = scene.gate.passed().split_off(asked);
            passed
                .iter()
                .any(|step| step.contains("backupstoragelocations"))
        })
        .await;
    scene.rest(Duration::from_millis(400)).await;
    assert_eq!(scene.s3.files("elsewhere/backups/b/").len(), 2);
    assert_eq!(scene.status("b", &uid(1))["envelopeInBucket"], false);
}

/// Existing backups are left out, but those that were recorded get their annotations back.
#[tokio::test]
async fn a_synced_backup_is_annotated_even_if_existing_ones_are_left_out() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_annotated("b").await;
    scene.kill().await;
    scene.set_backup("b", &uid(2), "Completed");
    scene.complete("other", &uid(3));
    scene.run_with(false);
    scene.until_annotated("b").await;
    scene.rest(Duration::from_millis(300)).await;
    assert_eq!(reads(&scene, TARBALL), 1);
    assert_eq!(scene.record("other", &uid(3)), None);
}

/// A phase that no file follows ends the reading.
#[tokio::test]
async fn reading_ends_when_the_backup_is_deleted() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let large = vec![b'x'; 64 << 20];
    scene.s3.put("backups/b/b.tar.gz", &large, Timestamp::now());
    let api = scene.api.clone();
    scene.s3.set_hook(move |_, method, key| {
        if method == "GET" && key.ends_with(".tar.gz") {
            api.put(
                &format!("{BACKUPS}/b"),
                Scene::backup("b", &uid(1), "Deleting"),
            );
        }
        None
    });
    scene.run();
    scene
        .until("the tarball to be read", |scene| reads(scene, TARBALL) == 1)
        .await;
    scene.rest(Duration::from_millis(500)).await;
    let puts = scene.gate.passed();
    assert!(
        !puts.iter().any(|step| step.starts_with("S3 PUT")),
        "{puts:#?}"
    );
    assert_ne!(scene.status("b", &uid(1))["state"], "Recorded");
}

#[tokio::test]
async fn a_store_that_was_away_leaves_no_second_record_of_a_synced_backup() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    scene.run();
    scene
        .until("annotated", |scene| scene.checksum("b").is_some())
        .await;
    scene
        .s3
        .set_hook(|_, method, _| (method != "PUT").then_some(403));
    scene.set_backup("b", &uid(2), "Completed");
    scene.until_state("b", &uid(2), "Unreadable").await;
    assert_eq!(scene.status("b", &uid(1))["gone"], Value::Null);
    scene.s3.set_hook(|_, _, _| None);
    scene
        .until("the record that says nothing to go", |scene| {
            scene.checksum("b").is_some() && scene.record("b", &uid(2)).is_none()
        })
        .await;
    assert_eq!(scene.status("b", &uid(1))["syncedAs"], uid(2));
}

#[tokio::test]
async fn a_location_that_is_pointed_elsewhere_while_it_is_read_is_read_anew() {
    let mut scene = Scene::start().await;
    scene.complete("b", &uid(1));
    let location = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default";
    let api = scene.api.clone();
    scene.s3.set_hook(move |_, method, key| {
        if method == "GET" && key.ends_with("b.tar.gz") {
            let mut object = api.get(location).unwrap();
            object["spec"]["objectStorage"]["prefix"] = "elsewhere".into();
            api.put(location, object);
        }
        None
    });
    scene.run();
    scene
        .until("the files to be read", |scene| reads(scene, TARBALL) == 1)
        .await;
    scene.rest(Duration::from_millis(500)).await;
    assert_ne!(scene.status("b", &uid(1))["state"], "Recorded");
    assert_eq!(scene.checksum("b"), None);
    assert_eq!(scene.s3.files("backups/b/").len(), 2);
}
