//! Rules about the files of a recorded backup, as they are in its bucket, and about its
//! PodVolumeBackups.

use super::question::Question;
use super::{named, reading};
use crate::decision::{
    Backup, BackupRecord, Code, Facts, File, Finding, Key, PodVolumes, Reading, Report, Rule,
    Severity, Stop, Verb, Wait, WaitKind,
};
use crate::integrity::checksum::Checksum;
use crate::integrity::files::Role;
use crate::integrity::manifest::Difference;
use crate::integrity::statement::Statement;
use crate::names::ACCEPT_INSECURE_ANNOTATION;

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

pub(super) static VOLUMES_DIFFER: Rule = Rule {
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

/// Most files that are named, each in a finding of its own.
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
    let waits = report.waits.len();
    let read = reading::current(question, backup, Some(record), facts, report);
    let is_awaited = matches!(read, Ok(None))
        && report.waits.iter().skip(waits).any(is_for_reading)
        && question
            .restore
            .metadata
            .annotation(ACCEPT_INSECURE_ANNOTATION)
            .is_none();
    // Velero tries a Restore that waits again and again, so that it asks for no more than it must. Nothing but
    // a reading ends this wait, unless a user does not want to wait.
    if !is_awaited {
        // Both are looked up together.
        let volumes = check_volumes(question, &record.backup, &signed.pod_volumes, facts, report);
        report.record(volumes);
    }
    let read = read?;
    match read {
        // The location may be pointed elsewhere by mistake.
        Some(reading) if reading.files.is_empty() && reading.location != signed.location => {
            reading::nothing_there(question, &record.backup, &reading.location, report);
        }
        Some(reading) => compare(question, signed, reading, report),
        None => {}
    }
    Ok(read.cloned())
}

fn is_for_reading(wait: &Wait) -> bool {
    matches!(wait.kind, WaitKind::Reading | WaitKind::Changed)
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
    let differences =
        signed
            .manifest
            .differences(&backup.fields.name, &reading.files, &reading.unread);
    if !differences.iter().any(is_effective) {
        return Ok(());
    }
    let key = question.key(backup);
    // What cannot be listed now is known when Velero begins.
    let listed = match facts.listed_files(&key, &backup.storage_location) {
        Err(Stop::Unknown(..)) => None,
        listed => listed?,
    };
    if listed.is_some_and(|listed| Some(listed.listing) == reading.listing) {
        compare(question, signed, reading, report);
    }
    Ok(())
}

/// Returns the finding that a tarball is not the one `which` somebody vouched for, or that was recorded.
pub(super) fn other_tarball(
    question: &Question<'_>,
    backup: &Backup,
    which: &str,
    expected: Checksum<'_>,
    found: &str,
) -> Finding {
    let name = &backup.fields.name;
    let message = format!(
        "the tarball of Backup {}/{name} is not the one {which}: expected sha256:{}, {found}",
        question.namespace,
        expected.hex()
    );
    let fix = "somebody changed the bucket, or the checksum is wrong; restore another backup";
    Finding::new(&DIFFERS, named::path(question.restore), name, message, fix)
}

/// Adds what differs between `reading` and what is `signed`.
fn compare(question: &Question<'_>, signed: &Statement, reading: &Reading, report: &mut Report) {
    let name = &signed.backup.name;
    let differences = signed
        .manifest
        .differences(name, &reading.files, &reading.unread);
    let (effective, shown): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_effective);
    let path = || named::path(question.restore);
    for difference in effective.iter().take(MAX_NAMED) {
        let file = &difference.name;
        let fix = format!(
            "{}; somebody changed the bucket: put the recorded file back, from a replica or an older version, \
             or restore another backup; `velero-trust backup show {name} --sha256sums` lists what is signed",
            digests(signed, reading, file)
        );
        report.add_finding(Finding::new(
            &DIFFERS,
            path(),
            file,
            difference.to_string(),
            fix,
        ));
    }
    let more = effective.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        let message = format!("{more} more files are not those that were signed");
        let fix = "restore another backup";
        report.add_finding(Finding::new(&DIFFERS, path(), name, message, fix));
    }
    if let Some(first) = shown.first() {
        let message = match shown.len() {
            1 => first.to_string(),
            count => format!("{first}; {count} such files differ"),
        };
        let fix = "no restore reads them; find out who changed them";
        report.add_finding(Finding::new(&SHOWN_DIFFERS, path(), name, message, fix));
    }
    if reading.location != signed.location {
        let was = &signed.location;
        let message = format!(
            "its files are in bucket {} now, and were in {} when they were recorded",
            named::place(&reading.location),
            named::place(was)
        );
        let fix = "nothing, if you moved or copied them";
        report.add_finding(Finding::new(&ELSEWHERE, path(), name, message, fix));
    }
}

/// Whether a restore, a deletion or the sync depends on the file.
fn is_effective(difference: &Difference) -> bool {
    match difference.role {
        Role::Required | Role::Optional => true,
        Role::Display | Role::Envelope | Role::Unknown => false,
    }
}

/// Returns the digests of `file` that were expected and found.
fn digests(signed: &Statement, reading: &Reading, file: &str) -> String {
    let digest = |text: &str, files: &[File]| {
        let file = files.iter().find(|one| one.name == file);
        file.map_or_else(
            || format!("{text} no such file"),
            |file| format!("{text} sha256:{}", file.sha256),
        )
    };
    format!(
        "{}, {}",
        digest("expected", signed.manifest.files()),
        digest("found", &reading.files)
    )
}

/// Checks the PodVolumeBackups of `backup` against those that were signed.
pub(super) fn check_volumes(
    question: &Question<'_>,
    backup: &Key,
    expected: &PodVolumes,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(found) = facts.pod_volumes(backup)? else {
        return Ok(());
    };
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
    if question.lasts(0) < MAX_SYNC_SECONDS && found.count < expected.count {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decision::{
        BackupFields, Covered, Fact, ListedFiles, Location, Lookup, Outcome, PodVolumes, Policy,
    };
    use crate::digest::Sha256;
    use crate::integrity::files;
    use crate::integrity::manifest::{Change, Manifest};
    use crate::integrity::statement::Level;
    use crate::velero::restore::Restore;

    const FILES: [&str; 2] = ["b.tar.gz", "velero-backup.json"];

    fn file(name: &str, content: &str) -> File {
        File {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256: Sha256::of(content.as_bytes()),
        }
    }

    fn volumes(count: usize) -> PodVolumes {
        PodVolumes {
            count,
            sha256: Sha256::of(&[u8::try_from(count).unwrap()]),
        }
    }

    fn signed() -> Statement {
        Statement {
            manifest: Manifest::new("b", FILES.map(|name| file(name, name)).into()).unwrap(),
            cluster: "cluster".into(),
            backup: BackupFields {
                name: "b".into(),
                ..BackupFields::default()
            },
            location: Location::default(),
            pod_volumes: volumes(2),
            level: Level::Observed,
            public_key: None,
        }
    }

    /// Runs the check at the gate for the Restore `r`, created at 1000, at `now`. The reading covers
    /// `covered`.
    fn check_at(now: i64, covered: &str, is_authentic: bool, found: PodVolumes) -> Report {
        check_with("{}", now, covered, is_authentic, found)
    }

    /// The same for a Restore with these annotations.
    fn check_with(
        annotations: &str,
        now: i64,
        covered: &str,
        is_authentic: bool,
        found: PodVolumes,
    ) -> Report {
        let restore = format!(
            r#"{{"metadata": {{"uid": "r", "creationTimestamp": "1970-01-01T00:16:40Z",
            "annotations": {annotations}}}, "spec": {{"backupName": "b"}}}}"#
        );
        let restore: Restore<'_> = serde_json::from_str(&restore).unwrap();
        let policy = Policy::default();
        let question = Question::at_gate(&restore, &policy, now);
        let backup = Backup {
            fields: signed().backup,
            storage_location: "default".into(),
            ..Backup::default()
        };
        let record = BackupRecord {
            backup: Key::new("velero", "b"),
            reading: Some(Reading {
                covers: Covered::Uids(vec![covered.to_owned()]),
                location: Location::default(),
                listing: Some(Sha256::of(b"listing")),
                files: FILES.map(|name| file(name, name)).into(),
                unread: Vec::new(),
                lists: Vec::new(),
            }),
            ..BackupRecord::default()
        };
        let mut facts = Facts::default();
        let listed = ListedFiles {
            location: Location::default(),
            listing: Sha256::of(b"listing"),
            is_authentic,
        };
        let lookup = Lookup::ListedFiles {
            backup: record.backup.clone(),
            location: "default".into(),
        };
        facts.insert(lookup, Outcome::Found(Fact::ListedFiles(Arc::new(listed))));
        let lookup = Lookup::PodVolumes(record.backup.clone());
        facts.insert(lookup, Outcome::Found(Fact::PodVolumes(found)));
        let mut report = Report::default();
        let checked = check(&question, &backup, &record, &signed(), &facts, &mut report);
        report.record(checked.map(drop));
        assert!(
            report.needs.is_empty() && report.unknowns.is_empty(),
            "{report:?}"
        );
        report
    }

    fn kinds(report: &Report) -> Vec<WaitKind> {
        report.waits.iter().map(|wait| wait.kind).collect()
    }

    #[test]
    fn missing_pod_volume_backups_are_waited_for_while_the_sync_makes_them() {
        let rules =
            |report: &Report| -> Vec<_> { report.findings.iter().map(|one| one.rule.id).collect() };
        let fewer = |now| check_at(now, "r", false, volumes(1));
        let waits = fewer(1000 + MAX_SYNC_SECONDS - 1);
        assert_eq!(
            (kinds(&waits), rules(&waits)),
            (vec![WaitKind::PodVolumes], vec![])
        );
        let over = fewer(1000 + MAX_SYNC_SECONDS);
        assert_eq!((kinds(&over), rules(&over)), (vec![], vec!["VT117"]));
        // No sync takes away what is too much, nor changes what is there.
        let other = PodVolumes {
            sha256: Sha256::of(b"other"),
            ..volumes(2)
        };
        for found in [volumes(3), other] {
            let report = check_at(1000, "r", false, found);
            assert_eq!((kinds(&report), rules(&report)), (vec![], vec!["VT117"]));
        }
        let same = check_at(1000, "r", false, volumes(2));
        assert_eq!((kinds(&same), rules(&same)), (vec![], vec![]));
    }

    /// Velero tries it again and again meanwhile.
    #[test]
    fn pod_volume_backups_are_not_looked_at_while_the_files_are_read() {
        let more = |annotations| check_with(annotations, 1000, "other", false, volumes(3));
        let waits = more("{}");
        assert_eq!(
            (kinds(&waits), waits.findings.len()),
            (vec![WaitKind::Reading], 0)
        );
        // A user may not want to wait.
        let accepted = more(r#"{"velero-trust.io/accept-insecure": "burns"}"#);
        assert_eq!(kinds(&accepted), [WaitKind::Reading]);
        assert_eq!(accepted.findings.first().unwrap().rule.id, "VT117");
    }

    #[test]
    fn an_older_reading_counts_only_where_nobody_chooses_what_the_bucket_lists() {
        let waits =
            |covered, is_authentic| kinds(&check_at(1000, covered, is_authentic, volumes(2)));
        assert_eq!(waits("r", false), []);
        assert_eq!(waits("other", true), []);
        assert_eq!(waits("other", false), [WaitKind::Reading]);
    }

    /// Another cluster of the bucket puts its signed list beside the files.
    #[test]
    fn only_what_velero_reads_is_effective() {
        let is_effective = |name: &str| {
            is_effective(&Difference {
                name: name.to_owned(),
                role: files::role("b", name),
                change: Change::Added,
            })
        };
        for name in ["b.tar.gz", "velero-backup.json", "b-volumeinfo.json.gz"] {
            assert!(is_effective(name), "{name}");
        }
        let list = files::envelope(&"0".repeat(64));
        for name in [&*list, "b-logs.gz", "notes"] {
            assert!(!is_effective(name), "{name}");
        }
    }
}
