//! What the recorder does next with a Backup.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::statement::Level;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// How far the recording of a backup is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
pub enum RecordState {
    /// The backup is not complete yet, or its files are being read.
    #[default]
    Pending,
    /// The files are recorded and signed.
    Recorded,
    /// The files are not known to be those that Velero wrote here. They are not signed.
    Unobserved,
    /// The files could not be read; they are tried again.
    Unreadable,
}

impl RecordState {
    /// Whether the files are judged. That stays.
    pub const fn is_judgement(self) -> bool {
        matches!(self, Self::Recorded | Self::Unobserved)
    }

    /// Returns the name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Recorded => "Recorded",
            Self::Unobserved => "Unobserved",
            Self::Unreadable => "Unreadable",
        }
    }
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `spec.uid`: the uid in velero-backup.json.
    pub uid: &'a str,
    /// How far it is.
    pub state: RecordState,
    /// Whether the backup was seen before it was complete.
    pub is_observed: bool,
    /// The checksum of the tarball as an annotation.
    pub checksum: Option<&'a str>,
    /// The digest of what is signed as an annotation.
    pub manifest: Option<&'a str>,
}

/// What to do next with a Backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing, until the Backup changes.
    Wait,
    /// Make a record, which shows later that the backup was seen before it was complete.
    Observe,
    /// Delete the record of this uid: there will be no files.
    Forget(&'a str),
    /// Read the files and record them.
    Read(Level),
    /// Write what the record of this uid says on the Backup.
    Annotate(&'a str),
}

/// Decides what to do with `backup`, where `records` are all those of its namespace and name, and
/// `is_observed` tells whether this process saw it before it was complete.
///
/// The first judgement stays: what is not known to be ours does not become so by itself.
pub fn next<'a>(backup: &ObservedBackup, records: &[Record<'a>], is_observed: bool) -> Step<'a> {
    let level = |was_observed: bool| {
        if is_observed || was_observed {
            Level::Observed
        } else {
            Level::Late
        }
    };
    let own = records
        .iter()
        .find(|record| record.uid == backup.fields.uid);
    match (backup.progress(), own) {
        (Progress::Running, None) => Step::Observe,
        (Progress::Over, Some(record)) if !record.state.is_judgement() => Step::Forget(record.uid),
        (Progress::Running, Some(_)) | (Progress::Over, _) => Step::Wait,
        (Progress::Complete, Some(record)) => match record.state {
            RecordState::Recorded if is_annotated(backup, record) => Step::Wait,
            RecordState::Recorded => Step::Annotate(record.uid),
            RecordState::Unobserved => Step::Wait,
            RecordState::Pending | RecordState::Unreadable => Step::Read(level(record.is_observed)),
        },
        // The sync gives a Backup a new uid. Which record is its own is in the bucket.
        (Progress::Complete, None) => {
            if find_own(backup, records).is_some() {
                Step::Wait
            } else {
                Step::Read(level(false))
            }
        }
    }
}

/// Returns the record of `backup` among those of its namespace and name: the one with its uid or,
/// for a Backup that the sync made again, the one whose annotations it has.
pub fn find_own<'r, 'a>(
    backup: &ObservedBackup,
    records: &'r [Record<'a>],
) -> Option<&'r Record<'a>> {
    let own = records
        .iter()
        .find(|record| record.uid == backup.fields.uid);
    own.or_else(|| {
        records
            .iter()
            .find(|record| record.state == RecordState::Recorded && is_annotated(backup, record))
    })
}

/// Whether the annotations of `backup` are those of `record`.
fn is_annotated(backup: &ObservedBackup, record: &Record<'_>) -> bool {
    let annotations = (backup.checksum.as_deref(), backup.manifest.as_deref());
    annotations == (record.checksum, record.manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn backup(phase: &str, checksum: &str) -> ObservedBackup {
        let backup = json!({
            "metadata": {
                "uid": "u",
                "annotations": {
                    "velero-trust.io/checksum": checksum,
                    "velero-trust.io/manifest": "m",
                },
            },
            "status": {"phase": phase},
        });
        ObservedBackup::from_json(&backup.to_string()).unwrap()
    }

    fn record(uid: &str, state: RecordState) -> Record<'_> {
        Record {
            uid,
            state,
            is_observed: true,
            checksum: Some("c"),
            manifest: Some("m"),
        }
    }

    const STATES: [RecordState; 4] = [
        RecordState::Pending,
        RecordState::Recorded,
        RecordState::Unobserved,
        RecordState::Unreadable,
    ];

    #[test]
    fn a_backup_is_seen_then_read_once_then_annotated() {
        let step =
            |phase: &str, records: &[Record<'static>]| next(&backup(phase, "x"), records, false);
        assert_eq!(step("InProgress", &[]), Step::Observe);
        assert_eq!(
            step("InProgress", &[record("u", RecordState::Pending)]),
            Step::Wait
        );
        let observed = [record("u", RecordState::Pending)];
        assert_eq!(step("Completed", &observed), Step::Read(Level::Observed));
        assert_eq!(step("Completed", &[]), Step::Read(Level::Late));
        // So fast that no record was made meanwhile.
        let fast = next(&backup("Completed", "x"), &[], true);
        assert_eq!(fast, Step::Read(Level::Observed));
        let unreadable = [record("u", RecordState::Unreadable)];
        assert_eq!(
            step("PartiallyFailed", &unreadable),
            Step::Read(Level::Observed)
        );
        let late = [Record {
            is_observed: false,
            ..record("u", RecordState::Unreadable)
        }];
        assert_eq!(step("PartiallyFailed", &late), Step::Read(Level::Late));
        let recorded = [record("u", RecordState::Recorded)];
        assert_eq!(step("Completed", &recorded), Step::Annotate("u"));
        assert_eq!(
            next(&backup("Completed", "c"), &recorded, false),
            Step::Wait
        );
        // The first judgement stays.
        let unobserved = [record("u", RecordState::Unobserved)];
        assert_eq!(step("Completed", &unobserved), Step::Wait);
    }

    #[test]
    fn a_backup_without_files_needs_no_record_unless_they_were_judged() {
        for phase in ["Failed", "Deleting"] {
            assert_eq!(next(&backup(phase, "x"), &[], false), Step::Wait);
            for state in STATES {
                let expected = if state.is_judgement() {
                    Step::Wait
                } else {
                    Step::Forget("u")
                };
                assert_eq!(
                    next(&backup(phase, "x"), &[record("u", state)], false),
                    expected
                );
            }
        }
    }

    #[test]
    fn a_synced_backup_is_looked_up_until_it_is_annotated_as_recorded() {
        let other = [record("v", RecordState::Recorded)];
        assert_eq!(
            next(&backup("Completed", "x"), &other, false),
            Step::Read(Level::Late)
        );
        assert_eq!(next(&backup("Completed", "c"), &other, false), Step::Wait);
        for state in STATES
            .into_iter()
            .filter(|state| *state != RecordState::Recorded)
        {
            let other = [record("v", state)];
            let step = next(&backup("Completed", "c"), &other, false);
            assert_eq!(step, Step::Read(Level::Late), "{state:?}");
        }
        assert_eq!(next(&backup("New", "c"), &other, false), Step::Observe);
    }

    #[test]
    fn the_record_of_a_backup_has_its_uid_or_its_annotations() {
        let find = |checksum: &str, records: &[Record<'static>]| {
            let found = find_own(&backup("Completed", checksum), records);
            found.map(|record| record.uid)
        };
        let own = record("u", RecordState::Unreadable);
        let synced = record("v", RecordState::Recorded);
        assert_eq!(find("c", &[synced, own]), Some("u"));
        assert_eq!(find("c", &[synced]), Some("v"));
        assert_eq!(find("x", &[synced]), None, "another checksum");
        let unobserved = record("v", RecordState::Unobserved);
        assert_eq!(find("c", &[unobserved]), None, "nothing is recorded");
    }
}
