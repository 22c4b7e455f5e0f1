//! Limits the number of findings, because a broken bundle can have thousands of faults.

use std::fmt;
use std::hash::Hash;

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
    /// What distinguishes the source from the others of a location.
    place: String,
    counts: Vec<Count>,
}

struct Count {
    rule: &'static Rule,
    is_known: bool,
    findings: usize,
}

impl<'r, 'k> FindingLimiter<'r, 'k> {
    /// Returns a limiter for findings about `source`, which is at `path`.
    pub(super) fn new(
        report: &'r mut Report,
        baseline: &'r mut Baseline<'k>,
        path: FieldPath,
        source: impl fmt::Display,
    ) -> Self {
        Self {
            report,
            baseline,
            place: format!("{path} {source}"),
            path,
            counts: Vec::new(),
        }
    }

    /// Counts a finding of `rule` and adds it within the limit. `detail` distinguishes it from the
    /// other findings of the rule about this source. It is built only if it is added, since its
    /// texts are most of what it costs.
    pub(super) fn find(
        &mut self,
        rule: &'static Rule,
        detail: impl Hash,
        build: impl FnOnce() -> Finding,
    ) {
        let place = &self.place;
        let is_known = match self.baseline {
            Baseline::Unused => false,
            Baseline::Recording(known) => return known.record_detail(rule, place, detail),
            Baseline::Recorded(known) => known.has_detail(rule, place, detail),
        };
        if self.count(rule, is_known) > MAX_FINDINGS_PER_RULE {
            return;
        }
        let finding = build();
        self.report.add_finding(if is_known {
            finding.softened()
        } else {
            finding
        });
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::baseline::KnownFindings;
    use super::super::find;
    use super::*;
    use crate::decision::Severity;

    /// Finds `all` things of one rule. Returns how many findings were built, and those that were
    /// added.
    fn build(baseline: &mut Baseline<'_>, all: usize) -> (usize, Vec<Finding>) {
        let rule = find("VT013").unwrap();
        let (built, mut report) = (Cell::new(0), Report::default());
        let mut limiter = FindingLimiter::new(&mut report, baseline, FieldPath::default(), "");
        for number in 0..all {
            limiter.find(rule, number, || {
                built.set(built.get() + 1);
                Finding::new(rule, FieldPath::default(), "", "", "")
            });
        }
        drop(limiter);
        (built.get(), report.findings)
    }

    /// A bundle can have tens of thousands, before and after an update.
    #[test]
    fn only_what_is_told_is_built() {
        let (built, findings) = build(&mut Baseline::Unused, 1_000);
        assert_eq!((built, findings.len()), (20, 21));
        let mut known = KnownFindings::default();
        let (built, findings) = build(&mut Baseline::Recording(&mut known), 500);
        assert_eq!((built, findings.len()), (0, 0));
        let (built, findings) = build(&mut Baseline::Recorded(&known), 1_000);
        assert_eq!((built, findings.len()), (40, 42));
        let is_known = |finding: &&Finding| finding.ceiling == Severity::Warn;
        assert_eq!(findings.iter().filter(is_known).count(), 21);
    }
}
