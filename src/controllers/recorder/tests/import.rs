//! Backups that come by sync, with signed lists of other clusters beside them.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{BACKUPS, RECORDS, Scene, uid};
use crate::digest::Sha256;
use crate::integrity::envelope::Envelope;
use crate::integrity::files;
use crate::integrity::manifest::{File, Manifest};
use crate::integrity::public_key::Algorithm;
use crate::integrity::statement::{Level, Location, Statement};
use crate::names;
use crate::signing_key::SigningKey;
use crate::velero::backup_fields::BackupFields;

pub(super) const DOCUMENT: &str = "backups/b/velero-backup.json";
pub(super) const KEYS: &str = "/apis/velero-trust.io/v1alpha1/trustedkeys";

/// A backup of another cluster in the bucket, and the key of that cluster.
pub(super) struct Other {
    name: String,
    pub(super) key: Arc<SigningKey>,
    pub(super) statement: Statement,
}

impl Other {
    /// Puts the files of the backup `b` of another cluster into the bucket.
    pub(super) fn in_bucket(scene: &Scene) -> Self {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        Self::named(scene, "b", 1, Arc::new(key))
    }

    /// Puts the files of a backup of the cluster with this key into the bucket.
    pub(super) fn named(scene: &Scene, name: &str, number: usize, key: Arc<SigningKey>) -> Self {
        let document = Scene::backup(name, &uid(number), "Completed").to_string();
        let files = [
            (files::BACKUP.to_owned(), document.as_bytes()),
            (format!("{name}.tar.gz"), b"tarball"),
        ];
        let files = files.map(|(file, content)| {
            let key = format!("backups/{name}/{file}");
            scene.s3.put(&key, content, Timestamp::now());
            File {
                name: file,
                size: content.len() as u64,
                sha256: Sha256::of(content),
            }
        });
        let statement = Statement {
            manifest: Manifest::new(name, files.into()).unwrap(),
            cluster: "other".into(),
            backup: BackupFields::from_document(document.as_bytes()).unwrap(),
            location: Location {
                provider: "aws".into(),
                bucket: "bucket".into(),
                prefix: String::new(),
            },
            pod_volumes: crate::decision::PodVolumes::none(),
            level: Level::Observed,
            public_key: Some(key.public_pem()),
        };
        let name = name.to_owned();
        Self {
            name,
            key,
            statement,
        }
    }

    /// Lets the backup be one that completed a moment ago.
    fn complete_now(&mut self, scene: &Scene) {
        let mut document = Scene::backup(&self.name, &uid(1), "Completed");
        document["status"]["completionTimestamp"] = json!(Timestamp::now().to_string());
        let document = document.to_string();
        let path = format!("backups/{}/{}", self.name, files::BACKUP);
        scene.s3.put(&path, document.as_bytes(), Timestamp::now());
        self.statement.backup = BackupFields::from_document(document.as_bytes()).unwrap();
    }

    pub(super) fn id(&self) -> String {
        self.key.public().id().to_string()
    }

    fn file(&self) -> String {
        format!("backups/{}/{}", self.name, files::envelope(&self.id()))
    }

    pub(super) fn envelope(&self) -> Envelope {
        self.key.sign(self.statement.to_bytes().unwrap()).unwrap()
    }

    /// Puts what its key signs beside the backup.
    pub(super) fn sign(&self, scene: &Scene) {
        let json = self.envelope().to_json().unwrap();
        scene
            .s3
            .put(&self.file(), json.as_bytes(), Timestamp::now());
    }

    /// Sets its TrustedKey, with these fields in addition.
    pub(super) fn trust(&self, scene: &Scene, spec: &Value) {
        let mut key = json!({
            "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
            "metadata": {"name": "other-cluster"},
            "spec": {"publicKey": self.key.public_pem()},
        });
        json_patch::merge(&mut key["spec"], spec);
        scene.api.put(&format!("{KEYS}/other-cluster"), key);
    }
}

/// Velero makes the Backup from the bucket.
pub(super) fn sync(scene: &Scene) {
    sync_named(scene, "b", 2);
}

pub(super) fn sync_named(scene: &Scene, name: &str, number: usize) {
    let path = format!("backups/{name}/{}", files::BACKUP);
    let document = &scene.s3.files(&path)[0].1.content;
    let mut backup: Value = serde_json::from_slice(document).unwrap();
    backup["metadata"]["uid"] = json!(uid(number));
    scene.api.put(&format!("{BACKUPS}/{name}"), backup);
}

/// Returns the requests to the store for the backup `b`.
pub(super) fn requests(scene: &Scene) -> Vec<String> {
    let passed = scene.gate.passed().into_iter();
    let requests = passed.filter(|step| step.starts_with("S3 "));
    requests.collect()
}

/// Returns how many requests there were for signed lists.
fn lists_read(scene: &Scene) -> usize {
    let requests = requests(scene).into_iter();
    let lists = requests.filter(|step| step.starts_with("S3 GET") && step.contains(".dsse.json"));
    lists.count()
}

fn manifest(scene: &Scene) -> Value {
    let backup = scene.api.get(&format!("{BACKUPS}/b")).unwrap_or_default();
    backup["metadata"]["annotations"][names::MANIFEST_ANNOTATION].clone()
}

/// Starts a recorder that imports the backup `b` by the list of a TrustedKey without limits.
pub(super) async fn imported() -> (Scene, Other) {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    (scene, other)
}

/// Each keeps its slot for a pause, and none for ever.
#[tokio::test]
async fn backups_that_come_one_after_the_other_are_all_imported() {
    let mut scene = Scene::start().await;
    let key = Arc::new(SigningKey::generate(Algorithm::EcdsaP256).unwrap());
    let names: Vec<_> = (1..=6).map(|number| format!("b-{number}")).collect();
    for (name, number) in names.iter().zip(1..) {
        let other = Other::named(&scene, name, number, Arc::clone(&key));
        other.sign(&scene);
        other.trust(&scene, &json!({}));
    }
    scene.run();
    // What comes later is seen to come.
    sync_named(&scene, &names[0], 101);
    scene.until_state(&names[0], &uid(1), "Recorded").await;
    for (name, number) in names.iter().zip(1..).skip(1) {
        sync_named(&scene, name, 100 + number);
    }
    for (name, number) in names.iter().zip(1..) {
        scene.until_state(name, &uid(number), "Recorded").await;
    }
}

/// To open a bucket costs more than to read two small files.
#[tokio::test]
async fn the_backups_of_a_bucket_are_imported_over_the_connections_that_are_open() {
    const COUNT: usize = 20;
    let mut scene = Scene::start().await;
    let key = Arc::new(SigningKey::generate(Algorithm::EcdsaP256).unwrap());
    for number in 1..=COUNT {
        let other = Other::named(&scene, &format!("b-{number}"), number, Arc::clone(&key));
        other.sign(&scene);
        other.trust(&scene, &json!({}));
        sync_named(&scene, &format!("b-{number}"), 100 + number);
    }
    scene.run();
    scene
        .until("the annotations", |scene| {
            let mut numbers = 1..=COUNT;
            numbers.all(|number| scene.checksum(&format!("b-{number}")).is_some())
        })
        .await;
    assert_eq!(requests(&scene).len(), 2 * COUNT);
    let connections = scene.s3.connections();
    assert!(connections <= 4, "{connections}");
}

#[tokio::test]
async fn a_bucket_that_could_not_be_read_is_opened_anew() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    scene.s3.set_hook(|_, _, _| Some(503));
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(2), "Unreadable").await;
    let before = scene.s3.connections();
    scene.s3.set_hook(|_, _, _| None);
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(scene.s3.connections(), before + 1);
}

#[tokio::test]
async fn a_list_of_a_trusted_key_becomes_a_record_and_no_other_file_is_read() {
    let (scene, other) = imported().await;
    scene.until_annotated("b").await;
    let status = scene.status("b", &uid(1));
    let imported = json!({"key": "other-cluster", "keyId": other.id()});
    assert_eq!(status["imported"], imported, "{status}");
    assert_eq!(status["level"], "observed");
    assert_eq!(status["syncedAs"], uid(2));
    assert_eq!(status["message"], Value::Null);
    let checksum = format!("sha256:{}", Sha256::of(b"tarball"));
    assert_eq!(scene.checksum("b"), Some(checksum));
    assert_eq!(manifest(&scene), status["manifest"]);
    let backup = scene.api.get(&format!("{BACKUPS}/b")).unwrap();
    let verified_at = &backup["metadata"]["annotations"][names::VERIFIED_AT_ANNOTATION];
    assert!(verified_at.is_null(), "nothing was read: {verified_at}");
    assert_eq!(scene.record("b", &uid(2)), None);
    let expected = [DOCUMENT, &other.file()].map(|key| format!("S3 GET {key}"));
    assert_eq!(requests(&scene), expected);
    scene.rest(std::time::Duration::from_millis(300)).await;
    assert_eq!(requests(&scene).len(), 2);
}

#[tokio::test]
async fn a_key_that_is_trusted_later_imports_what_waits_and_one_that_is_revoked_closes_it() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    sync(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    let status = scene.status("b", &uid(2));
    let signer = json!([{"keyId": other.id(), "publicKey": other.key.public_pem()}]);
    assert_eq!(status["signers"], signer, "{status}");
    assert!(status["message"].to_string().contains(&other.id()));
    assert_eq!(scene.checksum("b"), None);

    for round in 0..2 {
        other.trust(&scene, &json!({"state": "VerifyOnly"}));
        scene.until_state("b", &uid(1), "Recorded").await;
        scene
            .until("the judgement to go", |scene| {
                scene.record("b", &uid(2)).is_none() && scene.checksum("b").is_some()
            })
            .await;
        other.trust(&scene, &json!({"state": "Revoked"}));
        scene.until_unobserved("b", &uid(1), "KeyRevoked").await;
        assert_eq!(scene.checksum("b"), None, "round {round}");
        scene.until_unobserved("b", &uid(2), "KeyRevoked").await;
    }
    // Without any TrustedKey, the key is unknown.
    scene.api.remove(&format!("{KEYS}/other-cluster"));
    scene
        .until("the other reason", |scene| {
            scene.status("b", &uid(2))["reason"] == "KeyUnknown"
        })
        .await;
}

#[tokio::test]
async fn what_was_imported_before_a_key_was_revoked_stays_good_until_that_time() {
    let (scene, other) = imported().await;
    let later = "2126-01-01T00:00:00Z";
    other.trust(&scene, &json!({"state": "Revoked", "revokedAt": later}));
    scene.rest(std::time::Duration::from_millis(300)).await;
    assert_eq!(scene.status("b", &uid(1))["state"], "Recorded");
    let earlier = "2026-01-01T00:00:00Z";
    other.trust(&scene, &json!({"state": "Revoked", "revokedAt": earlier}));
    scene.until_unobserved("b", &uid(1), "KeyRevoked").await;
}

#[tokio::test]
async fn an_import_from_a_replica_closes_when_its_key_counts_only_in_the_signed_bucket() {
    let mut scene = Scene::start().await;
    let mut other = Other::in_bucket(&scene);
    other.statement.location.bucket = "first".into();
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    other.trust(&scene, &json!({"sameBucketOnly": true}));
    scene.until_unobserved("b", &uid(1), "OtherBucket").await;
    assert_eq!(scene.checksum("b"), None);
    other.trust(&scene, &json!({}));
    scene.until_state("b", &uid(1), "Recorded").await;
}

/// Somebody changed the tarball and left the list of another cluster, whose key nobody here knows.
#[tokio::test]
async fn who_vouches_for_other_bytes_than_another_cluster_signed_is_told() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    let now = Timestamp::now();
    scene.s3.put("backups/b/b.tar.gz", b"other bytes", now);
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(2), "Unobserved").await;
    let path = format!("{BACKUPS}/b");
    let adopt = |scene: &Scene| {
        let mut backup = scene.api.get(&path).unwrap();
        backup["metadata"]["annotations"][names::ADOPT_ANNOTATION] = json!("jane");
        scene.api.put(&path, backup);
    };
    adopt(&scene);
    let not_adopted = |scene: &Scene| scene.status("b", &uid(2))["notAdopted"].clone();
    let is_told = |scene: &Scene| not_adopted(scene).is_string();
    scene.until("the reason", is_told).await;
    let why = not_adopted(&scene).to_string();
    assert!(
        why.contains("of level observed, is of other bytes"),
        "{why}"
    );
    assert_eq!(scene.record("b", &uid(1)), None);

    // A list that nobody signed says nothing.
    let mut forged: Value = serde_json::from_str(&other.envelope().to_json().unwrap()).unwrap();
    forged["signatures"][0]["sig"] = json!("AAAA");
    scene
        .s3
        .put(&other.file(), forged.to_string().as_bytes(), now);
    adopt(&scene);
    scene.until_state("b", &uid(1), "Recorded").await;
}

/// The other cluster reads all files before it signs, and the sync does not wait for that.
#[tokio::test]
async fn a_list_that_comes_after_the_sync_is_found() {
    let mut scene = Scene::start().await;
    let mut other = Other::in_bucket(&scene);
    other.complete_now(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(2), "Synced").await;
    let looks = |scene: &Scene| {
        let is_look = |step: &&String| **step == format!("S3 GET {DOCUMENT}");
        requests(scene).iter().filter(is_look).count()
    };
    let before = looks(&scene);
    scene
        .until("another look", |scene| looks(scene) > before)
        .await;
    other.sign(&scene);
    scene.until_state("b", &uid(1), "Recorded").await;
    scene.until_annotated("b").await;
}

/// The time at which the key was stolen is known later than that it was, and TrustedKeys go and come with Git.
#[tokio::test]
async fn when_a_backup_was_imported_is_kept_while_its_key_does_not_count() {
    let (scene, other) = imported().await;
    // An earlier import, so that another time would show.
    let mut record = scene.record("b", &uid(1)).unwrap();
    let first = "2026-02-01T00:00:00Z";
    record["status"]["recordedAt"] = json!(first);
    scene.api.put(&format!("{RECORDS}/b.{}", uid(1)), record);
    let judged = async |scene: &Scene, reason: &str| {
        let is_judged = |scene: &Scene| scene.status("b", &uid(2))["reason"] == reason;
        scene.until(reason, is_judged).await;
    };

    other.trust(&scene, &json!({"state": "Revoked"}));
    judged(&scene, "KeyRevoked").await;
    let until = "2026-03-01T00:00:00Z";
    other.trust(&scene, &json!({"state": "Revoked", "revokedAt": until}));
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(scene.status("b", &uid(1))["recordedAt"], first);

    scene.api.remove(&format!("{KEYS}/other-cluster"));
    judged(&scene, "KeyUnknown").await;
    let until = "2026-01-01T00:00:00Z";
    other.trust(&scene, &json!({"state": "Revoked", "revokedAt": until}));
    judged(&scene, "KeyRevoked").await;
}

/// Each lets the list of a trusted key not vouch for the backup.
#[tokio::test]
async fn a_list_that_does_not_vouch_is_told_with_its_reason() {
    type Change = fn(&mut Other, &Scene);
    let changes: [(&str, Value, Change); 11] = [
        ("KeyRevoked", json!({"state": "Revoked"}), |_, _| ()),
        (
            "KeyOutOfScope",
            json!({"scope": {"namespaces": ["a"]}}),
            |_, _| (),
        ),
        (
            "KeyOutOfScope",
            json!({"scope": {"locations": ["a"]}}),
            |_, _| (),
        ),
        (
            "KeyOutOfScope",
            json!({"scope": {"backups": ["c*"]}}),
            |_, _| (),
        ),
        (
            "KeyOutOfScope",
            json!({"scope": {"levels": ["late"]}}),
            |_, _| (),
        ),
        (
            "KeyNoLongerValid",
            json!({"state": "VerifyOnly", "validUntil": "2026-01-01T00:00:00Z"}),
            |other, _| other.statement.backup.completed = Some("2026-01-01T00:00:01Z".into()),
        ),
        (
            "OtherBucket",
            json!({"sameBucketOnly": true}),
            |other, _| {
                other.statement.location.bucket = "first".into();
            },
        ),
        ("ListOfAnotherBackup", json!({}), |other, _| {
            other.statement.backup.uid = uid(9);
        }),
        ("FieldsDiffer", json!({}), |other, _| {
            other.statement.backup.schedule = Some("daily".into());
        }),
        ("ListOfAnotherBackup", json!({}), |other, _| {
            other.statement.backup.name = "c".into();
            let files = ["velero-backup.json", "c.tar.gz"].map(|name| File {
                name: name.into(),
                size: 1,
                sha256: Sha256::of(b""),
            });
            other.statement.manifest = Manifest::new("c", files.into()).unwrap();
        }),
        ("ListForged", json!({}), |other, scene| {
            let mut json: Value =
                serde_json::from_str(&other.envelope().to_json().unwrap()).unwrap();
            json["signatures"][0]["sig"] = json!("AAAA");
            let now = Timestamp::now();
            scene
                .s3
                .put(&other.file(), json.to_string().as_bytes(), now);
        }),
    ];
    for (reason, spec, change) in changes {
        let mut scene = Scene::start().await;
        let mut other = Other::in_bucket(&scene);
        other.trust(&scene, &spec);
        change(&mut other, &scene);
        if reason != "ListForged" {
            other.sign(&scene);
        }
        sync(&scene);
        scene.run();
        scene.until_unobserved("b", &uid(2), reason).await;
        assert_eq!(scene.record("b", &uid(1)), None, "{reason} {spec}");
        assert_eq!(scene.checksum("b"), None);
    }
}

/// Whoever may write the bucket changes what Velero syncs.
#[tokio::test]
async fn a_backup_that_was_changed_before_the_sync_is_not_imported() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    let mut document: Value =
        serde_json::from_slice(&scene.s3.files(DOCUMENT)[0].1.content).unwrap();
    document["metadata"]["labels"] = json!({"velero.io/schedule-name": "daily"});
    let forged = document.to_string();
    scene.s3.put(DOCUMENT, forged.as_bytes(), Timestamp::now());
    sync(&scene);
    scene.run();
    scene.until_unobserved("b", &uid(2), "FieldsDiffer").await;
    let message = scene.status("b", &uid(2))["message"].to_string();
    assert!(message.contains("velero.io/schedule-name"), "{message}");
}

#[tokio::test]
async fn a_replica_of_the_bucket_is_as_good_and_is_told() {
    let mut scene = Scene::start().await;
    let mut other = Other::in_bucket(&scene);
    other.statement.location.bucket = "first".into();
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let status = scene.status("b", &uid(1));
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("were in bucket first"), "{status}");
    assert_eq!(status["location"]["bucket"], "bucket");
}

/// Lists of others beside the one that counts, some of which nobody may read.
#[tokio::test]
async fn the_list_that_counts_is_found_among_others() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    for number in 0..20 {
        let stranger = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let file = files::envelope(&stranger.public().id().to_string());
        let key = format!("backups/b/{file}");
        let envelope = stranger.sign(other.statement.to_bytes().unwrap()).unwrap();
        let json = envelope.to_json().unwrap();
        let content = if number % 2 == 0 {
            json.as_bytes()
        } else {
            b"{"
        };
        scene.s3.put(&key, content, Timestamp::now());
    }
    sync(&scene);
    let denied = scene.s3.files("backups/b/velero-trust.")[0].0.clone();
    scene
        .s3
        .set_hook(move |_, method, key| (method == "GET" && key == denied).then_some(403));
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    assert_eq!(scene.status("b", &uid(2))["listsNotRead"], 4);
    assert_eq!(lists_read(&scene), 16);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    scene.until_state("b", &uid(1), "Recorded").await;
}

/// Anybody who may write the bucket can put more lists before it than are looked at.
#[tokio::test]
async fn the_lists_of_trusted_keys_are_looked_at_first() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    for number in 0..20 {
        let key = format!("backups/b/velero-trust.{number:016}.dsse.json");
        scene.s3.put(&key, b"{", Timestamp::now());
    }
    other.trust(&scene, &json!({}));
    // The first guess is that this key signed it.
    let guessed = SigningKey::generate(Algorithm::Ed25519).unwrap();
    let key = json!({
        "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
        "metadata": {"name": "a"},
        "spec": {"publicKey": guessed.public_pem()},
    });
    scene.api.put(&format!("{KEYS}/a"), key);
    sync(&scene);
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(lists_read(&scene), 2);
}

/// `keys trust --from-backup` takes a key from there.
#[tokio::test]
async fn a_key_is_told_by_a_list_only_if_it_signed_it() {
    for is_signer in [true, false] {
        let mut scene = Scene::start().await;
        let mut other = Other::in_bucket(&scene);
        let stranger = SigningKey::generate(Algorithm::Ed25519).unwrap();
        if !is_signer {
            other.statement.public_key = Some(stranger.public_pem());
        }
        let mut envelope: Value =
            serde_json::from_str(&other.envelope().to_json().unwrap()).unwrap();
        let signatures = envelope["signatures"].as_array_mut().unwrap();
        let id = stranger.public().id().to_string();
        signatures.push(json!({"keyid": id, "sig": "AAAA"}));
        let content = envelope.to_string();
        scene
            .s3
            .put(&other.file(), content.as_bytes(), Timestamp::now());
        sync(&scene);
        // Without another key, nothing is looked at.
        let another = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let trusted = Other {
            key: Arc::new(another),
            ..Other::in_bucket(&scene)
        };
        trusted.trust(&scene, &json!({}));
        scene.run();
        scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
        let told = is_signer.then(|| other.key.public_pem());
        let signers = json!([
            {"keyId": other.id(), "publicKey": told},
            {"keyId": id, "publicKey": null},
        ]);
        let found = &scene.status("b", &uid(2))["signers"];
        for number in 0..2 {
            assert_eq!(found[number]["keyId"], signers[number]["keyId"]);
            let key = &found[number]["publicKey"];
            assert_eq!(*key, signers[number]["publicKey"], "{is_signer} {number}");
        }
    }
}

/// That a list cannot be read says nothing against the backup.
#[tokio::test]
async fn a_list_of_a_trusted_key_that_cannot_be_read_is_tried_again() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    let file = other.file();
    scene
        .s3
        .set_hook(move |_, method, key| (method == "GET" && key == file).then_some(403));
    scene.run();
    scene.until_state("b", &uid(2), "Unreadable").await;
    assert_eq!(scene.record("b", &uid(1)), None);
}

/// The TrustedKey is deleted while the list is read.
#[tokio::test]
async fn a_key_that_goes_in_the_middle_of_an_import_closes_what_it_opened() {
    let mut scene = Scene::start().await;
    let other = Other::in_bucket(&scene);
    other.sign(&scene);
    other.trust(&scene, &json!({}));
    sync(&scene);
    let (api, file) = (scene.api.clone(), other.file());
    scene.s3.set_hook(move |_, _, key| {
        if key == file {
            api.remove(&format!("{KEYS}/other-cluster"));
        }
        None
    });
    scene.run();
    scene.until_unobserved("b", &uid(2), "KeyUnknown").await;
    assert_eq!(scene.checksum("b"), None);
    assert_ne!(scene.status("b", &uid(1))["state"], "Recorded");
}
