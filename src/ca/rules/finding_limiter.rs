//! Limits the number of findings, because a broken bundle can have thousands of faults.

use super::baseline::Baseline;
use crate::decision::{FieldPath, Finding, Report, Rule};

/// Maximum number of findings of one rule about one source.
const MAX_FINDINGS_PER_RULE: usize = 20;

/// Adds findings about one source to a report, up to the limit for each rule. Known findings are
/// counted separately, so that they never hide new ones.
pub(super) struct FindingLimiter<'r, 'k> {
    report: &'r mut Report,
    baseline: &'r mut Baseline<'k>,
    path: FieldPath,
    counts: Vec<Count>,
}

struct Count {
    rule: &'static Rule,
    is_known: bool,
    findings: usize,
}

impl<'r, 'k> FindingLimiter<'r, 'k> {
    /// Returns a limiter for findings at or below `path`.
    pub(super) const fn new(
        report: &'r mut Report,
        baseline: &'r mut Baseline<'k>,
        path: FieldPath,
    ) -> Self {
        Self {
            report,
            baseline,
            path,
            counts: Vec::new(),
        }
    }

    /// Counts a finding of `rule` and adds it within the limit. Without a baseline, it is built
    /// only if it is added.
    pub(super) fn find(&mut self, rule: &'static Rule, build: impl FnOnce() -> Finding) {
        match self.baseline {
            Baseline::Unused => {
                if self.count(rule, false) <= MAX_FINDINGS_PER_RULE {
                    self.report.add_finding(build());
                }
            }
            Baseline::Recording(known) => known.record(&build()),
            Baseline::Recorded(known) => {
                let (finding, is_known) = known.soften_if_known(build());
                if self.count(rule, is_known) <= MAX_FINDINGS_PER_RULE {
                    self.report.add_finding(finding);
                }
            }
        }
    }

    fn count(&mut self, rule: &'static Rule, is_known: bool) -> usize {
        // A limiter sees only a few rules, so a linear search is enough.
        let mut counts = self.counts.iter_mut();
        if let Some(count) = counts.find(|count| count.rule == rule && count.is_known == is_known) {
            count.findings += 1;
            return count.findings;
        }
        self.counts.push(Count {
            rule,
            is_known,
            findings: 1,
        });
        1
    }
}

/// Adds the number of findings over the limit to the report.
impl Drop for FindingLimiter<'_, '_> {
    fn drop(&mut self) {
        for count in self
            .counts
            .iter()
            .filter(|count| count.findings > MAX_FINDINGS_PER_RULE)
        {
            let message = format!(
                "and {} more of the same kind",
                count.findings - MAX_FINDINGS_PER_RULE
            );
            let fix = "correct these first";
            let summary = Finding::new(count.rule, self.path.clone(), "more", message, fix);
            self.report.add_finding(if count.is_known {
                summary.softened()
            } else {
                summary
            });
        }
    }
}
