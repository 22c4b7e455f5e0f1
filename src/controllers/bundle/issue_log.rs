//! Logs each issue of a bundle when it first appears, not at every reconciliation.

use std::collections::BTreeSet;

use crate::ca::bundle_issue::BundleIssue;

/// The issues of one namespace; the span of its task names it.
#[derive(Debug, Default)]
pub(super) struct IssueLog {
    logged: BTreeSet<BundleIssue>,
}

impl IssueLog {
    /// Returns the issues of the last reconciliation.
    pub(super) const fn current(&self) -> &BTreeSet<BundleIssue> {
        &self.logged
    }

    /// Logs the issues in `now` that were not present before.
    pub(super) fn log_changes(&mut self, now: BTreeSet<BundleIssue>) {
        for issue in self.new_issues(&now) {
            match issue {
                BundleIssue::NotOwned
                | BundleIssue::Immutable
                | BundleIssue::Truncated { .. }
                | BundleIssue::Forgotten { .. } => {
                    tracing::error!(reason = %issue, "bundle not as it should be");
                }
                _ => tracing::warn!(reason = %issue, "bundle not as it should be"),
            }
        }
        self.logged = now;
    }

    /// Returns the issues that are to be logged. `Forgotten` always is: it counts the certificates
    /// that this reconciliation dropped.
    fn new_issues<'c>(
        &self,
        now: &'c BTreeSet<BundleIssue>,
    ) -> impl Iterator<Item = &'c BundleIssue> {
        now.iter().filter(|issue| {
            matches!(issue, BundleIssue::Forgotten { .. }) || !self.logged.contains(issue)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_what_lasts_once_and_what_is_forgotten_every_time() {
        let forgotten = BundleIssue::Forgotten {
            config_map: "velero-trust-memory.velero".to_owned(),
            count: 1,
        };
        let now = BTreeSet::from([BundleIssue::NotOwned, forgotten.clone()]);
        let mut issues = IssueLog::default();
        assert_eq!(issues.new_issues(&now).count(), 2);
        issues.log_changes(now.clone());
        assert_eq!(issues.new_issues(&now).collect::<Vec<_>>(), [&forgotten]);
    }
}
