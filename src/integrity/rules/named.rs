//! Rules about the backup or the schedule that a Restore names.

use super::question::Question;
use crate::decision::{
    Backup, Code, Facts, FieldPath, Finding, Key, Location, Report, Rule, Severity, Stop,
};
use crate::velero::naming::{is_label_value, is_name};
use crate::velero::restore::{Restore, newest_completed};
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 5] = [
    &NO_BACKUP,
    &NAMES_NONE,
    &NAMES_BOTH,
    &NO_COMPLETED,
    &NOT_WHOLE,
];

static NO_BACKUP: Rule = Rule {
    id: "VT103",
    title: "backup does not exist",
    about: "Velero would fail the Restore; a backup that was just uploaded appears with Velero's \
            next sync.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static NAMES_NONE: Rule = Rule {
    id: "VT105",
    title: "Restore names no backup",
    about: "A Restore names either a backup or a schedule.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static NAMES_BOTH: Rule = Rule {
    id: "VT106",
    title: "Restore names a backup and a schedule",
    about: "A Restore names either a backup or a schedule; Velero fails one that names both.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static NO_COMPLETED: Rule = Rule {
    id: "VT107",
    title: "schedule without a completed backup",
    about: "Velero restores a schedule's newest backup whose phase is exactly `Completed`, and \
            there is none. Name a partially failed backup in `backupName`.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

static NOT_WHOLE: Rule = Rule {
    id: "VT110",
    title: "backup that is not whole",
    about: "The backup failed, is being deleted, or is not finished. Velero does not look at that, \
            and the Restore fails or finds only a part. One that finished with errors is restored, with a warning.",
    severity: Severity::Deny,
    code: Code::Invalid,
    ..Rule::DEFAULT
};

/// Returns the Backups from which Velero would pick one: the named Backup, or the newest Backups of
/// a schedule. If there are none, a finding in `report` says why.
pub(super) fn backups<'a>(
    question: &Question<'_>,
    facts: &'a Facts,
    report: &mut Report,
) -> Result<Vec<&'a Backup>, Stop> {
    let Question {
        namespace, restore, ..
    } = *question;
    let backup = restore.backup_name();
    // Velero fills in the name that was not given, and from then on uses only the backup.
    let is_filled_in = !restore.is_waiting() && !backup.is_empty();
    let schedule = if is_filled_in {
        ""
    } else {
        restore.schedule_name()
    };
    let mut find = |rule, path, message: String, fix: &str| {
        let subject = format!("{} {}", shown(backup), shown(schedule));
        report.add_finding(Finding::new(rule, path, subject, message, fix));
        Ok(Vec::new())
    };
    match (backup, schedule) {
        ("", "") => find(
            &NAMES_NONE,
            FieldPath::of(&["spec"]),
            "the Restore names neither a backup nor a schedule".to_owned(),
            "set either spec.backupName or spec.scheduleName",
        ),
        (backup, "") => {
            let list = format!("`velero -n {namespace} backup get` lists those there are");
            if !is_name(backup) {
                let message = format!("no Backup can be called `{}`", shown(backup));
                return find(&NO_BACKUP, path(restore), message, &list);
            }
            let key = Key::new(namespace, backup);
            let Some(backup) = facts.backup(&key)? else {
                let message = format!("Backup {key} does not exist");
                return find(&NO_BACKUP, path(restore), message, &list);
            };
            if backup.fields.phase == "PartiallyFailed" {
                let message =
                    format!("Backup {key} finished with errors, so a part of it may be missing");
                let fix = format!(
                    "`velero -n {namespace} backup describe {} --details` lists them",
                    key.name
                );
                let finding =
                    Finding::new(&NOT_WHOLE, path(restore), key.name.clone(), message, fix);
                report.add_finding(finding.softened());
            }
            if let Some(state) = why_not_whole(&backup.fields.phase) {
                report.add_finding(Finding::new(
                    &NOT_WHOLE,
                    path(restore),
                    key.name.clone(),
                    format!("Backup {key} {state}, so there is nothing whole to restore"),
                    format!("name one that is Completed; {list}"),
                ));
            }
            Ok(vec![backup])
        }
        ("", schedule) => {
            if !is_label_value(schedule) {
                let message = format!(
                    "no Backup can be of a Schedule called `{}`",
                    shown(schedule)
                );
                let fix = "name a Schedule, or a backup by spec.backupName";
                return find(&NO_COMPLETED, path(restore), message, fix);
            }
            let all = facts.backups_of_schedule(namespace, schedule)?;
            let newest = newest_completed(all.unwrap_or_default());
            if newest.is_empty() {
                let message = format!("Schedule {namespace}/{schedule} has no completed backup");
                return find(
                    &NO_COMPLETED,
                    path(restore),
                    message,
                    "wait for one, or name a backup by spec.backupName",
                );
            }
            Ok(newest)
        }
        (_, _) => find(
            &NAMES_BOTH,
            FieldPath::of(&["spec"]),
            "the Restore names both a backup and a schedule".to_owned(),
            "remove spec.backupName or spec.scheduleName",
        ),
    }
}

/// Returns why a backup in this phase has not all of its files, if that is so
/// (`pkg/apis/velero/v1/backup_types.go`). One that is being finalized has them.
pub fn why_not_whole(phase: &str) -> Option<&'static str> {
    match phase {
        "Failed" => Some("failed"),
        "FailedValidation" => Some("never began, because it is invalid"),
        "Deleting" => Some("is being deleted"),
        "New" | "Queued" | "ReadyToStart" | "InProgress" => Some("is not finished"),
        _ => None,
    }
}

/// Returns the bucket and the prefix of `location` for people.
pub(super) fn place(location: &Location) -> String {
    let Location { bucket, prefix, .. } = location;
    if prefix.is_empty() {
        shown(bucket)
    } else {
        format!("{} under {}", shown(bucket), shown(prefix))
    }
}

/// Returns the path to the field that selects the backup.
pub(super) fn path(restore: &Restore<'_>) -> FieldPath {
    let field = if restore.backup_name().is_empty() {
        "scheduleName"
    } else {
        "backupName"
    };
    FieldPath::of(&["spec", field])
}
