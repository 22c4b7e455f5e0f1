//! What keeps a bundle from being as it should be.

use super::merged_bundle::Origin;
use crate::names::BUNDLE;

/// What to do about somebody else's ConfigMap of the bundle's name; Kubernetes renames nothing.
pub const NOT_OURS: &str = "delete it, if need be after copying it under another name; \
                            velero-trust writes its CA bundle there at once";

/// What becomes of the certificates of a source that is not good any more.
pub const STAYS: &str = "if it was good before, its CAs stay in the bundle";

/// Something that keeps a bundle from being as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BundleIssue {
    /// Its ConfigMap cannot be read.
    #[error("cannot read ConfigMap {BUNDLE}: {0}")]
    Unreadable(String),
    /// Its ConfigMap cannot be written.
    #[error("cannot write ConfigMap {BUNDLE}: {0}")]
    Unwritable(String),
    /// It took too long.
    #[error("the API server did not answer in time")]
    Late,
    /// Somebody else's ConfigMap has its name.
    #[error("ConfigMap {BUNDLE} is not velero-trust's; it is left alone; {NOT_OURS}")]
    Foreign,
    /// Somebody made its ConfigMap immutable.
    #[error(
        "ConfigMap {BUNDLE} is immutable: no CA gets into it or out of it; delete it, it is made \
         anew at once, and restart Velero's Pods, which do not see that"
    )]
    Immutable,
    /// What a location names could not be looked up.
    #[error("the CA of BackupStorageLocation {location} is not known: {why}; {STAYS}")]
    Unknown {
        /// The location.
        location: String,
        /// Why it is not known.
        why: String,
    },
    /// What a location names is not whole.
    #[error("BackupStorageLocation {location}: the CA in {path} is broken or not there; {STAYS}")]
    LeftOut {
        /// The location.
        location: String,
        /// The field that names it.
        path: String,
    },
    /// What was given at installation is not whole.
    #[error("the extra CA of {0} is broken or holds none; {STAYS}")]
    Extra(String),
    /// A ConfigMap cannot hold all of it.
    #[error("no room in ConfigMap {BUNDLE}: {count} certificates are left out, {}", of(*.origin))]
    NoRoom {
        /// Where they come from.
        origin: Origin,
        /// How many they are.
        count: usize,
    },
    /// The memory cannot hold all that is retained. It is over as soon as it is said.
    #[error(
        "no room in ConfigMap {name}, which remembers CAs: {count} certificates that nobody names \
         any more are forgotten before their retention is over"
    )]
    Forgotten {
        /// The ConfigMap.
        name: String,
        /// How many they are.
        count: usize,
    },
    /// What is to be remembered cannot be.
    #[error("cannot remember CAs in ConfigMap {name}: {why}")]
    Memory {
        /// The ConfigMap.
        name: String,
        /// Why it cannot.
        why: String,
    },
    /// There is nothing to put into it.
    #[error(
        "there is no root for ConfigMap {BUNDLE}, and Velero cannot start with an empty one; name a \
         CA, or set --public-roots"
    )]
    NoRoots,
    /// It is not known well enough to be written over another.
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

impl BundleIssue {
    /// Whether it may be over without any news of it.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreadable(_)
            | Self::Unwritable(_)
            | Self::Late
            | Self::Unknown { .. }
            | Self::Memory { .. }
            | Self::LeftAlone => true,
            Self::Foreign
            | Self::Immutable
            | Self::NoRoots
            | Self::LeftOut { .. }
            | Self::Extra(_)
            | Self::NoRoom { .. }
            | Self::Forgotten { .. } => false,
        }
    }
}
