use super::show::{may_be_of, select};
use super::signed::{sha256sums, signed};
use super::view::View;
use crate::digest::Sha256;
use crate::integrity::manifest::File;
use crate::integrity::manifest::Manifest;
use crate::integrity::pod_volumes::PodVolumes;
use crate::integrity::public_key::Algorithm;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Statement;
use crate::integrity::statement::{Level, Location};
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordStatus, KeyState, TrustedKey, record_name,
};
use crate::signing_key::SigningKey;
use crate::velero::backup_fields::BackupFields;
use kube::ResourceExt as _;
use serde_json::json;

fn statement() -> Statement {
    let names = ["velero-backup.json", "b.tar.gz"];
    let files = names.map(|name| File {
        name: name.to_owned(),
        size: 3,
        sha256: Sha256::of(b"abc"),
    });
    Statement {
        manifest: Manifest::new("b", files.into()).unwrap(),
        cluster: "cluster-uid".into(),
        backup: BackupFields {
            namespace: "velero".into(),
            name: "b".into(),
            uid: "uid".into(),
            phase: "Completed".into(),
            ..BackupFields::default()
        },
        location: Location::default(),
        pod_volumes: PodVolumes::none(),
        level: Level::Late,
        public_key: None,
    }
}

fn trusted(key: &SigningKey, state: KeyState) -> TrustedKey {
    let key = json!({
        "metadata": {"name": "key-1"},
        "spec": {"publicKey": key.public_pem(), "state": state},
    });
    serde_json::from_value(key).unwrap()
}

fn record(key: &SigningKey) -> BackupRecord {
    let payload = statement().to_bytes().unwrap();
    let record = json!({
        "metadata": {"name": "b.uid", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"namespace": "velero", "backup": "b", "uid": "uid"},
        "status": {
            "state": "Recorded", "level": "late",
            "checksum": format!("sha256:{}", Sha256::of(b"abc")),
            "manifest": format!("sha256:{}", Sha256::of(&payload)),
            "envelope": key.sign(payload).unwrap().to_json().unwrap(),
        },
    });
    serde_json::from_value(record).unwrap()
}

fn view(record: BackupRecord, keys: &[TrustedKey]) -> View {
    let signed = signed(&record, keys);
    View {
        record,
        signed,
        others: Vec::new(),
        by_hand: None,
    }
}

#[test]
fn what_a_key_of_the_cluster_signed_is_shown_and_read_by_sha256sum() {
    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let view = view(record(&key), &[trusted(&key, KeyState::VerifyOnly)]);
    let text = view.text();
    let id = key.public().id();
    assert!(
        text.contains(&format!("verified:  yes, signed by the key {id}")),
        "{text}"
    );
    assert!(text.contains("clock of the store"), "{text}");
    let json = serde_json::to_value(view.json()).unwrap();
    assert_eq!(
        (&json["verified"], &json["state"]),
        (&json!(true), &json!("Recorded"))
    );
    assert_eq!(json["signed"]["files"][0]["name"], "b.tar.gz");
    let digest = Sha256::of(b"abc");
    let sums = sha256sums(view.signed.as_ref().unwrap().as_ref().unwrap());
    assert_eq!(
        sums,
        format!("{digest}  b.tar.gz\n{digest}  velero-backup.json\n")
    );
}

#[test]
fn by_which_key_a_record_was_imported_is_shown() {
    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let mut record = record(&key);
    let own = view(record.clone(), &[]);
    assert!(!own.text().contains("imported:"));
    assert!(serde_json::to_value(own.json()).unwrap()["imported"].is_null());
    let imported = json!({"key": "cluster-a", "keyId": "3f0c"});
    let status = record.status.as_mut().unwrap();
    status.imported = Some(serde_json::from_value(imported.clone()).unwrap());
    let view = view(record, &[]);
    let text = view.text();
    assert!(
        text.contains("imported:  by TrustedKey cluster-a, key id 3f0c\n"),
        "{text}"
    );
    assert_eq!(
        serde_json::to_value(view.json()).unwrap()["imported"],
        imported
    );
}

/// Changes a record and its status.
type Change = fn(&mut BackupRecord, &mut BackupRecordStatus);

#[test]
fn what_no_key_of_the_cluster_signed_is_not_shown() {
    let [key, other] = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
    let why = |record: BackupRecord, keys: &[TrustedKey]| {
        let view = view(record, keys);
        let json = serde_json::to_value(view.json()).unwrap();
        assert_eq!(json["verified"], false);
        assert!(json["signed"].is_null(), "{json}");
        let text = view.text();
        assert!(
            !text.contains("tar.gz") && text.contains("verified:  no: "),
            "{text}"
        );
        view.signed.unwrap().unwrap_err()
    };
    let own = [trusted(&key, KeyState::Active)];
    assert!(why(record(&key), &[]).contains("signed by another key"));
    assert!(why(record(&key), &[trusted(&other, KeyState::Active)]).contains("another key"));
    let revoked = why(record(&key), &[trusted(&key, KeyState::Revoked)]);
    assert!(
        revoked.contains("TrustedKey key-1, which is revoked"),
        "{revoked}"
    );
    let changes: [(&str, Change); 8] = [
        ("spec.namespace in", |record, _| {
            record.spec.namespace = "other".into();
        }),
        ("spec.uid in", |record, _| {
            record.spec.uid = "other".into();
        }),
        ("status.checksum in", |_, status| {
            status.checksum = None;
        }),
        ("status.manifest in", |_, status| {
            status.manifest = None;
        }),
        ("status.level in", |_, status| {
            status.level = Some("observed".into());
        }),
        ("status.adoptedBy in", |_, status| {
            status.adopted_by = Some("jane".into());
        }),
        ("of the backup b, not of c", |record, _| {
            record.spec.backup = "c".into();
        }),
        ("has no envelope", |_, status| {
            status.envelope = None;
        }),
    ];
    for (expected, change) in changes {
        let mut forged = record(&key);
        let mut status = forged.status.take().unwrap();
        change(&mut forged, &mut status);
        forged.status = Some(status);
        let why = why(forged, &own);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn what_is_not_recorded_says_why() {
    let mut unreadable = record(&SigningKey::generate(Algorithm::Ed25519).unwrap());
    unreadable.status = Some(BackupRecordStatus {
        state: RecordState::Unreadable,
        reason: Some("AccessDenied".into()),
        message: Some("no right\n\u{1b}[2J".into()),
        ..BackupRecordStatus::default()
    });
    let view = view(unreadable, &[]);
    assert!(view.signed.is_none());
    assert!(
        view.text().contains("state:     Unreadable (AccessDenied)"),
        "{}",
        view.text()
    );
    assert!(
        view.why_not()
            .contains("it is Unreadable (AccessDenied): no right")
    );
}

/// Whoever vouches for a synced backup may do so in another namespace than the one that made it.
#[test]
fn an_adopted_backup_is_shown_with_who_vouches_for_it() {
    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let payload = Statement {
        level: Level::Adopted { by: "jane".into() },
        public_key: None,
        ..statement()
    };
    let payload = payload.to_bytes().unwrap();
    let adopted = |by: &str| {
        let mut record = record(&key);
        record.spec.namespace = "other".into();
        let status = record.status.take().unwrap();
        record.status = Some(BackupRecordStatus {
            level: Some("adopted".into()),
            adopted_by: Some(by.into()),
            manifest: Some(format!("sha256:{}", Sha256::of(&payload))),
            envelope: Some(key.sign(payload.clone()).unwrap().to_json().unwrap()),
            ..status
        });
        view(record, &[trusted(&key, KeyState::Active)])
    };
    let text = adopted("jane").text();
    assert!(text.contains("level:     on the word of jane"), "{text}");
    let why = adopted("bob").signed.unwrap().unwrap_err();
    assert!(why.contains("status.adoptedBy in the record"), "{why}");
}

#[test]
fn what_a_person_set_or_declared_is_shown_as_that() {
    let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
    let with = |status: BackupRecordStatus, by_hand: Option<&str>| {
        let mut record = record(&key);
        record.status = Some(status);
        let view = View {
            by_hand: by_hand.map(str::to_owned),
            ..view(record, &[])
        };
        assert!(view.signed.is_none());
        (view.text(), serde_json::to_value(view.json()).unwrap())
    };
    let declared = BackupRecordStatus {
        state: RecordState::Declared,
        adopted_by: Some("jane".into()),
        checksum: Some("sha256:c".into()),
        ..BackupRecordStatus::default()
    };
    let (text, json) = with(declared, None);
    assert!(
        text.contains("checksum:  sha256:c, on the word of jane"),
        "{text}"
    );
    assert_eq!(json["adoptedBy"], "jane");
    let failed = BackupRecordStatus {
        state: RecordState::Unobserved,
        not_adopted: Some("no tarball".into()),
        ..BackupRecordStatus::default()
    };
    let (text, json) = with(failed, Some("sha256:h"));
    assert!(text.contains("adoption:  failed: no tarball"), "{text}");
    assert!(text.contains("checksum:  sha256:h, set by hand"), "{text}");
    assert_eq!(json["checksumByHand"], "sha256:h");
}

#[test]
fn the_record_of_the_backup_that_is_there_is_shown() {
    let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
    let with = |name: &str, namespace: &str, created: &str, is_gone: bool| {
        let mut record = record(&key);
        record.metadata.name = Some(name.to_owned());
        record.metadata.creation_timestamp = serde_json::from_value(json!(created)).unwrap();
        record.spec.namespace = namespace.to_owned();
        let gone = json!({"at": "2026-01-02T00:00:00Z", "how": "Replaced"});
        let gone = is_gone.then(|| serde_json::from_value(gone).unwrap());
        record.status.as_mut().unwrap().gone = gone;
        record
    };
    let [old, new] = ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"];
    let found = |records: Vec<BackupRecord>, namespace| {
        let found = select(records, "b", namespace);
        found
            .map(|(record, others)| (record.name_any(), others))
            .map_err(|e| e.to_string())
    };
    let there = vec![
        with("a", "velero", old, false),
        with("b", "velero", new, true),
    ];
    assert_eq!(found(there, None), Ok(("a".into(), vec!["b".into()])));
    let gone = vec![
        with("a", "velero", old, true),
        with("b", "velero", new, true),
    ];
    assert_eq!(found(gone, None), Ok(("b".into(), vec!["a".into()])));
    let two = || {
        vec![
            with("a", "velero", old, false),
            with("b", "other", old, false),
        ]
    };
    let several = found(two(), None).unwrap_err();
    assert!(
        several.contains("in several namespaces: other, velero"),
        "{several}"
    );
    assert_eq!(found(two(), Some("other")), Ok(("b".into(), vec![])));
    let none = found(two(), Some("x")).unwrap_err();
    assert!(
        none.contains("no record of a backup named b in namespace x"),
        "{none}"
    );
}

#[test]
fn the_record_of_each_backup_is_found_by_its_name() {
    let uid = "3f2a0000-0000-4000-8000-00000000000a";
    for name in ["daily", "backup", &"a".repeat(188), &"a.b".repeat(84)] {
        for uid in [uid, "unusual", ""] {
            assert!(may_be_of(&record_name(name, uid), name), "{name} {uid}");
        }
        assert!(!may_be_of(&record_name("another", uid), name), "{name}");
    }
    assert!(!may_be_of(&record_name("backup", uid), "daily"));
}
