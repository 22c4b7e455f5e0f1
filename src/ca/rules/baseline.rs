//! The findings about a location before an update, which only warn after it.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, RandomState};

use crate::ca::certificate::Fingerprint;
use crate::decision::{Finding, Report, Rule};

/// How a run of the checks treats findings about the old location.
pub(super) enum Baseline<'k> {
    /// There is no old location.
    Unused,
    /// This run checks the old location and records its findings.
    Recording(&'k mut KnownFindings),
    /// This run checks the new location against the recorded findings.
    Recorded(&'k KnownFindings),
}

/// The recorded findings, as digests because one bundle can have tens of thousands of them.
#[derive(Default)]
pub(super) struct KnownFindings {
    findings: HashSet<Fingerprint>,
    /// Those about parts of bundles. The keys of the hash are random, so nobody can make two equal.
    details: HashSet<u64>,
    keys: RandomState,
}

impl KnownFindings {
    /// Records a finding.
    pub(super) fn record(&mut self, finding: &Finding) {
        self.findings.insert(identity(finding));
    }

    /// Records what `rule` finds about the part `detail` of what is at `place`.
    pub(super) fn record_detail(&mut self, rule: &Rule, place: &str, detail: impl Hash) {
        self.details
            .insert(self.keys.hash_one((rule.id, place, detail)));
    }

    /// Whether this was recorded.
    pub(super) fn has_detail(&self, rule: &Rule, place: &str, detail: impl Hash) -> bool {
        self.details
            .contains(&self.keys.hash_one((rule.id, place, detail)))
    }

    /// Softens the known findings of a report.
    pub(super) fn soften_all(&self, report: &mut Report) {
        let findings = std::mem::take(&mut report.findings);
        let soften = |finding: Finding| {
            if self.findings.contains(&identity(&finding)) {
                finding.softened()
            } else {
                finding
            }
        };
        report.findings = findings.into_iter().map(soften).collect();
    }
}

/// Returns a digest of what identifies a problem: rule, path and subject.
fn identity(finding: &Finding) -> Fingerprint {
    let Finding {
        rule,
        path,
        subject,
        ..
    } = finding;
    Fingerprint::of(format!("{} {path}\n{subject}", rule.id).as_bytes())
}
