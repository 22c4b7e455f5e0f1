//! The rule about files that cannot be read, and which reading of them counts for a Restore.

use super::question::{Moment, Question};
use super::{checksum, named};
use crate::decision::{
    Backup, BackupRecord, Code, Facts, FailureClass, Finding, Key, Location, Reading,
    ReadingFailure, RecordState, Report, Rule, Severity, Stop, Verb, WaitKind,
};

pub(super) static RULES: [&Rule; 1] = [&NOT_VERIFIED];

pub(super) static NOT_VERIFIED: Rule = Rule {
    id: "VT119",
    title: "backup that could not be verified",
    about: "Before Velero begins a Restore, all files of its backup are read. They could not be for 15 \
            minutes, for a reason that does not pass by itself. Nothing is known about them, good or bad.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    accepted_with: Some(Verb::RestoreUnverified),
    ..Rule::DEFAULT
};

/// How long a Restore waits for files that cannot be read for a reason that lasts, in seconds.
pub(super) const MAX_FAILING_SECONDS: i64 = 15 * 60;

/// Returns what was read of `backup` for this Restore, if its bucket lists the same now. If not, `report`
/// says what is waited for, or why nothing is read.
pub(super) fn current<'a>(
    question: &Question<'_>,
    backup: &Backup,
    record: Option<&'a BackupRecord>,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<&'a Reading>, Stop> {
    let key = question.key(backup);
    let Some(record) = record else {
        if facts.records(&key, &backup.fields.uid)?.is_none() {
            not_installed(question, report);
        } else {
            report.wait(WaitKind::Reading, reads(&key));
        }
        return Ok(None);
    };
    let mut changed = None;
    let is_of_tarball = |reading: &&Reading| reading.listing.is_none();
    if let Some(reading) = record.reading.as_ref().filter(is_of_tarball) {
        let is_covered = reading.covers.includes(question.uid());
        // What is signed lists all files.
        if is_covered && record.state == RecordState::Recorded {
            changed = Some(format!(
                "only the tarball of Backup {key} was read when velero-trust could not read more, so its files are read"
            ));
        } else if is_covered {
            return Ok(Some(reading));
        }
    } else if let Some(reading) = &record.reading {
        let is_covered = reading.covers.includes(question.uid());
        match facts.listed_files(&key, &backup.storage_location) {
            Ok(Some(listed))
                if (Some(listed.listing), &listed.location)
                    == (reading.listing, &reading.location) =>
            {
                if is_covered || listed.is_authentic {
                    return Ok(Some(reading));
                }
            }
            Err(Stop::Need(lookup)) => return Err(Stop::Need(lookup)),
            Err(Stop::Unknown(lookup, error)) if is_covered => {
                changed = Some(format!("{lookup} cannot be listed: {}", error.message));
            }
            Ok(_) if is_covered => {
                changed = Some(format!(
                    "the bucket does not list the files of Backup {key} as it did when they were read, so \
                     they are read again"
                ));
            }
            Ok(_) | Err(Stop::Unknown(..)) => {}
        }
    }
    match (&record.reading_failure, changed) {
        (Some(failure), _) => fail(question, &key, record, failure, report),
        (None, Some(message)) => report.wait(WaitKind::Changed, message),
        (None, None) => report.wait(WaitKind::Reading, reads(&key)),
    }
    Ok(None)
}

fn reads(backup: &Key) -> String {
    format!("the files of Backup {backup} are being read")
}

/// Says what is known at `Moment::Create` about files that could not be read lately.
pub(super) fn warn(question: &Question<'_>, failure: &ReadingFailure, report: &mut Report) {
    debug_assert_eq!(question.moment, Moment::Create);
    if failure.class != FailureClass::Unsupported {
        let message = format!(
            "its files could not be read when they were last: {}",
            failure.message
        );
        let finding = finding(question, message);
        report.add_finding(finding.softened());
    }
}

fn fail(
    question: &Question<'_>,
    backup: &Key,
    record: &BackupRecord,
    failure: &ReadingFailure,
    report: &mut Report,
) {
    let message = format!(
        "the files of Backup {backup} cannot be read: {}",
        failure.message
    );
    match failure.class {
        // They were read once, so somebody pointed the backup elsewhere since.
        FailureClass::Unsupported if record.state == RecordState::Recorded => {
            report.add_finding(finding(question, message));
        }
        FailureClass::Unsupported => {
            let fix = "nothing is known about them, good or bad";
            checksum::not_signed(question, message, fix, report);
        }
        FailureClass::Lasting if is_over(question, Some(failure)) => {
            let minutes = MAX_FAILING_SECONDS / 60;
            let message = format!("for {minutes} minutes, {message}");
            report.add_finding(finding(question, message));
        }
        FailureClass::Changing => report.wait(WaitKind::Changed, message),
        FailureClass::Lasting | FailureClass::Passing => report.wait(WaitKind::Failing, message),
    }
}

/// Whether the Restore waited long enough for files that cannot be read.
pub(super) fn is_over(question: &Question<'_>, failure: Option<&ReadingFailure>) -> bool {
    let since = failure.map_or(0, |failure| failure.since);
    question.lasts(since) >= MAX_FAILING_SECONDS
}

/// Says that there is no file of `backup` in its `location`. Where nobody knows that there was one,
/// that is no sign of a change.
pub(super) fn nothing_there(
    question: &Question<'_>,
    backup: &Key,
    location: &Location,
    report: &mut Report,
) {
    let message = format!(
        "there is no file of Backup {backup} in bucket {}, which its location names",
        named::place(location)
    );
    if is_over(question, None) {
        report.add_finding(finding(question, message));
    } else {
        report.wait(WaitKind::Failing, message);
    }
}

fn not_installed(question: &Question<'_>, report: &mut Report) {
    let message = "the kind BackupRecord is not installed, so no file is read";
    let fix = "run `kubectl apply -k manifests/crds`, and create the Restore again";
    let path = named::path(question.restore);
    report.add_finding(Finding::new(&NOT_VERIFIED, path, "", message, fix));
}

pub(super) fn finding(question: &Question<'_>, message: String) -> Finding {
    let fix =
        "make them readable, and create the Restore again; `velero-trust doctor` tries each bucket";
    let path = named::path(question.restore);
    Finding::new(&NOT_VERIFIED, path, "", message, fix)
}
