//! What is wrong with a bundle, said once and not at every attempt.

use std::collections::BTreeSet;

use crate::ca::keeping::Origin;
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
    #[error("the extra CA of {0} is broken or holds none")]
    Extra(String),
    #[error("no room in ConfigMap {BUNDLE}: {count} certificates are left out, {}", of(*.origin))]
    NoRoom { origin: Origin, count: usize },
    #[error("cannot remember CAs in ConfigMap {name}: {why}")]
    Memory { name: String, why: String },
    #[error(
        "there is no root for ConfigMap {BUNDLE}, and Velero cannot start with an empty one; name a \
         CA, or set --public-roots"
    )]
    NoRoots,
    #[error("the bundle is left as it is until the CA of every location was read once")]
    LeftAlone,
}

const fn of(origin: Origin) -> &'static str {
    match origin {
        Origin::Location => "of BackupStorageLocations",
        Origin::Extra => "given at installation",
        Origin::Retained => "that nobody names any more",
        Origin::Public => "of the public roots",
    }
}

impl Complaint {
    /// Whether it may be over without any news of it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable(_)
            | Self::Unwritable(_)
            | Self::Late
            | Self::Unknown { .. }
            | Self::Memory { .. }
            | Self::LeftAlone => true,
            Self::Foreign
            | Self::NoRoots
            | Self::LeftOut { .. }
            | Self::Extra(_)
            | Self::NoRoom { .. } => false,
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

    /// Those of the last time.
    pub(super) const fn said(&self) -> &BTreeSet<Complaint> {
        &self.said
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
