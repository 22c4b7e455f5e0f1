//! The findings about a location before an update, which only warn after it.

use std::collections::HashSet;

use crate::ca::certificate::Fingerprint;
use crate::decision::{Finding, Report};

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
pub(super) struct KnownFindings(HashSet<Fingerprint>);

impl KnownFindings {
    /// Records a finding.
    pub(super) fn record(&mut self, finding: &Finding) {
        self.0.insert(identity(finding));
    }

    /// Returns the finding and whether it is known. A known finding only warns.
    pub(super) fn soften_if_known(&self, finding: Finding) -> (Finding, bool) {
        if self.0.contains(&identity(&finding)) {
            (finding.softened(), true)
        } else {
            (finding, false)
        }
    }

    /// Softens the known findings of a report.
    pub(super) fn soften_all(&self, report: &mut Report) {
        let findings = std::mem::take(&mut report.findings);
        let softened = findings
            .into_iter()
            .map(|finding| self.soften_if_known(finding).0);
        report.findings = softened.collect();
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
