//! What is counted is what a review of a Restore says, by the golden cases of reviews.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::sources::yaml;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");

/// The rule that a Backup counts under that has not all of its files.
const NOT_WHOLE: &str = "VT110";

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

/// Reads the documents of a file; none if it is not there.
fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let documents = yaml::documents(&text).map(|document| document.unwrap().to_json());
    documents.collect()
}

/// Returns the ledger that has these objects, and the Backup `name` in `velero`.
fn ledger(objects: &[Value], name: &str, policy: &Policy) -> Option<(Ledger, KnownBackup)> {
    let of_kind = |kind: &'static str| objects.iter().filter(move |one| one["kind"] == kind);
    let mut named = of_kind("Backup").filter(|backup| {
        backup["metadata"]["name"] == name && backup["metadata"]["namespace"] == "velero"
    });
    let known = [KnownBackup::from_json(&named.next()?.to_string())];
    let typed = |key: &Value| serde_json::from_value::<TrustedKey>(key.clone()).unwrap();
    let keys: Vec<_> = of_kind("TrustedKey").map(typed).collect();
    let mut judge = Judge::new(Some(&keys), &[("velero", &known)], policy);
    let mut records: Option<Records> = None;
    for record in of_kind("BackupRecord") {
        let record: BackupRecord = serde_json::from_value(record.clone()).unwrap();
        judge.add(&record);
        records.get_or_insert_default().add(record);
    }
    let ledger = Ledger {
        records,
        ..judge.finish()
    };
    let [known] = known;
    Some((ledger, known))
}

fn id(why: NotRestorable) -> &'static str {
    match why {
        NotRestorable::Denied(rule) | NotRestorable::Awaited(rule) => rule.id,
        NotRestorable::NotWhole(_) => NOT_WHOLE,
    }
}

fn rules(said: &Value) -> BTreeSet<&str> {
    let said = said.as_array().into_iter().flatten();
    said.filter_map(|said| said["rule"].as_str()).collect()
}

#[test]
fn what_is_counted_is_what_a_review_of_a_restore_says() {
    let mut compared = BTreeSet::new();
    let cases = folders(Path::new(CASES));
    for case in cases.iter().flat_map(|group| folders(group)) {
        let [request] = &documents(&case.join("request.yaml"))[..] else {
            continue;
        };
        let fields = request.as_object().unwrap().keys();
        let restore = &request["object"];
        let name = &restore["spec"]["backupName"];
        let is_plain = fields
            .into_iter()
            .all(|key| key == "object" || key == "restores")
            && restore["kind"] == "Restore"
            && restore["spec"] == json!({"backupName": name})
            && restore["metadata"]["annotations"].is_null()
            && restore["status"].is_null();
        // What is in a bucket, is known here from a reading only.
        if !is_plain || case.join("buckets").exists() {
            continue;
        }
        let mut policy = Policy::default();
        if let Some("warn") = request["restores"].as_str() {
            policy.restores = RestoresMode::Warn;
        }
        let objects = documents(&case.join("objects.yaml"));
        let Some((ledger, known)) = ledger(&objects, name.as_str().unwrap_or_default(), &policy)
        else {
            continue;
        };
        let (now, _) = ledger.why_not_restorable("velero", &known, &policy);
        let want = documents(&case.join("want.yaml")).remove(0);
        let mut expected = rules(&want["denied"]);
        if expected.is_empty() && policy.restores == RestoresMode::Enforce {
            let waits = rules(&want["warned"]);
            expected.extend(waits.into_iter().filter(|id| *id == "VT124"));
        }
        let told = now.map(id);
        let is_same = told.map_or(expected.is_empty(), |id| expected.contains(id));
        assert!(is_same, "{}: {told:?}, not {expected:?}", case.display());
        compared.insert(told.unwrap_or_default());
    }
    let all = [
        "", "VT101", "VT102", "VT110", "VT112", "VT113", "VT114", "VT124", "VT125", "VT126",
        "VT128",
    ];
    assert_eq!(compared, all.into());
}

/// Returns the objects of a case in which the files are as they were signed.
fn recorded() -> Vec<Value> {
    documents(&Path::new(CASES).join("restores/recorded/objects.yaml"))
}

#[test]
fn files_that_were_found_to_differ_are_not_restorable() {
    let digest = "0".repeat(64);
    let at = "2026-07-01T00:00:00Z";
    let mut objects = recorded();
    let policy = Policy::default();
    let why = |objects: &[Value]| {
        let (ledger, known) = ledger(objects, "b", &policy).unwrap();
        ledger
            .why_not_restorable("velero", &known, &policy)
            .0
            .map(id)
    };
    assert_eq!(why(&objects), None);
    let is_record = |one: &&mut Value| one["kind"] == "BackupRecord";
    let record = objects.iter_mut().find(is_record).unwrap();
    record["status"]["verification"] = json!({"reading": {
        "beganAt": at, "endedAt": at, "restores": ["r"], "provider": "aws", "bucket": "backups",
        "listing": digest, "files": [{"name": "b.tar.gz", "size": 1, "sha256": digest}],
    }});
    assert_eq!(why(&objects), Some("VT115"));
}

#[test]
fn of_many_records_no_envelope_is_kept() {
    let mut objects = recorded();
    let record = objects.iter().find(|one| one["kind"] == "BackupRecord");
    let mut others: Vec<_> = (0..3).map(|_| record.unwrap().clone()).collect();
    for (index, other) in others.iter_mut().enumerate() {
        other["spec"]["backup"] = json!(format!("c{index}"));
    }
    objects.extend(others);
    let policy = Policy::default();
    let (ledger, known) = ledger(&objects, "b", &policy).unwrap();
    assert_eq!(
        ledger.why_not_restorable("velero", &known, &policy),
        (None, None)
    );
    let records = ledger.records().unwrap();
    assert_eq!(records.all().count(), 4);
    let mut statuses = records.all().filter_map(|record| record.status.as_ref());
    assert!(statuses.all(|status| status.envelope.is_none()));
}
