//! Counts the backups that are recorded, and the others by the reason.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::Backup;
use crate::integrity::recording::{Record, RecordState, find_own};
use crate::kubernetes::crds::BackupRecord;
use crate::velero::observed_backup::Progress;

/// How many backups of a namespace are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct RecordTally {
    /// Those that are recorded or declared, by who vouches for their files.
    pub(in crate::cli) levels: BTreeMap<String, usize>,
    /// Those of them that were imported, by the TrustedKey that vouched for them.
    pub(in crate::cli) imported: BTreeMap<String, usize>,
    /// The others by the reason. There are as many as states and reasons.
    pub(in crate::cli) others: BTreeMap<NotRecorded, Others>,
}

/// Why a backup is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::cli) struct NotRecorded {
    pub(in crate::cli) state: NotRecordedState,
    /// The reason in the record; for [`NotRecordedState::NothingToRecord`] the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<String>,
}

/// How far a backup is that is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::cli) enum NotRecordedState {
    /// It is not complete yet, or its files are being read.
    Pending,
    /// Its files are not known to be those that Velero wrote here.
    Unobserved,
    /// Its files could not be read.
    Unreadable,
    /// Only its tarball could be read, by a URL that Velero signed.
    TarballOnly,
    /// It is complete and has no record.
    NoRecord,
    /// It failed, or is being deleted.
    NothingToRecord,
}

impl NotRecordedState {
    /// Returns the words for people.
    pub(in crate::cli) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Unobserved => "not observed",
            Self::Unreadable => "unreadable",
            Self::TarballOnly => "tarball only",
            Self::NoRecord => "no record",
            Self::NothingToRecord => "nothing to record",
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The backups that are not recorded for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Others {
    pub(in crate::cli) count: usize,
    /// Those of them with a checksum that somebody set by hand.
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::cli) checksum_by_hand: usize,
    /// What the record of one of them says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) message: Option<String>,
}

impl RecordTally {
    /// Counts a Backup with which Velero is as far as `progress` says. `records` are all of its namespace and name.
    pub(in crate::cli) fn add(
        &mut self,
        backup: &Backup,
        progress: Progress,
        records: &[BackupRecord],
    ) {
        let known: Vec<Record<'_>> = records.iter().map(BackupRecord::known).collect();
        let own = find_own(&backup.fields.uid, &known).map(|found| found.uid);
        let own = records.iter().find(|record| Some(&*record.spec.uid) == own);
        let status = own.and_then(|record| record.status.as_ref());
        let reason = || status.and_then(|status| status.reason.clone());
        let state = own.map(|_| status.map(|status| status.state).unwrap_or_default());
        let (state, reason) = match (state, progress) {
            (Some(RecordState::Recorded | RecordState::Declared), _) => {
                let level = status.and_then(|status| status.level.clone());
                *self.levels.entry(level.unwrap_or_default()).or_default() += 1;
                if let Some(imported) = status.and_then(|status| status.imported.as_ref()) {
                    *self.imported.entry(imported.key.clone()).or_default() += 1;
                }
                return;
            }
            (Some(RecordState::Pending), _) | (None, Progress::Running) => {
                (NotRecordedState::Pending, None)
            }
            (Some(RecordState::Unobserved), _) => (NotRecordedState::Unobserved, reason()),
            (Some(RecordState::Unreadable), _) => (NotRecordedState::Unreadable, reason()),
            (Some(RecordState::TarballOnly), _) => (NotRecordedState::TarballOnly, reason()),
            (None, Progress::Complete) => (NotRecordedState::NoRecord, None),
            (None, Progress::Over) => {
                let phase = backup.fields.phase.clone();
                (NotRecordedState::NothingToRecord, Some(phase))
            }
        };
        let message = status.and_then(|status| status.message.as_deref());
        let message = message.filter(|_| state != NotRecordedState::Pending);
        let others = self.add_other(state, reason, message);
        let is_by_hand = backup.checksum.is_some() && state != NotRecordedState::TarballOnly;
        others.checksum_by_hand += usize::from(is_by_hand);
    }

    /// Counts a Backup that is not as Velero's schema says.
    pub(in crate::cli) fn add_malformed(&mut self) {
        let reason = Some("BackupMalformed".to_owned());
        self.add_other(NotRecordedState::NoRecord, reason, None);
    }

    fn add_other(
        &mut self,
        state: NotRecordedState,
        reason: Option<String>,
        message: Option<&str>,
    ) -> &mut Others {
        let others = self
            .others
            .entry(NotRecorded { state, reason })
            .or_default();
        others.count += 1;
        if others.message.is_none() {
            others.message = message.map(str::to_owned);
        }
        others
    }

    /// Returns the number of backups that are recorded.
    pub(in crate::cli) fn recorded(&self) -> usize {
        self.levels.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::backups::KnownBackup;
    use super::*;
    use serde_json::{Value, json};

    fn record(uid: &str, status: &Value) -> BackupRecord {
        let record = json!({
            "metadata": {},
            "spec": {"namespace": "velero", "backup": "b", "uid": uid},
            "status": status,
        });
        serde_json::from_value(record).unwrap()
    }

    fn tally(phase: &str, uid: &str, records: &[BackupRecord]) -> RecordTally {
        let backup = json!({
            "metadata": {
                "uid": uid,
                "annotations": {"velero-trust.io/checksum": "c", "velero-trust.io/manifest": "m"},
            },
            "status": {"phase": phase},
        });
        let mut tally = RecordTally::default();
        let known = KnownBackup::from_json(&backup.to_string());
        tally.add(&known.backup, known.progress.unwrap(), records);
        tally
    }

    /// Returns the only reason, as text, with its message.
    fn why(phase: &str, uid: &str, records: &[BackupRecord]) -> String {
        let tally = tally(phase, uid, records);
        assert_eq!(tally.recorded(), 0);
        let (why, others) = tally.others.first_key_value().unwrap();
        assert_eq!((tally.others.len(), others.count), (1, 1));
        assert_eq!(others.checksum_by_hand, 1, "{why:?}");
        format!("{:?} {:?} {:?}", why.state, why.reason, others.message)
    }

    #[test]
    fn a_backup_counts_by_its_own_record() {
        let recorded =
            || json!({"state": "Recorded", "level": "late", "checksum": "c", "manifest": "m"});
        let own = [record("u", &recorded())];
        let late = BTreeMap::from([("late".to_owned(), 1)]);
        assert_eq!(tally("Completed", "u", &own).levels, late);
        let declared = record("u", &json!({"state": "Declared", "level": "declared"}));
        let by_word = BTreeMap::from([("declared".to_owned(), 1)]);
        assert_eq!(tally("Completed", "u", &[declared]).levels, by_word);
        // Velero synced it again: it has another uid, which its record knows.
        let mut synced = recorded();
        synced["syncedAs"] = json!("synced");
        assert_eq!(
            tally("Completed", "synced", &[record("u", &synced)]).levels,
            late
        );
        assert_eq!(why("Completed", "synced", &own), "NoRecord None None");
        synced["imported"] = json!({"key": "cluster-a", "keyId": "k"});
        let imported = tally("Completed", "synced", &[record("u", &synced)]);
        assert_eq!(imported.levels, late);
        assert_eq!(
            imported.imported,
            BTreeMap::from([("cluster-a".to_owned(), 1)])
        );
    }

    #[test]
    fn what_is_not_recorded_has_its_reason_and_one_message() {
        let with = |state: &str| {
            let message = format!("{state}!");
            [record(
                "u",
                &json!({"state": state, "reason": "Why", "message": message}),
            )]
        };
        let told = |state: &str| why("Completed", "u", &with(state));
        assert_eq!(
            told("Unobserved"),
            r#"Unobserved Some("Why") Some("Unobserved!")"#
        );
        assert_eq!(
            told("Unreadable"),
            r#"Unreadable Some("Why") Some("Unreadable!")"#
        );
        assert_eq!(told("Pending"), "Pending None None");
        assert_eq!(why("InProgress", "u", &[]), "Pending None None");
        assert_eq!(why("Completed", "u", &[]), "NoRecord None None");
        assert_eq!(
            why("Failed", "u", &[]),
            r#"NothingToRecord Some("Failed") None"#
        );
        let mut twice = RecordTally::default();
        for message in ["first", "second"] {
            twice.add_other(NotRecordedState::Unreadable, None, Some(message));
        }
        let others = twice.others.into_values().next().unwrap();
        assert_eq!(
            (others.count, others.message.as_deref()),
            (2, Some("first"))
        );
    }
}
