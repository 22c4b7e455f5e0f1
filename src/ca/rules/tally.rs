//! A bound on what is said: a broken bundle may have thousands of faults.

use crate::decision::{FieldPath, Finding, Report, Rule};

/// Most findings of one rule in one place.
const MOST: usize = 20;

/// Takes findings about one place, and keeps the first of each rule.
pub(super) struct Tally<'r> {
    report: &'r mut Report,
    path: FieldPath,
    counts: Vec<(&'static Rule, usize)>,
}

impl<'r> Tally<'r> {
    /// A tally of what is found at or below `path`.
    pub(super) const fn new(report: &'r mut Report, path: FieldPath) -> Self {
        Self {
            report,
            path,
            counts: Vec::new(),
        }
    }

    /// Counts a finding of `rule`; it is made only if it is kept.
    pub(super) fn find(&mut self, rule: &'static Rule, make: impl FnOnce() -> Finding) {
        // There are a few rules in a tally at the most.
        let known = self.counts.iter_mut().find(|(known, _)| *known == rule);
        let count = if let Some((_, count)) = known {
            *count += 1;
            *count
        } else {
            self.counts.push((rule, 1));
            1
        };
        if count <= MOST {
            self.report.find(make());
        }
    }
}

/// Says how many were not kept.
impl Drop for Tally<'_> {
    fn drop(&mut self) {
        for (rule, count) in self.counts.iter().filter(|(_, count)| *count > MOST) {
            let message = format!("and {} more of the same kind", count - MOST);
            self.report.find(Finding::new(
                rule,
                self.path.clone(),
                "more",
                message,
                "correct these first",
            ));
        }
    }
}
