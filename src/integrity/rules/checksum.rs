//! Rules about the checksum that a Restore needs for its backup.

use super::{named, record};
use crate::decision::{
    Backup, BackupRecord, Code, Facts, FieldPath, Finding, Key, RecordState, Report, Rule,
    Severity, Stop,
};
use crate::integrity::checksum::Checksum;
use crate::integrity::recording::find_own;
use crate::names::{BACKUP_CHECKSUM_ANNOTATION, CHECKSUM_ANNOTATION};
use crate::velero::restore::Restore;

pub(super) static RULES: [&Rule; 4] = [&NO_CHECKSUM, &MALFORMED, &DISAGREE, &NOT_VERIFIED];

static NO_CHECKSUM: Rule = Rule {
    id: "VT101",
    title: "backup without a checksum",
    about: "No checksum is recorded for the backup. `velero-trust backup show` tells why. Vouch for it with \
            `velero-trust backup adopt`, put `velero-trust.io/backup-checksum` on the Restore, or run with \
            `--restores=warn` while old backups are not recorded. If several newest backups of a schedule \
            started in the same second, Velero takes any of them, so each needs one.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

static MALFORMED: Rule = Rule {
    id: "VT102",
    title: "malformed checksum",
    about: "A checksum is `sha256:` and 64 hexadecimal digits in lower case.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static DISAGREE: Rule = Rule {
    id: "VT104",
    title: "checksums disagree",
    about: "The checksum that the Restore expects differs from the one on the Backup: one of the \
            two is wrong, or the backup was replaced.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

static NOT_VERIFIED: Rule = Rule {
    id: "VT108",
    title: "checksum not compared with the bucket",
    about: "This version checks that a checksum is there and well-formed. It does not read the \
            bucket, so it cannot tell whether the backup still has these bytes.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// Checks the checksums of `backups`. Velero may restore any of them, so each needs a checksum.
pub(super) fn check(
    namespace: &str,
    restore: &Restore<'_>,
    backups: &[&Backup],
    facts: &Facts,
    report: &mut Report,
) {
    let on_restore = restore.metadata.annotation(BACKUP_CHECKSUM_ANNOTATION);
    if let Some(Err(why)) = on_restore.map(Checksum::parse) {
        let message = format!("the annotation {why}");
        let fix = "write `sha256:` and the 64 hexadecimal digits of `sha256sum` over the tarball";
        report.add_finding(Finding::new(&MALFORMED, expected_path(), "", message, fix));
    }
    for backup in backups {
        let checked = check_recorded(namespace, restore, backup, facts, report);
        report.record(checked);
    }
    let is_decided = report.needs.is_empty() && report.unknowns.is_empty();
    if let (Some(taken), true) = (backups.first(), is_decided && report.findings.is_empty()) {
        let message = format!(
            "the checksum of {} is not compared with the bucket",
            taken.fields.name
        );
        let path = named::path(restore);
        let fix = "this version cannot";
        report.add_finding(Finding::new(&NOT_VERIFIED, path, "", message, fix));
    }
}

/// Returns the path to the checksum that a Restore expects.
pub(super) fn expected_path() -> FieldPath {
    FieldPath::annotation(BACKUP_CHECKSUM_ANNOTATION)
}

/// Checks `backup` against its record, or by its annotations if its files are not recorded.
fn check_recorded(
    namespace: &str,
    restore: &Restore<'_>,
    backup: &Backup,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let key = Key::new(namespace, &*backup.fields.name);
    let records = facts.records(&key, &backup.fields.uid)?.unwrap_or_default();
    match find_own(&backup.fields.uid, records) {
        Some(own) if own.state == RecordState::Recorded => {
            let keys = facts.trusted_keys()?.unwrap_or_default();
            record::check(restore, backup, own, keys, report);
        }
        own => check_backup(namespace, restore, backup, own, report),
    }
    Ok(())
}

/// Checks the annotations of `backup`, whose files are not recorded. Its `record` tells why.
fn check_backup(
    namespace: &str,
    restore: &Restore<'_>,
    backup: &Backup,
    record: Option<&BackupRecord>,
    report: &mut Report,
) {
    let on_backup = backup.checksum.as_deref();
    let on_restore = restore.metadata.annotation(BACKUP_CHECKSUM_ANNOTATION);
    let named = format!("Backup {namespace}/{}", backup.fields.name);
    let adopt = format!("velero-trust backup adopt {}", backup.fields.name);
    let mut find = |rule, path, message: String, fix: String| {
        report.add_finding(Finding::new(rule, path, &named, message, fix));
    };
    match (on_backup, on_restore) {
        (None, None) => find(
            &NO_CHECKSUM,
            named::path(restore),
            format!(
                "{named} has no annotation {CHECKSUM_ANNOTATION}{}",
                why(record)
            ),
            format!(
                "see why it is not recorded with `velero-trust backup show {}`; if you vouch for what is in \
                 it, run `{adopt}`, or put {BACKUP_CHECKSUM_ANNOTATION} on this Restore",
                backup.fields.name
            ),
        ),
        (None, Some(_)) => {}
        (Some(on_backup), on_restore) => match Checksum::parse(on_backup) {
            Err(why) => find(
                &MALFORMED,
                named::path(restore),
                format!("the annotation {CHECKSUM_ANNOTATION} of {named} {why}"),
                format!("somebody set it by hand; if you vouch for what is in it, run `{adopt}`"),
            ),
            Ok(checksum) => {
                // A malformed checksum on the Restore was reported by the caller.
                let on_restore = on_restore.and_then(|text| Checksum::parse(text).ok());
                if let Some(on_restore) = on_restore.filter(|expected| *expected != checksum) {
                    let on_restore = on_restore.hex();
                    find(
                        &DISAGREE,
                        expected_path(),
                        format!(
                            "this Restore expects sha256:{on_restore}, and {named} has {on_backup}"
                        ),
                        "find out which is right before you restore anything from this backup"
                            .to_owned(),
                    );
                }
            }
        },
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
