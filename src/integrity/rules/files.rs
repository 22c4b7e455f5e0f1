//! Rules about the files of a recorded backup, as they are in its bucket, and about its
//! PodVolumeBackups.

use super::question::Question;
use super::{named, reading};
use crate::decision::{
    Backup, BackupRecord, Code, Facts, Finding, Key, Reading, Report, Rule, Severity, Stop, Verb,
    WaitKind,
};
use crate::integrity::checksum::Checksum;
use crate::integrity::files::Role;
use crate::integrity::manifest::Difference;
use crate::integrity::statement::Statement;
use crate::names::CHECKSUM_ANNOTATION;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 4] = [&DIFFERS, &SHOWN_DIFFERS, &VOLUMES_DIFFER, &ELSEWHERE];

static DIFFERS: Rule = Rule {
    id: "VT115",
    title: "files that differ from what was signed",
    about: "A file that Velero reads was changed, removed or added since the backup was recorded. It denies \
            with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    accepted_with: Some(Verb::RestoreTampered),
    ..Rule::DEFAULT
};

static SHOWN_DIFFERS: Rule = Rule {
    id: "VT116",
    title: "files that no restore reads differ",
    about: "A log, a result or a list that only people read, or a file that Velero does not know, was \
            changed, removed or added since the backup was recorded.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

static VOLUMES_DIFFER: Rule = Rule {
    id: "VT117",
    title: "PodVolumeBackups that differ from what was signed",
    about: "Velero would restore Pods with other data, or without: PodVolumeBackups in the cluster tell \
            which snapshot is restored into which volume, and they are others, more or fewer than those of \
            the backup. It denies with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    accepted_with: Some(Verb::RestoreTampered),
    ..Rule::DEFAULT
};

static ELSEWHERE: Rule = Rule {
    id: "VT118",
    title: "files that are in another place than when they were recorded",
    about: "The location of the backup names another bucket, prefix or provider than the one that is signed, as \
            after a move or in a replica. All files are read there, so the bytes are those that were signed.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// How long a Restore waits for Velero's sync to make the PodVolumeBackups of a backup, which it does
/// one by one, in seconds.
pub(super) const MAX_SYNC_SECONDS: i64 = 2 * 60;

/// Most differences that one finding names.
const MAX_NAMED: usize = 5;

/// Checks the files and PodVolumeBackups of `backup`, which are recorded and `signed`.
pub(super) fn check(
    question: &Question<'_>,
    backup: &Backup,
    record: &BackupRecord,
    signed: &Statement,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<Reading>, Stop> {
    if !question.is_gate() {
        check_known(question, backup, record, signed, facts, report)?;
        return Ok(None);
    }
    // Both are looked up together.
    let volumes = check_volumes(question, &record.backup, signed, facts, report);
    report.record(volumes);
    let read = reading::current(question, backup, Some(record), facts, report)?;
    if let Some(reading) = read {
        compare(question, signed, reading, report);
    }
    Ok(read.cloned())
}

/// Checks what was found at an earlier time, unless the bucket lists something else since.
fn check_known(
    question: &Question<'_>,
    backup: &Backup,
    record: &BackupRecord,
    signed: &Statement,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    if let Some(failure) = &record.reading_failure {
        reading::warn(question, failure, report);
    }
    let Some(reading) = &record.reading else {
        return Ok(());
    };
    let differences = signed
        .manifest
        .differences(&backup.fields.name, &reading.files);
    if !differences.iter().any(is_effective) {
        return Ok(());
    }
    let key = Key::new(question.namespace, &*backup.fields.name);
    // What cannot be listed now is known when Velero begins.
    let listed = match facts.listed_files(&key, &backup.storage_location) {
        Err(Stop::Unknown(..)) => None,
        listed => listed?,
    };
    if listed.is_some_and(|listed| listed.listing == reading.listing) {
        compare(question, signed, reading, report);
    }
    Ok(())
}

/// Returns the finding that a tarball is not the one that somebody vouched for on the Backup.
pub(super) fn other_tarball(
    question: &Question<'_>,
    backup: &Backup,
    expected: Checksum<'_>,
    found: &str,
) -> Finding {
    let name = &backup.fields.name;
    let message = format!(
        "the tarball of Backup {}/{name} is not the one of its annotation {CHECKSUM_ANNOTATION}: expected \
         sha256:{}, {found}",
        question.namespace,
        expected.hex()
    );
    let fix = "somebody changed the bucket, or the annotation is wrong; restore another backup";
    Finding::new(&DIFFERS, named::path(question.restore), name, message, fix)
}

/// Adds what differs between `reading` and what is `signed`.
fn compare(question: &Question<'_>, signed: &Statement, reading: &Reading, report: &mut Report) {
    let name = &signed.backup.name;
    let differences = signed.manifest.differences(name, &reading.files);
    let (effective, shown): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_effective);
    let path = || named::path(question.restore);
    if !effective.is_empty() {
        let message = format!(
            "the files of Backup {}/{name} are not those that were recorded: {}",
            question.namespace,
            told(signed, reading, &effective)
        );
        let fix = format!(
            "somebody changed the bucket; put the recorded files back, from a replica or an older version, or \
             restore another backup. `velero-trust backup show {name} --sha256sums` lists what is signed"
        );
        report.add_finding(Finding::new(&DIFFERS, path(), name, message, fix));
    }
    if !shown.is_empty() {
        let message = told(signed, reading, &shown);
        let fix = "no restore reads them; find out who changed them";
        report.add_finding(Finding::new(&SHOWN_DIFFERS, path(), name, message, fix));
    }
    if reading.location != signed.location {
        let was = &signed.location;
        let message = format!(
            "its files are in bucket {} now, and were in {} when they were recorded",
            place(&reading.location.bucket, &reading.location.prefix),
            place(&was.bucket, &was.prefix)
        );
        let fix = "nothing, if you moved or copied them";
        report.add_finding(Finding::new(&ELSEWHERE, path(), name, message, fix));
    }
}

fn place(bucket: &str, prefix: &str) -> String {
    if prefix.is_empty() {
        shown(bucket)
    } else {
        format!("{} under {}", shown(bucket), shown(prefix))
    }
}

/// Whether a restore, a deletion or the sync depends on the file.
fn is_effective(difference: &Difference) -> bool {
    match difference.role {
        Role::Required | Role::Optional => true,
        Role::Display | Role::Envelope | Role::Unknown => false,
    }
}

/// Returns what differs, with the digests that were expected and found.
fn told(signed: &Statement, reading: &Reading, differences: &[Difference]) -> String {
    let digest = |text: &str, files: &[crate::decision::File], name: &str| {
        let file = files.iter().find(|file| file.name == name);
        file.map(|file| format!("{text} sha256:{}", file.sha256))
    };
    let named = differences.iter().take(MAX_NAMED).map(|difference| {
        let name = &difference.name;
        let digests = [
            digest("expected", signed.manifest.files(), name),
            digest("found", &reading.files, name),
        ];
        let digests: Vec<_> = digests.into_iter().flatten().collect();
        format!("{difference} ({})", digests.join(", "))
    });
    let more = differences.len().saturating_sub(MAX_NAMED);
    let more = (more > 0).then(|| format!("and {more} more"));
    named.chain(more).collect::<Vec<_>>().join("; ")
}

fn check_volumes(
    question: &Question<'_>,
    backup: &Key,
    signed: &Statement,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(found) = facts.pod_volumes(backup)? else {
        return Ok(());
    };
    let expected = &signed.pod_volumes;
    if found == expected {
        return Ok(());
    }
    let how = if found.count == expected.count {
        format!(
            "{} PodVolumeBackups are not the ones that were signed",
            found.count
        )
    } else {
        format!(
            "there are {} PodVolumeBackups, and {} were signed",
            found.count, expected.count
        )
    };
    let age = question.now.saturating_sub(question.created());
    if age < MAX_SYNC_SECONDS && found.count < expected.count {
        let message = format!("of Backup {backup}, {how}; Velero's sync may still make them");
        report.wait(WaitKind::PodVolumes, message);
        return Ok(());
    }
    let fix = format!(
        "delete the Backup object with `kubectl -n {} delete backups.velero.io {}`, which leaves its files, and \
         its PodVolumeBackups; Velero syncs both anew",
        backup.namespace, backup.name
    );
    let path = named::path(question.restore);
    let message = format!("of Backup {backup}, {how}");
    report.add_finding(Finding::new(
        &VOLUMES_DIFFER,
        path,
        &backup.name,
        message,
        fix,
    ));
    Ok(())
}
