//! What is wrong with a bundle, said once and not at every attempt.

use std::collections::BTreeSet;

use crate::ca::keeping::Owner;
use crate::names::BUNDLE;

/// Something that keeps a bundle from being as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Complaint {
    #[error("cannot read ConfigMap {BUNDLE}: {0}")]
    Unreadable(String),
    #[error("cannot write ConfigMap {BUNDLE}: {0}")]
    Unwritable(String),
    #[error("the API server did not answer in time")]
    Late,
    #[error("ConfigMap {BUNDLE} is there and is not velero-trust's; it is left alone, rename it")]
    Foreign,
    #[error("the CA of BackupStorageLocation {location} is not known: {why}")]
    Unknown { location: String, why: String },
    #[error("BackupStorageLocation {location}: the CA in {path} is broken or not there")]
    LeftOut { location: String, path: String },
    #[error("no room in ConfigMap {BUNDLE}: {count} certificates of {} are left out", of(.owner))]
    NoRoom { owner: Owner, count: usize },
}

fn of(owner: &Owner) -> String {
    match owner {
        Owner::Location(name) => format!("BackupStorageLocation {name}"),
        Owner::Before => "the bundle before".to_owned(),
        Owner::Public => "the public roots".to_owned(),
    }
}

impl Complaint {
    /// Whether it may be over without any news of it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Unwritable(_) | Self::Late | Self::Unknown { .. } => true,
            Self::Foreign | Self::LeftOut { .. } | Self::NoRoom { .. } => false,
        }
    }
}

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

    /// Logs those of `now` that were not there the last time.
    pub(super) fn say(&mut self, now: BTreeSet<Complaint>) {
        let namespace = &self.namespace;
        for reason in now.difference(&self.said) {
            match reason {
                Complaint::Foreign | Complaint::NoRoom { .. } => {
                    tracing::error!(namespace, %reason, "bundle not as it should be");
                }
                _ => tracing::warn!(namespace, %reason, "bundle not as it should be"),
            }
        }
        self.said = now;
    }
}
