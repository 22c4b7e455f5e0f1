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
        for reason in now.difference(&self.said) {
            match reason {
                Complaint::Foreign | Complaint::Immutable | Complaint::NoRoom { .. } => {
                    tracing::error!(namespace, %reason, "bundle not as it should be");
                }
                _ => tracing::warn!(namespace, %reason, "bundle not as it should be"),
            }
        }
        self.said = now;
    }
}
