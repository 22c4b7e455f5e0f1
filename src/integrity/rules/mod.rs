//! The rules for Restores, one file a theme.

mod checksum;

use crate::decision::{Facts, Finding, Report, RestoresMode, Rule};
use crate::velero::restore::Restore;

/// All rules of this folder.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    checksum::RULES.iter().copied()
}

/// Runs every check over a Restore that is about to be created in `namespace`.
pub fn judge(namespace: &str, restore: &Restore<'_>, facts: &Facts, mode: RestoresMode) -> Report {
    let mut report = Report::default();
    if mode == RestoresMode::Off {
        return report;
    }
    let result = checksum::check(namespace, restore, facts, &mut report);
    report.take(result);
    if mode == RestoresMode::Warn {
        report.findings = report.findings.into_iter().map(Finding::softened).collect();
    }
    report
}
