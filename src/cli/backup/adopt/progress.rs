//! How far the adoption of a backup is. Pure.

use crate::integrity::recording::{Record, RecordState, find_own};
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus};
use crate::velero::observed_backup::ObservedBackup;

/// How far an adoption is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The backup is recorded, or its checksum declared; how, for people.
    Done(String),
    /// velero-trust has not recorded it yet; why not, for people.
    Waiting(String),
    /// What the user wrote was removed before there was a record.
    AskAgain,
    /// It is not recorded; why not, for people.
    Failed(String),
}

/// Returns how far the adoption of `backup` is, which was read before the `records` of its name.
pub(super) fn progress(
    backup: Option<&ObservedBackup>,
    records: &[BackupRecord],
    declared: Option<&str>,
) -> Progress {
    let Some(backup) = backup else {
        return Progress::Failed("it is gone".to_owned());
    };
    let Some(status) = own_status(backup, records) else {
        return Progress::Waiting("it has no record yet; does velero-trust run?".to_owned());
    };
    let is_asked = backup.adoption.is_some();
    if let (RecordState::Recorded, Some(declared), Some(recorded)) =
        (status.state, declared, status.checksum.as_deref())
        && declared != recorded
    {
        return Progress::Failed(format!(
            "its files are recorded with {recorded}, which stays: {declared} is another one"
        ));
    }
    let is_done = match status.state {
        RecordState::Recorded => status.returned.is_none(),
        RecordState::Declared => declared.is_some() && status.checksum.as_deref() == declared,
        RecordState::TarballOnly => declared.is_none() && status.adopted_by.is_some(),
        _ => false,
    };
    match (is_done, is_asked, status.not_adopted.clone()) {
        (true, false, _) => Progress::Done(recorded(&status)),
        (true, true, _) => Progress::Waiting("the Backup is annotated".to_owned()),
        (false, true, Some(why)) => Progress::Waiting(why),
        (false, true, None) if status.returned.is_some() => {
            Progress::Waiting("it was deleted here and came back".to_owned())
        }
        (false, true, None) => Progress::Waiting(why_not(&status)),
        (false, false, Some(why)) => Progress::Failed(why),
        (false, false, None) => Progress::AskAgain,
    }
}

/// Returns what the record of `backup` says; `None` if it has none.
pub(super) fn own_status(
    backup: &ObservedBackup,
    records: &[BackupRecord],
) -> Option<BackupRecordStatus> {
    let known: Vec<Record<'_>> = records.iter().map(BackupRecord::known).collect();
    let uid = find_own(&backup.fields.uid, &known)?.uid;
    let record = records.iter().find(|record| record.spec.uid == uid)?;
    Some(record.status.clone().unwrap_or_default())
}

/// Returns the state of a record with its reason and message.
pub(super) fn why_not(status: &BackupRecordStatus) -> String {
    let state = status.state.as_str();
    let reason = status.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let message = status.message.as_ref();
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    format!("{state}{reason}{message}")
}

/// Returns how a backup is recorded.
pub(super) fn recorded(status: &BackupRecordStatus) -> String {
    let state = match (status.state, status.adopted_by.as_ref()) {
        (RecordState::Declared, Some(by)) => format!("declared by {by}"),
        (RecordState::TarballOnly, Some(by)) => {
            format!("recorded by its tarball only, on the word of {by}")
        }
        (_, Some(by)) => format!("recorded and signed on the word of {by}"),
        (_, None) => {
            let level = status.level.as_deref().unwrap_or_default();
            format!("recorded and signed without anybody's word ({level})")
        }
    };
    let size = match (status.files, status.bytes) {
        (Some(files), Some(bytes)) => format!(", {files} files of {bytes} bytes"),
        _ => String::new(),
    };
    let checksum = status.checksum.as_deref().unwrap_or_default();
    format!("{state}{size}, {checksum}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn backup(adopted: bool) -> ObservedBackup {
        let mut annotations =
            json!({"velero-trust.io/checksum": "c", "velero-trust.io/manifest": "m"});
        if adopted {
            annotations["velero-trust.io/adopt"] = json!("jane");
        }
        let backup = json!({"metadata": {"name": "b", "uid": "u", "annotations": annotations}});
        ObservedBackup::from_json(&backup.to_string()).unwrap()
    }

    fn record(uid: &str, status: &Value) -> BackupRecord {
        let record = json!({
            "metadata": {},
            "spec": {"namespace": "velero", "backup": "b", "uid": uid},
            "status": status,
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_checksum_does_not_replace_that_of_the_files() {
        let recorded = json!({"state": "Recorded", "checksum": "sha256:0"});
        let Progress::Failed(why) = at(false, &recorded, Some("sha256:1")) else {
            panic!()
        };
        assert!(why.contains("recorded with sha256:0"), "{why}");
        let same = at(false, &recorded, Some("sha256:0"));
        assert!(matches!(same, Progress::Done(_)));
    }

    fn at(adopted: bool, status: &Value, declared: Option<&str>) -> Progress {
        progress(Some(&backup(adopted)), &[record("u", status)], declared)
    }

    #[test]
    fn it_is_done_once_the_annotation_is_gone() {
        let adopted = json!({
            "state": "Recorded", "level": "adopted", "adoptedBy": "jane",
            "checksum": "c", "manifest": "m", "files": 9, "bytes": 10,
        });
        let done = "recorded and signed on the word of jane, 9 files of 10 bytes, c";
        assert_eq!(at(false, &adopted, None), Progress::Done(done.into()));
        assert!(matches!(at(true, &adopted, None), Progress::Waiting(_)));
        // That of a synced backup has the uid in its files.
        let unobserved = record("u", &json!({"state": "Unobserved"}));
        let mut synced = adopted;
        synced["syncedAs"] = json!("u");
        let both = [unobserved, record("v", &synced)];
        let synced = progress(Some(&backup(false)), &both, None);
        assert_eq!(synced, Progress::Done(done.into()));
        let late = json!({"state": "Recorded", "level": "late", "checksum": "c"});
        let done = "recorded and signed without anybody's word (late), c";
        assert_eq!(at(false, &late, None), Progress::Done(done.into()));
    }

    #[test]
    fn a_declared_checksum_is_the_one_that_was_declared() {
        let declared = json!({"state": "Declared", "adoptedBy": "jane", "checksum": "c"});
        let done = Progress::Done("declared by jane, c".into());
        assert_eq!(at(false, &declared, Some("c")), done);
        assert_eq!(at(false, &declared, Some("other")), Progress::AskAgain);
        // Its files are to be signed.
        assert_eq!(at(false, &declared, None), Progress::AskAgain);
        let waiting = Progress::Waiting("Declared".into());
        assert_eq!(at(true, &declared, None), waiting);
    }

    #[test]
    fn what_came_back_is_wanted_once_the_record_says_so() {
        let mut status = json!({
            "state": "Recorded", "level": "late", "checksum": "c",
            "returned": {"at": "2026-07-02T00:00:00Z", "how": "Deleted"},
        });
        let waiting = Progress::Waiting("it was deleted here and came back".into());
        assert_eq!(at(true, &status, None), waiting);
        assert_eq!(at(false, &status, None), Progress::AskAgain);
        status["returned"] = Value::Null;
        let done = "recorded and signed without anybody's word (late), c";
        assert_eq!(at(false, &status, None), Progress::Done(done.into()));
    }

    #[test]
    fn what_is_removed_before_there_is_a_record_is_asked_again() {
        let unobserved = |why: Option<&str>| json!({"state": "Unobserved", "reason": "Synced", "message": "it came", "notAdopted": why});
        assert_eq!(at(false, &unobserved(None), None), Progress::AskAgain);
        let why = unobserved(Some("no tarball"));
        assert_eq!(at(false, &why, None), Progress::Failed("no tarball".into()));
        assert_eq!(at(true, &why, None), Progress::Waiting("no tarball".into()));
        let waiting = Progress::Waiting("Unobserved (Synced): it came".into());
        assert_eq!(at(true, &unobserved(None), None), waiting);
        assert_eq!(
            progress(None, &[], None),
            Progress::Failed("it is gone".into())
        );
        for adopted in [true, false] {
            let none = progress(Some(&backup(adopted)), &[], None);
            assert!(matches!(none, Progress::Waiting(_)), "{none:?}");
        }
    }
}
