//! What the recorder does next with a Backup.

use std::time::Duration;

use super::statement::Level;
pub use crate::decision::RecordState;
use crate::decision::{BackupRecord, Departure};
use crate::digest::{DigestText, Sha256};
use crate::velero::observed_backup::{Adoption, ObservedBackup, Progress};

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `spec.uid`: the uid in velero-backup.json.
    pub uid: &'a str,
    /// How far it is.
    pub state: RecordState,
    /// Whether the backup was seen before it was complete.
    pub is_observed: bool,
    /// Whether it tells when the backup was complete.
    pub has_final_phase: bool,
    /// Whether an envelope may be in the bucket that has to go with the backup.
    pub has_pending_upload: bool,
    /// The checksum of the tarball as an annotation.
    pub checksum: Option<Sha256>,
    /// The digest of what is signed as an annotation.
    pub manifest: Option<Sha256>,
    /// The uid of the Backup in the cluster, if Velero made it from the bucket.
    pub synced_as: Option<&'a str>,
    /// What may be different now about who vouches for it.
    pub keys: KeyChange,
    /// How the Backup went away before it came back.
    pub returned: Option<Departure>,
}

/// What may be different now about who vouches for a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyChange {
    /// Nothing.
    #[default]
    Nothing,
    /// Others count than those that did not vouch for the backup.
    Others,
    /// No signed list vouched for the backup, and it is time to look again for one.
    LookDue,
    /// The one by which it was imported does not count for it any more.
    Distrusted,
}

/// What this process knows of a Backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It saw the Backup before it was complete.
    pub was_running: bool,
    /// It wrote into the record when the Backup was complete. An older kind may have no field for it.
    pub has_noted: bool,
}

/// What to do next with a Backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing, until the Backup changes.
    Wait,
    /// Make a record, which shows later that the backup was seen before it was complete.
    Observe,
    /// Note in the record when the Backup was complete, before anything is read. That may have to wait.
    NoteFinalPhase,
    /// Delete the record of this uid: there will be no files.
    Forget(&'a str),
    /// Read the files and record them.
    Read(Level),
    /// Note in the record of this uid that the Backup, which came back, is wanted.
    TakeBack(&'a str),
    /// Look again whether a signed list beside the files vouches for them.
    Import,
    /// Close the record of this uid: the key by which it was imported does not count any more.
    Distrust(&'a str),
    /// Record the checksum that a person declares.
    Declare,
    /// Write what the record of this uid says on the Backup.
    Annotate(&'a str),
}

/// Decides what to do with `backup`, where `records` are all those of its namespace and name.
///
/// The first judgement stays: what is not known to be ours does not become so by itself. A person may
/// vouch for it, once there is a record; before, the annotations may have come with the Backup.
pub fn next<'a>(backup: &ObservedBackup, records: &[Record<'a>], seen: Seen) -> Step<'a> {
    let level = |was_observed: bool| {
        if seen.was_running || was_observed {
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
        (Progress::Over, Some(record))
            if !record.state.is_judgement() && !record.has_pending_upload =>
        {
            Step::Forget(record.uid)
        }
        (Progress::Running, Some(_)) | (Progress::Over, _) => Step::Wait,
        (Progress::Complete, Some(record)) => match (record.state, adoption(backup)) {
            // It has the record of the uid in its files: it was adopted, or the store is back.
            (
                RecordState::Unobserved
                | RecordState::Declared
                | RecordState::TarballOnly
                | RecordState::Pending
                | RecordState::Unreadable,
                None,
            ) if find_synced(&backup.fields.uid, records).is_some() => Step::Forget(record.uid),
            (RecordState::Recorded, _) if record.keys == KeyChange::Distrusted => {
                Step::Distrust(record.uid)
            }
            (RecordState::Recorded, _)
            | (RecordState::Declared | RecordState::TarballOnly, None) => {
                annotate_or_wait(backup, record)
            }
            (RecordState::Unobserved, None)
                if matches!(record.keys, KeyChange::Others | KeyChange::LookDue) =>
            {
                Step::Import
            }
            (RecordState::Unobserved, None) => Step::Wait,
            (
                RecordState::Unobserved | RecordState::Declared | RecordState::TarballOnly,
                Some(adopt),
            ) => adopt,
            (RecordState::Unreadable, Some(Step::Declare)) => Step::Declare,
            (RecordState::Pending | RecordState::Unreadable, _)
                if !record.has_final_phase && !seen.has_noted =>
            {
                Step::NoteFinalPhase
            }
            (RecordState::Pending | RecordState::Unreadable, _) => {
                Step::Read(level(record.is_observed))
            }
        },
        // The sync gives a Backup a new uid. Which record is its own is in the bucket.
        (Progress::Complete, None) => match find_synced(&backup.fields.uid, records) {
            Some(record) if record.keys == KeyChange::Distrusted => Step::Distrust(record.uid),
            Some(record) => annotate_or_wait(backup, record),
            // So fast that no record was made meanwhile.
            None if seen.was_running && !seen.has_noted => Step::NoteFinalPhase,
            None => Step::Read(level(false)),
        },
    }
}

/// Shortest and longest time between two looks for the signed list of another cluster.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_hours(12));

/// Returns how long to wait before looking `now` again for a signed list beside a backup that `completed`, in seconds
/// since 1970. The other cluster puts its list there once it has read all files, and Velero's sync may be faster. A
/// list that came late once more takes as long again, so an old backup costs a request in half a day.
pub fn pause_before_look(completed: Option<i64>, now: i64) -> Duration {
    let (shortest, longest) = LOOK_PAUSES;
    // A clock that is ahead is as wrong as it is ahead.
    let age = completed.map(|completed| Duration::from_secs(now.abs_diff(completed) / 2));
    age.map_or(longest, |age| age.clamp(shortest, longest))
}

/// Returns the step to which a person vouches for `backup`.
fn adoption(backup: &ObservedBackup) -> Option<Step<'static>> {
    let Adoption { by, declared } = backup.adoption.as_ref()?;
    Some(match declared {
        Some(_) => Step::Declare,
        None => Step::Read(Level::Adopted { by: by.clone() }),
    })
}

/// Whoever vouches for what is recorded already is too late.
fn annotate_or_wait<'a>(backup: &ObservedBackup, record: &Record<'a>) -> Step<'a> {
    if record.returned.is_some() && backup.adoption.is_some() {
        Step::TakeBack(record.uid)
    } else if is_annotated(backup, record.checksum, record.manifest) && backup.adoption.is_none() {
        Step::Wait
    } else {
        Step::Annotate(record.uid)
    }
}

/// What decides which Backup a record is about.
pub trait Identified {
    /// Returns the uid in velero-backup.json.
    fn uid(&self) -> &str;
    /// Returns how far the recording is.
    fn state(&self) -> RecordState;
    /// Returns the uid of the Backup in the cluster, if Velero made it from the bucket.
    fn synced_as(&self) -> Option<&str>;
}

impl Identified for Record<'_> {
    fn uid(&self) -> &str {
        self.uid
    }

    fn state(&self) -> RecordState {
        self.state
    }

    fn synced_as(&self) -> Option<&str> {
        self.synced_as
    }
}

impl Identified for BackupRecord {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn state(&self) -> RecordState {
        self.state
    }

    fn synced_as(&self) -> Option<&str> {
        self.synced_as.as_deref()
    }
}

/// Returns the record of the Backup with `uid` among those of its namespace and name: the one with its
/// uid or, for a Backup that the sync made, the one that was found by the uid in its files.
pub fn find_own<'r, R: Identified>(uid: &str, records: &'r [R]) -> Option<&'r R> {
    let own = records.iter().find(|record| record.uid() == uid);
    let synced = find_synced(uid, records);
    match own.map(R::state) {
        Some(RecordState::Recorded) => own,
        _ => synced.or(own),
    }
}

/// Returns the record that was found for the Backup with `uid` by the uid in its files. Its annotations
/// tell nothing: anybody can copy those of another Backup.
fn find_synced<'r, R: Identified>(uid: &str, records: &'r [R]) -> Option<&'r R> {
    let is_linked =
        |record: &&R| record.state() == RecordState::Recorded && record.synced_as() == Some(uid);
    records.iter().find(is_linked)
}

/// Whether `backup` has the annotations of a record with these digests.
pub fn is_annotated(
    backup: &ObservedBackup,
    checksum: Option<Sha256>,
    manifest: Option<Sha256>,
) -> bool {
    let recorded = [checksum, manifest].map(|digest| digest.map(DigestText::Sha256));
    recorded == [backup.checksum, backup.manifest]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    /// Returns a Backup that is annotated with the digests of `checksum` and of "m".
    fn backup(phase: &str, checksum: &str) -> ObservedBackup {
        let backup = json!({
            "metadata": {
                "uid": "u",
                "annotations": {
                    "velero-trust.io/checksum": digest(checksum).prefixed(),
                    "velero-trust.io/manifest": digest("m").prefixed(),
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
            has_final_phase: true,
            has_pending_upload: false,
            checksum: Some(digest("c")),
            manifest: Some(digest("m")),
            synced_as: None,
            keys: KeyChange::Nothing,
            returned: None,
        }
    }

    fn next<'a>(backup: &ObservedBackup, records: &[Record<'a>], was_running: bool) -> Step<'a> {
        let seen = Seen {
            was_running,
            has_noted: true,
        };
        super::next(backup, records, seen)
    }

    #[test]
    fn when_a_backup_was_complete_is_noted_before_it_is_read() {
        let step = |records: &[Record<'static>], was_running, has_noted| {
            let seen = Seen {
                was_running,
                has_noted,
            };
            super::next(&backup("Completed", "x"), records, seen)
        };
        let with = |state, has_final_phase| {
            [Record {
                has_final_phase,
                ..record("u", state)
            }]
        };
        for state in [RecordState::Pending, RecordState::Unreadable] {
            let read = Step::Read(Level::Observed);
            let lacking = with(state, false);
            assert_eq!(step(&lacking, false, false), Step::NoteFinalPhase);
            assert_eq!(step(&lacking, false, true), read, "an older kind");
            assert_eq!(step(&with(state, true), false, false), read);
        }
        let unobserved = with(RecordState::Unobserved, false);
        assert_eq!(step(&unobserved, false, false), Step::Wait);
        assert_eq!(step(&[], true, false), Step::NoteFinalPhase);
        assert_eq!(step(&[], true, true), Step::Read(Level::Observed));
        assert_eq!(step(&[], false, false), Step::Read(Level::Late));
    }

    /// A record with another uid, whose files the Backup has.
    fn linked(state: RecordState) -> Record<'static> {
        Record {
            synced_as: Some("u"),
            ..record("v", state)
        }
    }

    #[test]
    fn what_no_key_vouched_for_is_looked_at_again_with_others() {
        let judged = |keys| Record {
            keys,
            ..record("u", RecordState::Unobserved)
        };
        let step = |record| next(&backup("Completed", "x"), &[record], false);
        assert_eq!(step(judged(KeyChange::Others)), Step::Import);
        assert_eq!(step(judged(KeyChange::Nothing)), Step::Wait);
        assert_eq!(step(judged(KeyChange::LookDue)), Step::Import);
        let adopt = Step::Read(Level::Adopted { by: "jane".into() });
        assert_eq!(
            next(&adopted("x", None), &[judged(KeyChange::Others)], false),
            adopt
        );
    }

    #[test]
    fn a_list_is_looked_for_less_and_less_often() {
        let pause = |completed| pause_before_look(completed, 1_000_000).as_secs();
        for (age, expected) in [(0, 5), (9, 5), (60, 30), (7200, 3600), (900_000, 43_200)] {
            assert_eq!(pause(Some(1_000_000 - age)), expected, "{age}");
            assert_eq!(pause(Some(1_000_000 + age)), expected, "{age} s ahead");
        }
        assert_eq!(pause(None), 43_200);
    }

    #[test]
    fn a_record_closes_when_its_key_does_not_count_any_more() {
        let imported = |state| Record {
            keys: KeyChange::Distrusted,
            ..linked(state)
        };
        let step = |state| next(&backup("Completed", "c"), &[imported(state)], false);
        assert_eq!(step(RecordState::Recorded), Step::Distrust("v"));
        // It is judged anew, by other keys.
        assert_eq!(step(RecordState::Unobserved), Step::Read(Level::Late));
    }

    #[test]
    fn a_person_takes_back_what_came_back() {
        let mut returned = Record {
            returned: Some(Departure::Deleted),
            ..linked(RecordState::Recorded)
        };
        let step = |record| next(&adopted("c", None), &[record], false);
        assert_eq!(step(returned), Step::TakeBack("v"));
        returned.returned = None;
        assert_eq!(step(returned), Step::Annotate("v"));
    }

    const STATES: [RecordState; 6] = [
        RecordState::Pending,
        RecordState::Recorded,
        RecordState::Unobserved,
        RecordState::Unreadable,
        RecordState::Declared,
        RecordState::TarballOnly,
    ];

    /// A complete Backup for which jane vouches.
    fn adopted(checksum: &str, declared: Option<&str>) -> ObservedBackup {
        let mut backup = backup("Completed", checksum);
        let declared = declared.map(str::to_owned);
        backup.adoption = Some(Adoption {
            by: "jane".into(),
            declared,
        });
        backup
    }

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

    /// Whether the envelope is alone can be told once Velero has deleted the backup.
    #[test]
    fn a_record_stays_until_its_envelope_can_be_taken_away() {
        for state in STATES {
            let uploading = Record {
                has_pending_upload: true,
                ..record("u", state)
            };
            let step = next(&backup("Deleting", "x"), &[uploading], false);
            assert_eq!(step, Step::Wait, "{state:?}");
        }
    }

    #[test]
    fn a_synced_backup_is_looked_up_until_a_record_is_known_to_be_its_own() {
        let other = [record("v", RecordState::Recorded)];
        for copied in ["x", "c"] {
            let step = next(&backup("Completed", copied), &other, false);
            assert_eq!(step, Step::Read(Level::Late), "{copied}");
        }
        let synced = [linked(RecordState::Recorded)];
        let step = |checksum: &str| next(&backup("Completed", checksum), &synced, false);
        assert_eq!(step("x"), Step::Annotate("v"));
        assert_eq!(step("c"), Step::Wait);
        for state in STATES
            .into_iter()
            .filter(|state| *state != RecordState::Recorded)
        {
            let other = [linked(state)];
            let step = next(&backup("Completed", "c"), &other, false);
            assert_eq!(step, Step::Read(Level::Late), "{state:?}");
        }
        assert_eq!(next(&backup("New", "c"), &other, false), Step::Observe);
    }

    #[test]
    fn a_person_vouches_for_what_is_judged_and_not_recorded() {
        let adopt = Step::Read(Level::Adopted { by: "jane".into() });
        let late = Step::Read(Level::Late);
        let step = |state, declared| {
            let record = Record {
                is_observed: false,
                ..record("u", state)
            };
            next(&adopted("x", declared), &[record], false)
        };
        for (state, to_read, declared) in [
            (RecordState::Pending, late.clone(), late.clone()),
            (
                RecordState::Recorded,
                Step::Annotate("u"),
                Step::Annotate("u"),
            ),
            (RecordState::Unobserved, adopt.clone(), Step::Declare),
            (RecordState::Unreadable, late.clone(), Step::Declare),
            (RecordState::Declared, adopt, Step::Declare),
        ] {
            assert_eq!(step(state, None), to_read, "{state:?}");
            assert_eq!(step(state, Some("c")), declared, "{state:?}");
        }
        // Without a record, the annotations may have come with the Backup.
        assert_eq!(next(&adopted("x", None), &[], false), late);
        assert_eq!(next(&adopted("x", Some("c")), &[], false), late);
        let mut running = adopted("x", None);
        running.fields.phase = "InProgress".into();
        let pending = [record("u", RecordState::Pending)];
        assert_eq!(next(&running, &pending, false), Step::Wait);
        // Too late: it is recorded, and only the annotation is to go.
        let recorded = [record("u", RecordState::Recorded)];
        let synced = [linked(RecordState::Recorded)];
        assert_eq!(
            next(&adopted("c", None), &recorded, false),
            Step::Annotate("u")
        );
        assert_eq!(
            next(&adopted("c", None), &synced, false),
            Step::Annotate("v")
        );
    }

    #[test]
    fn what_is_declared_is_annotated_without_a_manifest() {
        let declared = [Record {
            manifest: None,
            ..record("u", RecordState::Declared)
        }];
        let mut backup = backup("Completed", "c");
        assert_eq!(next(&backup, &declared, false), Step::Annotate("u"));
        backup.manifest = None;
        assert_eq!(next(&backup, &declared, false), Step::Wait);
    }

    /// The record of adopted files has the uid in them.
    #[test]
    fn the_judgement_of_an_adopted_backup_goes_once_it_has_the_other_record() {
        let step = |checksum: &str, records: &[Record<'static>]| {
            next(&backup("Completed", checksum), records, false)
        };
        let find = |checksum: &str, records: &[Record<'static>]| {
            find_own(&backup("Completed", checksum).fields.uid, records).map(|record| record.uid)
        };
        for (state, unless) in [
            (RecordState::Unobserved, Step::Wait),
            (RecordState::Declared, Step::Annotate("u")),
        ] {
            let own = Record {
                checksum: Some(digest("declared")),
                ..record("u", state)
            };
            let both = [own, linked(RecordState::Recorded)];
            assert_eq!(step("c", &both), Step::Forget("u"), "{state:?}");
            assert_eq!(find("c", &both), Some("v"), "{state:?}");
            let copied = [own, record("v", RecordState::Recorded)];
            assert_eq!(step("c", &copied), unless, "{state:?}");
            assert_eq!(find("c", &copied), Some("u"), "{state:?}");
        }
    }

    #[test]
    fn the_record_of_a_backup_has_its_uid_or_that_of_its_files() {
        let find = |checksum: &str, records: &[Record<'static>]| {
            let found = find_own(&backup("Completed", checksum).fields.uid, records);
            found.map(|record| record.uid)
        };
        let own = record("u", RecordState::Recorded);
        let synced = linked(RecordState::Recorded);
        assert_eq!(find("c", &[synced, own]), Some("u"));
        let away = record("u", RecordState::Unreadable);
        assert_eq!(find("c", &[synced, away]), Some("v"), "it says nothing");
        assert_eq!(find("x", &[synced]), Some("v"), "not annotated yet");
        let other = record("v", RecordState::Recorded);
        assert_eq!(find("c", &[other]), None, "the annotations are copied");
        let unobserved = linked(RecordState::Unobserved);
        assert_eq!(find("c", &[unobserved]), None, "nothing is recorded");
    }
}
