//! The golden cases with records of this cluster, as if another cluster had signed them and they were imported.

use std::collections::BTreeSet;

use crate::case_files::{Case, all};

/// The uid of the Backup that Velero made from the bucket.
const SYNCED: &str = "synced";

/// Lets the record of the Backup `b` be one that was imported, of which Velero made the Backup from the bucket. Returns
/// `None` if the case has no such record, or is about imports anyway.
fn imported(case: Case) -> Option<Case> {
    let documents = case.objects.split("---\n");
    let is = |document: &str, kind: &str| {
        document.contains(&format!("kind: {kind}\nmetadata: {{name: b"))
    };
    let mut has_record = false;
    let documents = documents.map(|document| {
        if is(document, "Backup") {
            return document.replacen(" uid: u", &format!(" uid: {SYNCED}"), 1);
        }
        let is_recorded = document.contains(" uid: u,") && document.contains("state: Recorded\n");
        if !is(document, "BackupRecord") || !is_recorded {
            return document.to_owned();
        }
        has_record = true;
        let mut status = "status:\n  imported: {key: key, keyId: \"\"}\n".to_owned();
        if !document.contains("syncedAs") {
            status = format!("{status}  syncedAs: {SYNCED}\n");
        }
        document.replacen("status:\n", &status, 1)
    });
    let objects = documents.collect::<Vec<_>>().join("---\n");
    let is_about_imports = case.objects.contains("imported:");
    (has_record && !is_about_imports).then_some(Case { objects, ..case })
}

/// What is signed counts the same, whoever read the files.
#[test]
fn an_imported_record_is_judged_as_one_of_this_cluster() {
    let mut rules = BTreeSet::new();
    let mut failures = Vec::new();
    for case in all().into_iter().filter_map(imported) {
        let mismatches = case.mismatches();
        if !mismatches.is_empty() {
            failures.push(format!("{}:\n  {}", case.name, mismatches.join("\n  ")));
        }
        rules.extend(case.rule().map(str::to_owned));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let all = [
        "VT112", "VT113", "VT114", "VT115", "VT116", "VT117", "VT118",
    ];
    let lacking: Vec<_> = all
        .into_iter()
        .filter(|rule| !rules.contains(*rule))
        .collect();
    assert_eq!(lacking, [""; 0]);
}
