//! A Restore needs a checksum of its backup.

use crate::decision::{Backup, Code, Facts, FieldPath, Finding, Key, Report, Rule, Severity, Stop};
use crate::integrity::checksum::Checksum;
use crate::names::{BACKUP_CHECKSUM_ANNOTATION, CHECKSUM_ANNOTATION};
use crate::velero::restore::{Restore, newest_completed};
use crate::velero::text::or_empty;

pub(super) static RULES: [&Rule; 8] = [
    &NO_CHECKSUM,
    &MALFORMED,
    &NO_BACKUP,
    &DISAGREE,
    &NAMES_NONE,
    &NAMES_BOTH,
    &NO_COMPLETED,
    &NOT_VERIFIED,
];

static NO_CHECKSUM: Rule = Rule {
    id: "VT101",
    title: "backup without a checksum",
    about: "Nobody vouched for the backup's bytes. Put `velero-trust.io/checksum: sha256:<64 hex>` \
            on the Backup or `velero-trust.io/backup-checksum` on the Restore, or run with \
            `--restores=warn` while old backups have none.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: false,
};

static MALFORMED: Rule = Rule {
    id: "VT102",
    title: "malformed checksum",
    about: "A checksum is `sha256:` and 64 hexadecimal digits in lower case.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: false,
};

static NO_BACKUP: Rule = Rule {
    id: "VT103",
    title: "backup does not exist",
    about: "Velero would fail the Restore; a backup that was just uploaded appears with Velero's \
            next sync.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: false,
};

static DISAGREE: Rule = Rule {
    id: "VT104",
    title: "checksums disagree",
    about: "The checksum that the Restore expects is not the one on the Backup: one of the two is \
            wrong, or the backup was replaced.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: false,
};

static NAMES_NONE: Rule = Rule {
    id: "VT105",
    title: "Restore names no backup",
    about: "A Restore names either a backup or a schedule.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: false,
};

static NAMES_BOTH: Rule = Rule {
    id: "VT106",
    title: "Restore names a backup and a schedule",
    about: "A Restore names either a backup or a schedule; Velero fails one that names both.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: false,
};

static NO_COMPLETED: Rule = Rule {
    id: "VT107",
    title: "schedule without a completed backup",
    about: "Velero restores a schedule's newest backup whose phase is exactly `Completed`, and \
            there is none. A partially failed one has to be named by `backupName`.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: false,
};

static NOT_VERIFIED: Rule = Rule {
    id: "VT108",
    title: "checksum not compared with the bucket",
    about: "This version checks that a checksum is there and well-formed. It does not read the \
            bucket, so it cannot tell whether the backup still has these bytes.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    fixed: false,
};

pub(super) fn check(
    namespace: &str,
    restore: &Restore<'_>,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(backup) = named_backup(namespace, restore, facts, report)? else {
        return Ok(());
    };
    let on_backup = backup.checksum.as_deref();
    let on_restore = restore.metadata.annotation(BACKUP_CHECKSUM_ANNOTATION);
    let backup_path = || FieldPath::of(&["spec"]).field(named_by(restore));
    let restore_path = || FieldPath::annotation(BACKUP_CHECKSUM_ANNOTATION);
    let named = format!("Backup {namespace}/{}", backup.name);
    let command = format!(
        "kubectl -n {namespace} annotate backup {} {CHECKSUM_ANNOTATION}=sha256:<64 hex>",
        backup.name
    );

    let mut well_formed = true;
    if let Some(Err(why)) = on_backup.map(Checksum::parse) {
        well_formed = false;
        let message = format!("the annotation {CHECKSUM_ANNOTATION} of {named} {why}");
        let fix = format!("set it with `{command} --overwrite`");
        report.find(Finding::new(
            &MALFORMED,
            backup_path(),
            &named,
            message,
            fix,
        ));
    }
    if let Some(Err(why)) = on_restore.map(Checksum::parse) {
        well_formed = false;
        let message = format!("the annotation {why}");
        let fix = "write `sha256:` and the 64 hexadecimal digits of `sha256sum` over the tarball";
        report.find(Finding::new(&MALFORMED, restore_path(), "", message, fix));
    }
    if !well_formed {
        return Ok(());
    }
    match (on_backup, on_restore) {
        (None, None) => {
            let message = format!("{named} has no annotation {CHECKSUM_ANNOTATION}");
            let fix = format!(
                "if you know the SHA-256 of its tarball, vouch for it with `{command}`, or put \
                 {BACKUP_CHECKSUM_ANNOTATION} on this Restore"
            );
            report.find(Finding::new(
                &NO_CHECKSUM,
                backup_path(),
                &named,
                message,
                fix,
            ));
        }
        (Some(on_backup), Some(on_restore)) if on_backup != on_restore => {
            let message = format!("this Restore expects {on_restore}, and {named} has {on_backup}");
            let fix = "find out which is right before you restore anything from this backup";
            report.find(Finding::new(
                &DISAGREE,
                restore_path(),
                &named,
                message,
                fix,
            ));
        }
        _ => {
            let message = "the checksum is well-formed, but not compared with the bucket";
            let fix = "this version cannot";
            report.find(Finding::new(
                &NOT_VERIFIED,
                backup_path(),
                &named,
                message,
                fix,
            ));
        }
    }
    Ok(())
}

/// The Backup that Velero would take, or a finding that says why there is none.
fn named_backup<'a>(
    namespace: &str,
    restore: &Restore<'_>,
    facts: &'a Facts,
    report: &mut Report,
) -> Result<Option<&'a Backup>, Stop> {
    let backup = or_empty(restore.spec.backup_name.as_ref());
    let schedule = or_empty(restore.spec.schedule_name.as_ref());
    let path = FieldPath::of(&["spec"]).field(named_by(restore));
    match (backup, schedule) {
        ("", "") => {
            let message = "the Restore names neither a backup nor a schedule";
            let fix = "set either spec.backupName or spec.scheduleName";
            report.find(Finding::new(
                &NAMES_NONE,
                FieldPath::of(&["spec"]),
                "",
                message,
                fix,
            ));
            Ok(None)
        }
        (backup, "") => {
            let key = Key::new(namespace, backup);
            let found = facts.backup(&key)?;
            if found.is_none() {
                let message = format!("Backup {key} does not exist");
                let fix = format!("`velero -n {namespace} backup get` lists those that do");
                report.find(Finding::new(
                    &NO_BACKUP,
                    path,
                    key.to_string(),
                    message,
                    fix,
                ));
            }
            Ok(found)
        }
        ("", schedule) => {
            let backups = facts
                .backups_of_schedule(namespace, schedule)?
                .unwrap_or_default();
            let found = newest_completed(backups);
            if found.is_none() {
                let message = format!("Schedule {namespace}/{schedule} has no completed backup");
                let fix = "wait for one, or name a backup by spec.backupName";
                report.find(Finding::new(&NO_COMPLETED, path, schedule, message, fix));
            }
            Ok(found)
        }
        (_, _) => {
            let message = "the Restore names both a backup and a schedule";
            let fix = "remove spec.backupName or spec.scheduleName";
            report.find(Finding::new(
                &NAMES_BOTH,
                FieldPath::of(&["spec"]),
                "",
                message,
                fix,
            ));
            Ok(None)
        }
    }
}

/// The field of `spec` that says which backup is meant.
fn named_by(restore: &Restore<'_>) -> &'static str {
    if or_empty(restore.spec.backup_name.as_ref()).is_empty() {
        "scheduleName"
    } else {
        "backupName"
    }
}
