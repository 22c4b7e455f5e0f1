//! The rules for Restores and Backups, one file per theme.

mod acceptance;
mod checksum;
mod files;
mod lost;
mod named;
mod question;
mod reading;
mod record;
mod reserved;
mod tarball;
mod target;
mod written_by_others;

pub use checksum::NOT_YET;
pub use named::why_not_whole;
pub use question::{Acceptance, Moment, Question};
pub use reserved::strip as strip_reserved;

use crate::decision::{
    Backup, Facts, FieldPath, Finding, PodVolumes, Reading, RecordState, Report, RestoresMode,
    Rule, Stop, Wait, WaitKind,
};
use crate::integrity::recording::find_own;
use crate::integrity::statement::Statement;
use crate::integrity::trust::Trust;
use crate::velero::restore::Restore;

/// Returns all rules for Restores and Backups.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let rules = checksum::RULES.into_iter().chain(named::RULES);
    let rules = rules.chain(record::RULES).chain(target::RULES);
    let rules = rules.chain(reserved::RULES).chain(files::RULES);
    let rules = rules.chain(reading::RULES).chain(acceptance::RULES);
    let rules = rules.chain(written_by_others::RULES).chain(lost::RULES);
    rules.chain(tarball::RULES)
}

/// What is known of the backup of a Restore, besides what speaks against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What is signed of it.
    pub signed: Option<Statement>,
    /// What was read of it for this Restore.
    pub reading: Option<Reading>,
    /// Its PodVolumeBackups, if they were looked at.
    pub pod_volumes: Option<PodVolumes>,
    /// The ids of the rules that a user accepted.
    pub accepted: Vec<&'static str>,
}

/// Runs every check over a Restore that Velero is to run. `old` is what it was before, if somebody changes
/// it.
pub fn judge(question: &Question<'_>, old: Option<&Restore<'_>>, facts: &Facts) -> (Report, Known) {
    let mut report = Report::default();
    let mut known = Known::default();
    if question.mode() == RestoresMode::Off {
        report.is_unjudged = true;
        return (report, known);
    }
    let restore = question.restore;
    if !question.is_gate() {
        written_by_others::check(question, old, &mut report);
    }
    target::check(&question.policy.own_namespace, restore, &mut report);
    checksum::check_expected(restore, &mut report);
    match named::backups(question, facts, &mut report) {
        Ok(backups) => {
            let checked = lost::check(question, &backups, facts, &mut report);
            report.record(checked);
            // Velero may restore any of them.
            for backup in backups {
                let checked = check(question, backup, facts, &mut known, &mut report);
                report.record(checked);
            }
        }
        stop => report.record(stop.map(drop)),
    }
    checksum::leave_out_if_denied(&mut report);
    known.accepted = acceptance::apply(question, &mut report);
    if question.mode() == RestoresMode::Warn {
        soften(question, &mut report);
    }
    (report, known)
}

/// Checks `backup` against its record, or by its annotations if its files are not recorded.
fn check(
    question: &Question<'_>,
    backup: &Backup,
    facts: &Facts,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), Stop> {
    let key = question.key(backup);
    let keys = facts.trusted_keys();
    if let Err(need @ Stop::Need(_)) = &keys {
        // Both are looked up together. A backup that is not recorded needs no keys, so that it does not
        // matter if they cannot be read.
        report.record(Err(need.clone()));
    }
    let records = facts.records(&key, &backup.fields.uid)?.unwrap_or_default();
    match find_own(&backup.fields.uid, records) {
        Some(own) if own.state == RecordState::Recorded => {
            let trust = Trust::new(keys?.unwrap_or_default());
            let opened = record::check(question.restore, backup, own, records, &trust, report);
            if let Some((opened, trusted)) = opened {
                let signed = opened.statement;
                let reading = files::check(question, backup, own, &signed, facts, report)?;
                if let Some(reading) = &reading {
                    record::check_place(question, trusted, &signed, reading, report);
                }
                known.reading = reading;
                known.signed = Some(signed);
            }
        }
        own => known.reading = checksum::check(question, backup, own, facts, report)?,
    }
    known.pod_volumes = facts.pod_volumes(&key).ok().flatten().copied();
    Ok(())
}

/// Turns denials into warnings. Bytes, a Backup or a checksum that are known to be other ones are never
/// only a warning, so what the files are is waited for.
fn soften(question: &Question<'_>, report: &mut Report) {
    let findings = std::mem::take(&mut report.findings).into_iter();
    let soften = |one: Finding| if one.rule.fixed { one } else { one.softened() };
    report.findings = findings.map(soften).collect();
    // An operator who only wants warnings does not want Restores to be refused for a failed look-up. When
    // Velero begins, it tries again.
    if !question.is_gate() {
        for (lookup, reason) in std::mem::take(&mut report.unknowns) {
            let why = reason.message;
            report.note(
                FieldPath::default(),
                format!("{lookup} could not be checked: {why}"),
            );
        }
    }
    let is_awaited = |wait: &Wait| match wait.kind {
        WaitKind::Reading | WaitKind::Changed | WaitKind::PodVolumes => true,
        WaitKind::Recording | WaitKind::Failing => false,
    };
    let waits = std::mem::take(&mut report.waits);
    let (awaited, others): (Vec<_>, Vec<_>) = waits.into_iter().partition(is_awaited);
    report.waits = awaited;
    for wait in others {
        report.note(FieldPath::default(), wait.message);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decision::{
        BackupFields, Fact, Key, Lookup, LookupError, LookupErrorKind, Outcome, Policy,
    };

    const RESTORE: &str = r#"{"metadata": {"uid": "r"}, "spec": {"backupName": "b"}}"#;

    fn judge_at_gate(facts: &Facts) -> Report {
        let restore = serde_json::from_str(RESTORE).unwrap();
        let policy = Policy::default();
        let question = Question::at_gate(&restore, &policy, 0);
        judge(&question, None, facts).0
    }

    fn facts() -> Facts {
        let backup = Backup {
            fields: BackupFields {
                name: "b".into(),
                uid: "u".into(),
                phase: "Completed".into(),
                ..BackupFields::default()
            },
            ..Backup::default()
        };
        let found = Outcome::Found(Fact::Backup(Arc::new(backup)));
        let mut facts = Facts::default();
        facts.insert(Lookup::Backup(Key::new("velero", "b")), found);
        facts
    }

    #[test]
    fn records_and_keys_are_looked_up_together() {
        let records = Lookup::Records {
            backup: Key::new("velero", "b"),
            uid: "u".into(),
        };
        let mut facts = facts();
        let needs = judge_at_gate(&facts).needs;
        assert!(needs.contains(&Lookup::TrustedKeys) && needs.contains(&records));
        // A backup that is not recorded needs no keys.
        let down = LookupError {
            kind: LookupErrorKind::Timeout,
            message: "down".into(),
        };
        facts.insert(Lookup::TrustedKeys, Outcome::Unavailable(down));
        facts.insert(records, Outcome::Found(Fact::Records(Arc::default())));
        let report = judge_at_gate(&facts);
        assert!(report.unknowns.is_empty(), "{report:?}");
        assert_eq!(report.waits[0].kind, WaitKind::Recording);
    }
}
