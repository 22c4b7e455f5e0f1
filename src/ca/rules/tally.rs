//! A bound on what is said: a broken bundle may have thousands of faults.

use super::baseline::Baseline;
use crate::decision::{FieldPath, Finding, Report, Rule};

/// Most findings of one rule in one place.
const MOST: usize = 20;

/// Takes findings about one place, and keeps the first of each rule. Those that were there before
/// are counted for themselves, so that they never hide what is new.
pub(super) struct Tally<'r, 'k> {
    report: &'r mut Report,
    baseline: &'r mut Baseline<'k>,
    path: FieldPath,
    counts: Vec<Count>,
}

struct Count {
    rule: &'static Rule,
    is_known: bool,
    found: usize,
}

impl<'r, 'k> Tally<'r, 'k> {
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
    pub(super) fn find(&mut self, rule: &'static Rule, make: impl FnOnce() -> Finding) {
        match self.baseline {
            Baseline::Unused => {
                if self.count(rule, false) <= MOST {
                    self.report.find(make());
                }
            }
            Baseline::Recording(known) => known.learn(&make()),
            Baseline::Recorded(known) => {
                let (finding, is_known) = known.forgive(make());
                if self.count(rule, is_known) <= MOST {
                    self.report.find(finding);
                }
            }
        }
    }

    fn count(&mut self, rule: &'static Rule, is_known: bool) -> usize {
        // There are a few rules in a tally at the most.
        let mut counts = self.counts.iter_mut();
        if let Some(of) = counts.find(|of| of.rule == rule && of.is_known == is_known) {
            of.found += 1;
            return of.found;
        }
        self.counts.push(Count {
            rule,
            is_known,
            found: 1,
        });
        1
    }
}

/// Says how many were not kept.
impl Drop for Tally<'_, '_> {
    fn drop(&mut self) {
        for of in self.counts.iter().filter(|of| of.found > MOST) {
            let message = format!("and {} more of the same kind", of.found - MOST);
            let fix = "correct these first";
            let more = Finding::new(of.rule, self.path.clone(), "more", message, fix);
            self.report
                .find(if of.is_known { more.softened() } else { more });
        }
    }
}
