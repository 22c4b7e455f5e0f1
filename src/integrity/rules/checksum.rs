//! Rules about the checksum that a Restore needs for its backup.

use super::question::Question;
use super::{named, reading, record, tarball};
use crate::decision::{
    Backup, BackupFields, BackupRecord, Code, Facts, FailureClass, FieldPath, Finding, Reading,
    RecordState, Report, RestoresMode, Rule, Severity, Stop, Verb, WaitKind,
};
use crate::integrity::checksum::Checksum;
use crate::integrity::files;
use crate::integrity::origin;
use crate::integrity::trust::Trust;
use crate::names::{ACCEPT_INSECURE_ANNOTATION, BACKUP_CHECKSUM_ANNOTATION, CHECKSUM_ANNOTATION};
use crate::velero::restore::Restore;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 6] = [
    &NO_CHECKSUM,
    &MALFORMED,
    &DISAGREE,
    &NOT_SIGNED,
    &NOT_YET,
    &SET_BY_HAND,
];

pub(super) static NO_CHECKSUM: Rule = Rule {
    id: "VT101",
    title: "backup without a checksum",
    about: "No checksum is recorded for the backup. `velero-trust backup show` tells why. Vouch for it with \
            `velero-trust backup adopt`, put `velero-trust.io/backup-checksum` on the Restore, or run with \
            `--restores=warn` while old backups are not recorded. If several newest backups of a schedule \
            started in the same second, Velero takes any of them, so each needs one.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    accepted_with: Some(Verb::RestoreUnverified),
    ..Rule::DEFAULT
};

static MALFORMED: Rule = Rule {
    id: "VT102",
    title: "malformed checksum",
    about: "A checksum is `sha256:` and 64 hexadecimal digits in lower case. One on the Restore denies with \
            `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    ..Rule::DEFAULT
};

static DISAGREE: Rule = Rule {
    id: "VT104",
    title: "checksums disagree",
    about: "The checksum that the Restore expects is not that of the backup: one of the two is wrong, or the \
            backup was replaced. It denies with `--restores=warn` too, and nobody can accept it.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    ..Rule::DEFAULT
};

static NOT_SIGNED: Rule = Rule {
    id: "VT108",
    title: "files that are not signed",
    about: "No record says what the files of the backup are. A checksum that somebody put on the Backup or on \
            the Restore vouches for the tarball alone, and is compared with it when Velero begins, where this \
            version can read the bucket.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// A backup that is still to be recorded.
pub static NOT_YET: Rule = Rule {
    id: "VT124",
    title: "backup that is not recorded yet",
    about: "The files of the backup are still to be recorded. The Restore waits for that, before all other \
            backups, and goes on by itself.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

static SET_BY_HAND: Rule = Rule {
    id: "VT125",
    title: "checksum set by hand beside signed backups",
    about: "velero-trust records the backups of this location, and not this one: somebody put it there, and its \
            checksum on it. Vouch for it with `velero-trust backup adopt`, or put \
            `velero-trust.io/backup-checksum` on the Restore.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    accepted_with: Some(Verb::RestoreUnverified),
    ..Rule::DEFAULT
};

/// Reports a checksum on `restore` that is none.
pub(super) fn check_expected(restore: &Restore<'_>, report: &mut Report) {
    let on_restore = restore.metadata.annotation(BACKUP_CHECKSUM_ANNOTATION);
    if let Some(Err(why)) = on_restore.map(Checksum::parse) {
        let message = format!("the annotation {why}");
        let fix = "write `sha256:` and the 64 hexadecimal digits of `sha256sum` over the tarball";
        report.add_finding(Finding::new(&MALFORMED, expected_path(), "", message, fix));
    }
}

/// Returns the checksum that `restore` expects, if it is one.
pub(super) fn expected<'a>(restore: &'a Restore<'_>) -> Option<Checksum<'a>> {
    let text = restore.metadata.annotation(BACKUP_CHECKSUM_ANNOTATION)?;
    Checksum::parse(text).ok()
}

/// Returns the path to the checksum that a Restore expects.
fn expected_path() -> FieldPath {
    FieldPath::annotation(BACKUP_CHECKSUM_ANNOTATION)
}

/// Returns the finding that a Restore expects another checksum of the Backup `named` than it has.
pub(super) fn other_expected(expected: Checksum<'_>, named: &str, has: &str) -> Finding {
    Finding::new(
        &DISAGREE,
        expected_path(),
        named,
        format!("this Restore expects sha256:{}, and {has}", expected.hex()),
        "find out which is right before you restore anything from this backup",
    )
}

/// Reports files for which nothing but a checksum vouches, or nothing at all.
pub(super) fn not_signed(question: &Question<'_>, message: String, fix: &str, report: &mut Report) {
    if !report
        .findings
        .iter()
        .any(|finding| *finding.rule == NOT_SIGNED)
    {
        let path = named::path(question.restore);
        report.add_finding(Finding::new(&NOT_SIGNED, path, "", message, fix));
    }
}

/// Leaves out [`NOT_SIGNED`] where something is denied, which says more.
pub(super) fn leave_out_if_denied(report: &mut Report) {
    let denies = |finding: &Finding| finding.ceiling.min(finding.rule.severity) == Severity::Deny;
    if report.findings.iter().any(denies) {
        report
            .findings
            .retain(|finding| *finding.rule != NOT_SIGNED);
    }
}

/// Checks `backup`, whose files are not recorded, by what its own annotations and those of the Restore
/// say. Its `record` tells why it is not. Returns what was read of it for this Restore.
pub(super) fn check(
    question: &Question<'_>,
    backup: &Backup,
    record: Option<&BackupRecord>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<Reading>, Stop> {
    let key = question.key(backup);
    let named = format!("Backup {key}");
    let of_tarball = tarball::recorded(record);
    let declared = record.filter(|record| record.state == RecordState::Declared);
    let by_record = declared.or_else(|| record.filter(|_| of_tarball.is_some()));
    if let Some(by_record) = by_record
        && record::check_annotation(question.restore, backup, by_record, report)
    {
        return Ok(None);
    }
    let on_backup = match backup.checksum.as_deref().map(Checksum::parse) {
        Some(Err(why)) => {
            let adopt = format!("velero-trust backup adopt {}", backup.fields.name);
            let finding = Finding::new(
                &MALFORMED,
                named::path(question.restore),
                &named,
                format!("the annotation {CHECKSUM_ANNOTATION} of {named} {why}"),
                format!("somebody set it by hand; if you vouch for what is in it, run `{adopt}`"),
            );
            report.add_finding(match question.mode() {
                RestoresMode::Enforce => finding,
                RestoresMode::Warn | RestoresMode::Off => finding.softened(),
            });
            return Ok(None);
        }
        Some(Ok(checksum)) => Some(checksum),
        // It is annotated again.
        None => of_tarball,
    };
    let expected = expected(question.restore);
    if let (Some(on_backup), Some(expected)) = (on_backup, expected)
        && on_backup != expected
    {
        let has = format!("{named} has sha256:{}", on_backup.hex());
        report.add_finding(other_expected(expected, &named, &has));
        return Ok(None);
    }
    let records = facts.records(&key, &backup.fields.uid)?;
    let is_to_be_recorded = is_to_be_imported(record, facts)?
        || records.is_some_and(|all| will_be_recorded(question, backup, record, all));
    let Some(vouched) = expected.or(on_backup) else {
        if is_to_be_recorded {
            not_yet(question, &named, report);
        } else {
            not_vouched(question, backup, record, report);
        }
        return Ok(None);
    };
    if expected.is_none()
        && by_record.is_none()
        && facts.has_signed_backups(question.namespace, &backup.storage_location)? == Some(true)
    {
        if is_to_be_recorded {
            not_yet(question, &named, report);
            return Ok(None);
        }
        report.add_finding(set_by_hand(question, backup));
    }
    let partial = record.filter(|_| of_tarball.is_some() && expected.is_none());
    if let Some(partial) = partial {
        tarball::check(question, partial, report);
    }
    if !question.is_gate() {
        if partial.is_none() {
            let message = format!("the files of {named} are not signed");
            let fix = "the tarball is compared with the checksum when Velero begins";
            not_signed(question, message, fix, report);
        }
        if let Some(failure) = record.and_then(|record| record.reading_failure.as_ref()) {
            reading::warn(question, failure, report);
        }
        return Ok(None);
    }
    let read = reading::current(question, backup, record, facts, report)?;
    if let Some(read) = read {
        compare(
            question,
            backup,
            vouched,
            match (expected, partial) {
                (Some(_), _) => Source::Restore,
                (None, Some(_)) => Source::Record,
                (None, None) => Source::Annotation,
            },
            read,
            facts,
            report,
        )?;
    }
    Ok(read.cloned())
}

/// Returns the finding that other backups of the location of `backup` are signed, and it is not.
fn set_by_hand(question: &Question<'_>, backup: &Backup) -> Finding {
    let (named, name) = (question.key(backup), &backup.fields.name);
    let message = format!("the checksum of Backup {named} was set by hand, and others are signed");
    let fix = format!(
        "backups of BackupStorageLocation {} are recorded, and this one is not; if you vouch for what is in it, \
         run `velero-trust backup adopt {name}`, or put {BACKUP_CHECKSUM_ANNOTATION} on this Restore",
        shown(&backup.storage_location)
    );
    let path = named::path(question.restore);
    Finding::new(&SET_BY_HAND, path, name, message, fix)
}

/// Where the checksum is from that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The Restore expects it.
    Restore,
    /// It is recorded, and of the tarball alone.
    Record,
    /// Somebody set it on the Backup.
    Annotation,
}

/// Compares what was read with the digest of the tarball, or of a list of all files, that somebody
/// vouched for.
fn compare(
    question: &Question<'_>,
    backup: &Backup,
    vouched: Checksum<'_>,
    source: Source,
    read: &Reading,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let named = format!("Backup {}", question.key(backup));
    let is_expected = source == Source::Restore;
    let is_vouched = |digest: &crate::digest::Sha256| digest.to_string() == vouched.hex();
    let mut lists = read.lists.iter();
    if is_expected && let Some(list) = lists.find(|list| is_vouched(&list.sha256)) {
        let signed = BackupFields {
            // In the cluster that signed it, it may have been another one.
            namespace: question.namespace.to_owned(),
            ..list.backup.clone()
        };
        record::check_fields(question.restore, backup, &signed, report);
        let key = question.key(backup);
        super::files::check_volumes(question, &key, &list.pod_volumes, facts, report)?;
        let message = format!("only the expected list vouches for {named}");
        let fix = "its files, the Backup and its PodVolumeBackups are those of the list";
        not_signed(question, message, fix, report);
        return Ok(());
    }
    let tarball = files::tarball(&backup.fields.name);
    let tarball = read.files.iter().find(|file| file.name == tarball);
    match tarball.map(|file| file.sha256) {
        // That nothing else is known is said already.
        Some(digest) if is_vouched(&digest) && source == Source::Record => {}
        Some(digest) if is_vouched(&digest) => {
            let message = format!("only the tarball of {named} is known to be the right one");
            let fix = "its other files are not signed";
            not_signed(question, message, fix, report);
        }
        // It may be the digest of a signed list, which nobody could read.
        found if is_expected && read.listing.is_none() => {
            let found = found.map(|digest| format!("sha256:{digest}"));
            let message = format!(
                "this Restore expects sha256:{} of {named}, whose tarball has {}; whether a signed list beside it has \
                 that digest is not known, because velero-trust may not read the bucket",
                vouched.hex(),
                found.unwrap_or_default()
            );
            report.add_finding(reading::finding(question, message));
        }
        found if is_expected => {
            let has = found.map_or_else(
                || format!("{named} has no tarball"),
                |digest| {
                    format!(
                        "the tarball of {named} has sha256:{digest}; nor is it the digest of a signed list \
                         beside it that has just these files"
                    )
                },
            );
            report.add_finding(other_expected(vouched, &named, &has));
        }
        found => {
            let found = found.map_or_else(
                || "there is none".to_owned(),
                |digest| format!("found sha256:{digest}"),
            );
            let expected = match source {
                Source::Record => "that was recorded".to_owned(),
                Source::Restore | Source::Annotation => {
                    format!("of its annotation {CHECKSUM_ANNOTATION}")
                }
            };
            report.add_finding(super::files::other_tarball(
                question, backup, &expected, vouched, &found,
            ));
        }
    }
    Ok(())
}

/// Says that the backup `named` is still to be recorded.
fn not_yet(question: &Question<'_>, named: &str, report: &mut Report) {
    let message = format!("{named} is not recorded yet");
    if question.is_gate() {
        report.wait(WaitKind::Recording, message);
    } else {
        let fix = "wait; it is recorded before all others, and then Velero begins";
        let path = named::path(question.restore);
        report.add_finding(Finding::new(&NOT_YET, path, named, message, fix));
    }
}

/// Reports a backup for which nobody vouches.
fn not_vouched(
    question: &Question<'_>,
    backup: &Backup,
    record: Option<&BackupRecord>,
    report: &mut Report,
) {
    let name = &backup.fields.name;
    let named = format!("Backup {}", question.key(backup));
    let message = format!(
        "{named} has no annotation {CHECKSUM_ANNOTATION}{}",
        why(record)
    );
    let awaits_list = |record: &BackupRecord| {
        record.trust.is_some() && record.reason.as_deref() == Some(origin::SYNCED)
    };
    let try_again = if record.is_some_and(awaits_list) {
        "if another cluster has just made it, its signed list may still come, so try again in a minute; "
    } else {
        ""
    };
    let fix = format!(
        "{try_again}see why it is not recorded with `velero-trust backup show {name}`; if you vouch for what is in it, run \
         `velero-trust backup adopt {name}`, or put {BACKUP_CHECKSUM_ANNOTATION} on this Restore; if you must \
         restore it as it is, and may, run `velero restore create --from-backup {name} --annotations \
         {ACCEPT_INSECURE_ANNOTATION}=REASON`"
    );
    let path = named::path(question.restore);
    report.add_finding(Finding::new(&NO_CHECKSUM, path, &named, message, fix));
}

/// Whether other keys count now than those that did not vouch for the files, so that a signed list beside them is
/// looked at again.
fn is_to_be_imported(record: Option<&BackupRecord>, facts: &Facts) -> Result<bool, Stop> {
    let judged = record.filter(|record| record.state == RecordState::Unobserved);
    let Some(judged_by) = judged.and_then(|record| record.trust.as_ref()) else {
        return Ok(false);
    };
    let keys = facts.trusted_keys()?.unwrap_or_default();
    Ok(Trust::new(keys).digest() != *judged_by)
}

/// Whether the files are still to be recorded, or found to be those of one of `records`, all of its name.
fn will_be_recorded(
    question: &Question<'_>,
    backup: &Backup,
    record: Option<&BackupRecord>,
    records: &[BackupRecord],
) -> bool {
    if named::why_not_whole(&backup.fields.phase).is_some() {
        return false;
    }
    let is_old = !record.is_some_and(|record| record.is_observed);
    let reads = !is_old || question.policy.records_existing;
    match record.map(|record| record.state) {
        // The uid in the files of a Backup that Velero synced is looked up even if old ones are not read.
        None | Some(RecordState::Pending) => {
            reads || records.iter().any(|one| one.state == RecordState::Recorded)
        }
        Some(RecordState::Unreadable) => {
            let failure = record.and_then(|record| record.reading_failure.as_ref());
            let passes = failure.is_some_and(|failure| match failure.class {
                FailureClass::Passing | FailureClass::Changing => true,
                FailureClass::Lasting | FailureClass::Unsupported => false,
            });
            let is_over = reading::is_over(question, failure);
            question.is_gate() && reads && (passes || !is_over)
        }
        Some(
            RecordState::Recorded
            | RecordState::Unobserved
            | RecordState::Declared
            | RecordState::TarballOnly,
        ) => false,
    }
}

/// Returns why the files of a Backup with this record are not recorded.
fn why(record: Option<&BackupRecord>) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let state = record.state.as_str();
    match (&record.reason, &record.message) {
        (_, Some(message)) => format!(", and is {state}: {message}"),
        (Some(reason), None) => format!(", and is {state}: {reason}"),
        (None, None) => format!(", and is {state}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Policy;
    use crate::decision::ReadingFailure;

    /// Whether a Restore that was created at 0 waits at `now` for a complete backup to be recorded.
    fn waits_at(
        now: i64,
        reads_old: bool,
        own: Option<&BackupRecord>,
        all: &[BackupRecord],
    ) -> bool {
        let restore = r#"{"metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}}"#;
        let restore = serde_json::from_str(restore).unwrap();
        let mut policy = Policy::default();
        policy.records_existing = reads_old;
        let question = Question::at_gate(&restore, &policy, now);
        let backup = Backup {
            fields: BackupFields {
                phase: "Completed".into(),
                ..BackupFields::default()
            },
            ..Backup::default()
        };
        will_be_recorded(&question, &backup, own, all)
    }

    fn record(state: RecordState) -> BackupRecord {
        BackupRecord {
            state,
            ..BackupRecord::default()
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_waited_for_while_that_may_pass() {
        let waits = |class: Option<FailureClass>, now| {
            let failure = class.map(|class| ReadingFailure {
                class,
                ..ReadingFailure::default()
            });
            let own = BackupRecord {
                reading_failure: failure,
                ..record(RecordState::Unreadable)
            };
            waits_at(now, true, Some(&own), &[])
        };
        let end = reading::MAX_FAILING_SECONDS;
        for class in [None, Some(FailureClass::Lasting)] {
            assert!(waits(class, end - 1) && !waits(class, end), "{class:?}");
        }
        for class in [FailureClass::Passing, FailureClass::Changing] {
            assert!(waits(Some(class), end), "{class:?}");
        }
    }

    #[test]
    fn whose_files_a_synced_backup_has_is_looked_up_even_if_old_ones_are_not_read() {
        let waits = |own: Option<&BackupRecord>, other| waits_at(0, false, own, &[record(other)]);
        for own in [None, Some(&record(RecordState::Pending))] {
            assert!(waits(own, RecordState::Recorded));
            assert!(!waits(own, RecordState::Unobserved));
        }
        let judged = record(RecordState::Unobserved);
        assert!(!waits(Some(&judged), RecordState::Recorded));
    }
}
