//! What is wrong with a bundle, said once and not at every attempt.

use std::collections::BTreeSet;

use crate::ca::complaint::Complaint;

/// The complaints of one namespace.
#[derive(Debug)]
pub(super) struct Complaints {
    namespace: String,
    said: BTreeSet<Complaint>,
}

impl Complaints {
    pub(super) fn new(namespace: String) -> Self {
        let said = BTreeSet::new();
        Self { namespace, said }
    }

    /// Those of the last time.
    pub(super) const fn said(&self) -> &BTreeSet<Complaint> {
        &self.said
    }

    /// Logs those of `now` that were not there the last time.
    pub(super) fn say(&mut self, now: BTreeSet<Complaint>) {
        let namespace = &self.namespace;
        for reason in self.fresh(&now) {
            match reason {
                Complaint::Foreign
                | Complaint::Immutable
                | Complaint::NoRoom { .. }
                | Complaint::Forgotten { .. } => {
                    tracing::error!(namespace, %reason, "bundle not as it should be");
                }
                _ => tracing::warn!(namespace, %reason, "bundle not as it should be"),
            }
        }
        self.said = now;
    }

    /// What was forgotten was not forgotten before, be it as many.
    fn fresh<'c>(&self, now: &'c BTreeSet<Complaint>) -> impl Iterator<Item = &'c Complaint> {
        now.iter().filter(|complaint| {
            matches!(complaint, Complaint::Forgotten { .. }) || !self.said.contains(complaint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_lasts_once_and_what_is_forgotten_every_time() {
        let name = "velero-trust-memory.velero".to_owned();
        let forgotten = Complaint::Forgotten { name, count: 1 };
        let now = BTreeSet::from([Complaint::Foreign, forgotten.clone()]);
        let mut complaints = Complaints::new("velero".to_owned());
        assert_eq!(complaints.fresh(&now).count(), 2);
        complaints.say(now.clone());
        assert_eq!(complaints.fresh(&now).collect::<Vec<_>>(), [&forgotten]);
    }
}
