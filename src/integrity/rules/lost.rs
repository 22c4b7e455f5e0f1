//! The rule about newer backups of a Schedule that are gone.

use k8s_openapi::jiff::Timestamp;

use super::named;
use super::question::Question;
use crate::decision::{Backup, Code, Facts, Finding, Report, Rule, Severity, Stop};
use crate::integrity::record::claimed;
use crate::velero::text::{seconds, shown};

pub(super) static RULES: [&Rule; 1] = [&NEWER_LOST];

static NEWER_LOST: Rule = Rule {
    id: "VT127",
    title: "newer backups of the schedule are gone",
    about: "Velero restores the newest backup of a schedule that is there. Newer ones were recorded, and are gone \
            without a deletion request and before their time: somebody may have taken them from the bucket.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// Most backups that are named.
const MAX_NAMED: usize = 3;

/// Checks whether backups of the Schedule that the Restore names went away that are newer than `backups`, those from
/// which Velero picks.
pub(super) fn check(
    question: &Question<'_>,
    backups: &[&Backup],
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Stop> {
    let restore = question.restore;
    let schedule = restore.schedule_name();
    if schedule.is_empty() || !restore.backup_name().is_empty() {
        return Ok(());
    }
    let Some(newest) = backups.iter().filter_map(|backup| backup.started).max() else {
        return Ok(());
    };
    let lost = match facts.lost_backups(question.namespace, schedule) {
        // It is only a warning.
        Err(Stop::Unknown(..)) => return Ok(()),
        lost => lost?.unwrap_or_default(),
    };
    let started = |record| claimed(record)?.backup.started.as_deref().and_then(seconds);
    let mut newer: Vec<(i64, &str)> = lost
        .iter()
        .filter_map(|record| Some((started(record)?, record.backup.name.as_str())))
        .filter(|(started, _)| *started > newest)
        .collect();
    newer.sort_unstable();
    let Some((newest_lost, _)) = newer.last() else {
        return Ok(());
    };
    let names = newer.iter().rev().take(MAX_NAMED);
    let mut names: Vec<_> = names.map(|(_, name)| shown(name)).collect();
    if newer.len() > MAX_NAMED {
        names.push(format!("{} more", newer.len() - MAX_NAMED));
    }
    let message = format!(
        "newer backups of this schedule are gone: {}",
        names.join(", ")
    );
    let at = Timestamp::from_second(*newest_lost).unwrap_or_default();
    let fix = format!(
        "the last of them started at {at}; nobody asked the Velero of this cluster to delete them: see whether that of \
         another one did, or whether their files are in a replica or an older version of the bucket"
    );
    let path = named::path(restore);
    report.add_finding(Finding::new(
        &NEWER_LOST,
        path,
        shown(schedule),
        message,
        fix,
    ));
    Ok(())
}
