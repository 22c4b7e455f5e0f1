//! A bound on what is said: a broken bundle may have thousands of faults.

use super::baseline::Baseline;
use crate::decision::{FieldPath, Finding, Report, Rule};

/// Most findings of one rule in one place.
const MAX_FINDINGS_PER_RULE: usize = 20;

/// Takes findings about one place, and keeps the first of each rule. Those that were there before
/// are counted for themselves, so that they never hide what is new.
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
    /// A tally of what is found at or below `path`.
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

    /// Counts a finding of `rule`; without a baseline it is made only if it is kept.
    pub(super) fn find(&mut self, rule: &'static Rule, build: impl FnOnce() -> Finding) {
        match self.baseline {
            Baseline::Unused => {
                if self.count(rule, false) <= MAX_FINDINGS_PER_RULE {
                    self.report.find(build());
                }
            }
            Baseline::Recording(known) => known.record(&build()),
            Baseline::Recorded(known) => {
                let (finding, is_known) = known.soften_if_known(build());
                if self.count(rule, is_known) <= MAX_FINDINGS_PER_RULE {
                    self.report.find(finding);
                }
            }
        }
    }

    fn count(&mut self, rule: &'static Rule, is_known: bool) -> usize {
        // There are a few rules in a tally at the most.
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

/// Says how many were not kept.
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
            self.report.find(if count.is_known {
                summary.softened()
            } else {
                summary
            });
        }
    }
}
