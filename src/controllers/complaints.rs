//! What is wrong with a bundle, said once and not at every attempt.

use std::collections::BTreeSet;

use crate::ca::issue::BundleIssue;

/// The complaints of one namespace.
#[derive(Debug)]
pub(super) struct Complaints {
    namespace: String,
    said: BTreeSet<BundleIssue>,
}

impl Complaints {
    pub(super) fn new(namespace: String) -> Self {
        let said = BTreeSet::new();
        Self { namespace, said }
    }

    /// Those of the last time.
    pub(super) const fn said(&self) -> &BTreeSet<BundleIssue> {
        &self.said
    }

    /// Logs those of `now` that were not there the last time.
    pub(super) fn say(&mut self, now: BTreeSet<BundleIssue>) {
        let namespace = &self.namespace;
        for reason in self.fresh(&now) {
            match reason {
                BundleIssue::Foreign
                | BundleIssue::Immutable
                | BundleIssue::NoRoom { .. }
                | BundleIssue::Forgotten { .. } => {
                    tracing::error!(namespace, %reason, "bundle not as it should be");
                }
                _ => tracing::warn!(namespace, %reason, "bundle not as it should be"),
            }
        }
        self.said = now;
    }

    /// What was forgotten was not forgotten before, be it as many.
    fn fresh<'c>(&self, now: &'c BTreeSet<BundleIssue>) -> impl Iterator<Item = &'c BundleIssue> {
        now.iter().filter(|complaint| {
            matches!(complaint, BundleIssue::Forgotten { .. }) || !self.said.contains(complaint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_lasts_once_and_what_is_forgotten_every_time() {
        let name = "velero-trust-memory.velero".to_owned();
        let forgotten = BundleIssue::Forgotten { name, count: 1 };
        let now = BTreeSet::from([BundleIssue::Foreign, forgotten.clone()]);
        let mut complaints = Complaints::new("velero".to_owned());
        assert_eq!(complaints.fresh(&now).count(), 2);
        complaints.say(now.clone());
        assert_eq!(complaints.fresh(&now).collect::<Vec<_>>(), [&forgotten]);
    }
}
