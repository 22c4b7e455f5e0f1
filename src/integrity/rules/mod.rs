//! The rules for Restores and Backups, one file per theme.

mod checksum;
mod named;
mod record;
mod reserved;
mod target;

pub use named::why_not_whole;
pub use reserved::strip as strip_reserved;

use crate::decision::{Facts, FieldPath, Finding, Policy, Report, RestoresMode, Rule};
use crate::velero::restore::Restore;

/// Returns all rules for Restores and Backups.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let rules = checksum::RULES.into_iter().chain(named::RULES);
    let rules = rules.chain(record::RULES).chain(target::RULES);
    rules.chain(reserved::RULES)
}

/// Runs every check over a Restore that Velero is to run in `namespace`.
pub fn judge(namespace: &str, restore: &Restore<'_>, facts: &Facts, policy: &Policy) -> Report {
    let mode = policy.restores;
    let mut report = Report::default();
    if mode == RestoresMode::Off {
        return report;
    }
    target::check(&policy.own_namespace, restore, &mut report);
    match named::backups(namespace, restore, facts, &mut report) {
        Ok(backups) => checksum::check(namespace, restore, &backups, facts, &mut report),
        stop => report.record(stop.map(drop)),
    }
    if mode == RestoresMode::Warn {
        // Bytes, a Backup or a checksum that are known to be other ones are never only a warning.
        let findings = report.findings.into_iter();
        let soften = |one: Finding| if one.rule.fixed { one } else { one.softened() };
        report.findings = findings.map(soften).collect();
        // An operator who only wants warnings does not want Restores to wait for a failed look-up.
        for (lookup, reason) in std::mem::take(&mut report.unknowns) {
            let why = reason.message;
            report.note(
                FieldPath::default(),
                format!("{lookup} could not be checked: {why}"),
            );
        }
    }
    report
}
