//! Rules about what the record of a backup says.

use k8s_openapi::jiff::Timestamp;

use super::question::Question;
use super::{checksum, named};
use crate::decision::{
    Backup, BackupFields, BackupRecord, Code, Departure, FieldPath, Finding, Reading, RecordState,
    Report, Rule, Severity, TrustedKey, Verb,
};
use crate::integrity::checksum::Checksum;
use crate::integrity::origin::{Unobserved, check_synced};
use crate::integrity::record::{self, RecordError};
use crate::integrity::statement::Statement;
use crate::integrity::trust::{Distrust, Trust};
use crate::integrity::verification::{Opened, VerificationError};
use crate::names::{BACKUP_CHECKSUM_ANNOTATION, CHECKSUM_ANNOTATION};
use crate::velero::restore::Restore;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 4] =
    [&NOT_RECORDED_ONE, &NOT_TRUSTED, &BACKUP_DIFFERS, &CAME_BACK];

static NOT_RECORDED_ONE: Rule = Rule {
    id: "VT112",
    title: "checksum that is not the recorded one",
    about: "The checksum on the Backup is another one than velero-trust recorded and signed when it read \
            the files, or than a person declared. It denies with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    accepted_with: Some(Verb::RestoreTampered),
    ..Rule::DEFAULT
};

static NOT_TRUSTED: Rule = Rule {
    id: "VT113",
    title: "record that cannot be trusted",
    about: "The record of the backup is signed by no TrustedKey of this cluster, by one that is revoked, whose \
            `scope` or `validUntil` does not cover the backup, or that counts only in the bucket that is signed, or was \
            changed after it was signed.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

static BACKUP_DIFFERS: Rule = Rule {
    id: "VT114",
    title: "Backup that differs from what was signed",
    about: "A field that decides what Velero restores is another one in the cluster than in the files that \
            were recorded: Velero took it from a forged velero-backup.json, or somebody changed the Backup. Or \
            Velero took the Backup from the files of an older one, in the place of a later one of its name. It \
            denies with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    accepted_with: Some(Verb::RestoreTampered),
    ..Rule::DEFAULT
};

static CAME_BACK: Rule = Rule {
    id: "VT126",
    title: "backup that was deleted here and came back",
    about: "Somebody deleted the backup, or its time to live was over, and its files are in the bucket again. They \
            may be just those that were signed, and are old. Say that it is wanted with `velero-trust backup adopt`, or \
            put `velero-trust.io/backup-checksum` on the Restore.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    accepted_with: Some(Verb::RestoreUnverified),
    ..Rule::DEFAULT
};

/// Checks `backup` and what `restore` expects of it against its `record`, whose files are recorded.
/// `records` are all that are known of its name. Returns what is signed, if a key of the cluster did that.
pub(super) fn check<'k>(
    restore: &Restore<'_>,
    backup: &Backup,
    record: &BackupRecord,
    records: &[BackupRecord],
    trust: &'k Trust,
    report: &mut Report,
) -> Option<(Opened, &'k TrustedKey)> {
    let named = format!("Backup {}", record.backup);
    let mut find = |rule, path: FieldPath, message: String, fix: String| {
        report.add_finding(Finding::new(rule, path, &named, message, fix));
    };
    let show = format!("`velero-trust backup show {}`", record.backup.name);
    let (opened, trusted) = match record::open(record, trust) {
        Ok(opened) => opened,
        Err(error) => {
            let message = format!("nothing vouches for {named}: {error}");
            let fix = match error {
                RecordError::Untrusted(distrust) => format!("{}; see what is signed with {show}", fix(&distrust)),
                RecordError::Envelope(VerificationError::UnknownKey(_)) => {
                    "restore the TrustedKey that signed it, if you trust it, or run `velero-trust keys trust`"
                        .to_owned()
                }
                _ => format!("see it with {show}"),
            };
            find(&NOT_TRUSTED, named::path(restore), message, fix);
            return None;
        }
    };
    let signed = BackupFields {
        // In the cluster that signed it, it may have been another one. That of a record is compared above.
        namespace: record.backup.namespace.clone(),
        ..opened.statement.backup.clone()
    };
    check_fields(restore, backup, &signed, report);
    let recorded = record.checksum.as_deref().unwrap_or_default();
    let expected = checksum::expected(restore);
    let is_wanted = expected.is_some_and(|expected| is_of(expected, &opened));
    if let Some(later) = started_later(&opened.statement, records, trust).filter(|_| !is_wanted) {
        let started = opened.statement.backup.started.as_deref();
        let message = format!(
            "the files of {named} are those of an older backup of this name, which started at {}: a later one \
             in this bucket started at {}",
            shown(started.unwrap_or_default()),
            shown(&later),
        );
        let fix = format!(
            "find out who changed the bucket, and put the files of the last one back, from a replica or an older \
             version; then delete the Backup object with `kubectl -n {} delete backups.velero.io {}`, and Velero \
             syncs it anew. If you want the older one, put {BACKUP_CHECKSUM_ANNOTATION}: {recorded} on this \
             Restore",
            record.backup.namespace, record.backup.name
        );
        let path = named::path(restore);
        report.add_finding(Finding::new(&BACKUP_DIFFERS, path, &named, message, fix));
    }
    if let Some(returned) = record.returned.filter(|_| !is_wanted) {
        let message = format!("{named} {}, and came back", went(returned));
        let fix = format!(
            "find out who put its files back into the bucket; if it is wanted, run `velero-trust backup adopt {name}`, \
             or put {BACKUP_CHECKSUM_ANNOTATION}: {recorded} on this Restore",
            name = record.backup.name
        );
        report.add_finding(Finding::new(
            &CAME_BACK,
            named::path(restore),
            &named,
            message,
            fix,
        ));
    }
    check_annotation(restore, backup, record, report);
    // A malformed one was reported by the caller.
    if let Some(expected) = expected.filter(|_| !is_wanted) {
        let recorded = format!("{recorded} is recorded for {named}");
        report.add_finding(checksum::other_expected(expected, &named, &recorded));
    }
    Some((opened, trusted))
}

/// Returns how a backup went away, for people.
const fn went(how: Departure) -> &'static str {
    match how {
        Departure::Deleted => "was deleted in this cluster",
        Departure::Expired => "expired in this cluster",
        Departure::Vanished | Departure::Unseen | Departure::Replaced => "went away",
    }
}

/// Checks that what is `signed` was read where the key is to vouch for it.
pub(super) fn check_place(
    question: &Question<'_>,
    trusted: &TrustedKey,
    signed: &Statement,
    reading: &Reading,
    report: &mut Report,
) {
    if !trusted.same_bucket_only || reading.location == signed.location {
        return;
    }
    let name = &signed.backup.name;
    let key = &trusted.name;
    let message = format!(
        "nothing vouches for Backup {}/{name}: TrustedKey {key} counts only in {}, and its files are in {}",
        question.namespace,
        named::place(&signed.location),
        named::place(&reading.location)
    );
    let fix =
        format!("if a replica is as good, set spec.sameBucketOnly of TrustedKey {key} to false");
    let path = named::path(question.restore);
    report.add_finding(Finding::new(&NOT_TRUSTED, path, name, message, fix));
}

/// Returns what to do if the signature is to count all the same.
fn fix(distrust: &Distrust) -> String {
    match distrust {
        Distrust::Unknown(_) => "if you trust that key, run `velero-trust keys trust`".to_owned(),
        Distrust::Revoked(key) => format!(
            "if what it signed before counts, set state VerifyOnly on TrustedKey {key}, or spec.revokedAt to the time \
             from which it does not"
        ),
        Distrust::OutOfScope { key, field } => {
            format!("if it is to count for this backup, change {field} of TrustedKey {key}")
        }
        Distrust::Later { key, .. } => {
            format!("if it is to count for this backup, change spec.validUntil of TrustedKey {key}")
        }
        Distrust::OtherBucket(key) => {
            format!("if a replica is as good, set spec.sameBucketOnly of TrustedKey {key} to false")
        }
    }
}

/// Checks `backup` against what is `signed` of it. Its namespace and uid are those of this cluster.
pub(super) fn check_fields(
    restore: &Restore<'_>,
    backup: &Backup,
    signed: &BackupFields,
    report: &mut Report,
) {
    let Err(unlike) = check_synced(&backup.fields, signed) else {
        return;
    };
    let BackupFields {
        namespace, name, ..
    } = &backup.fields;
    let differs = match unlike {
        // That it is not whole is said already.
        Unobserved::Differs(fields)
            if *fields == ["status.phase"]
                && named::why_not_whole(&backup.fields.phase).is_some() =>
        {
            return;
        }
        Unobserved::Differs(fields) => format!("{} differ", fields.join(", ")),
        other => other.to_string(),
    };
    report.add_finding(Finding::new(
        &BACKUP_DIFFERS,
        named::path(restore),
        format!("Backup {namespace}/{name}"),
        format!("Backup {namespace}/{name} is not what was signed: {differs}"),
        format!(
            "find out who changed it; then delete the Backup object with `kubectl -n {namespace} delete \
             backups.velero.io {name}`, which leaves its files, and Velero syncs it anew"
        ),
    ));
}

/// Checks the checksum that is on `backup` against that of its `record`, if it has one. Returns whether they
/// differ.
pub(super) fn check_annotation(
    restore: &Restore<'_>,
    backup: &Backup,
    record: &BackupRecord,
    report: &mut Report,
) -> bool {
    let (Some(recorded), Some(other)) = (&record.checksum, &backup.checksum) else {
        return false;
    };
    if recorded == other {
        return false;
    }
    let key = &record.backup;
    let other = Checksum::parse(other).map_or_else(|_| shown(other), |_| other.clone());
    report.add_finding(Finding::new(
        &NOT_RECORDED_ONE,
        named::path(restore),
        format!("Backup {key}"),
        format!(
            "the annotation {CHECKSUM_ANNOTATION} of Backup {key} is {other}, and {recorded} is recorded"
        ),
        format!(
            "find out who changed it; `velero-trust backup show {}` tells what is recorded",
            key.name
        ),
    ));
    true
}

/// Returns when another backup started whose files were in the place of those that are `signed`, if that was
/// later. Whoever may write the bucket can put an older one back, which is signed too.
fn started_later(signed: &Statement, records: &[BackupRecord], trust: &Trust) -> Option<String> {
    let time = |signed: &Statement| signed.backup.started.as_ref()?.parse::<Timestamp>().ok();
    let started = time(signed)?;
    let others = records
        .iter()
        .filter(|other| other.state == RecordState::Recorded && other.uid != signed.backup.uid);
    let is_later = |other: &Statement| {
        other.location == signed.location && time(other).is_some_and(|time| time > started)
    };
    // To verify a signature takes long, and there may be a record for each hour.
    let later = others.filter(|other| record::claimed(other).is_some_and(|other| is_later(&other)));
    let later = later.filter_map(|other| record::open(other, trust).ok());
    let mut later = later.map(|(other, _)| other.statement).filter(is_later);
    later.next()?.backup.started
}

/// Whether `expected` is the checksum of the tarball, or the digest of all that is signed.
fn is_of(expected: Checksum<'_>, opened: &Opened) -> bool {
    let known = [opened.statement.tarball(), Some(opened.payload)];
    let mut known = known.into_iter().flatten();
    known.any(|digest| digest.to_string() == expected.hex())
}
