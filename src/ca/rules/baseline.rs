//! What was wrong with a location before it is changed.

use std::collections::HashSet;

use crate::ca::certificate::Fingerprint;
use crate::decision::{Finding, Report};

/// How a pass over a location deals with what was wrong before.
pub(super) enum Baseline<'k> {
    /// There is no before.
    Unused,
    /// This pass is over the location as it was.
    Recording(&'k mut KnownFindings),
    /// This pass is over the location as it will be.
    Recorded(&'k KnownFindings),
}

/// Digests of findings: there may be tens of thousands in one bundle.
#[derive(Default)]
pub(super) struct KnownFindings(HashSet<Fingerprint>);

impl KnownFindings {
    /// Remembers a finding.
    pub(super) fn record(&mut self, finding: &Finding) {
        self.0.insert(identity(finding));
    }

    /// The finding, which only warns if it is known, and whether it is.
    pub(super) fn soften_if_known(&self, finding: Finding) -> (Finding, bool) {
        if self.0.contains(&identity(&finding)) {
            (finding.softened(), true)
        } else {
            (finding, false)
        }
    }

    /// Softens what is known in a whole report.
    pub(super) fn soften_all(&self, report: &mut Report) {
        let findings = std::mem::take(&mut report.findings);
        let softened = findings
            .into_iter()
            .map(|finding| self.soften_if_known(finding).0);
        report.findings = softened.collect();
    }
}

/// What makes two findings the same problem: rule, path and subject.
fn identity(finding: &Finding) -> Fingerprint {
    let Finding {
        rule,
        path,
        subject,
        ..
    } = finding;
    Fingerprint::of(format!("{} {path}\n{subject}", rule.id).as_bytes())
}
