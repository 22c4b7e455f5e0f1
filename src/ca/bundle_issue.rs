//! What keeps a merged bundle from being complete or up to date.

use serde::{Deserialize, Serialize};

use super::merged_bundle::Origin;
use crate::names::BUNDLE;

/// What to do about somebody else's ConfigMap of the bundle's name; Kubernetes renames nothing.
pub const NOT_OWNED_FIX: &str = "delete it, if need be after copying it under another name; \
                            velero-trust writes its CA bundle there at once";

/// What becomes of the certificates of a source that is no longer good.
pub const PREVIOUS_CAS_STAY: &str = "if it was good before, its CAs stay in the bundle";

/// Something that keeps a bundle from being complete or up to date. Its JSON, tagged with `type`, is
/// part of the report; the text is for people, and nothing depends on it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize, Deserialize,
)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum BundleIssue {
    /// Its ConfigMap cannot be read.
    #[error("cannot read ConfigMap {BUNDLE}: {reason}")]
    ReadFailed {
        /// Why it cannot.
        reason: String,
    },
    /// Its ConfigMap cannot be written.
    #[error("cannot write ConfigMap {BUNDLE}: {reason}")]
    WriteFailed {
        /// Why it cannot.
        reason: String,
    },
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// The ConfigMap of its name is somebody else's.
    #[error("ConfigMap {BUNDLE} is not velero-trust's; it is left alone; {NOT_OWNED_FIX}")]
    NotOwned,
    /// Somebody made its ConfigMap immutable.
    #[error(
        "ConfigMap {BUNDLE} is immutable: no CA gets into it or out of it; delete it, it is made \
         anew at once, and restart Velero's Pods, which do not see that"
    )]
    Immutable,
    /// The CA that a location names could not be looked up.
    #[error(
        "the CA of BackupStorageLocation {location} is not known: {reason}; {PREVIOUS_CAS_STAY}"
    )]
    LocationUnknown {
        /// The location.
        location: String,
        /// Why it is not known.
        reason: String,
    },
    /// The CA that a location names is missing, or is not whole.
    #[error(
        "BackupStorageLocation {location}: the CA in {path} is broken or not there; {PREVIOUS_CAS_STAY}"
    )]
    LeftOut {
        /// The location.
        location: String,
        /// The field that names it.
        path: String,
    },
    /// A CA that was given at installation is not whole.
    #[error("the extra CA of {name} is broken or holds none; {PREVIOUS_CAS_STAY}")]
    ExtraInvalid {
        /// The file or the object that holds it.
        name: String,
    },
    /// A ConfigMap cannot hold all certificates.
    #[error("no room in ConfigMap {BUNDLE}: {count} certificates are left out, {}", origin_phrase(*.origin))]
    Truncated {
        /// Where they come from.
        origin: Origin,
        /// How many they are.
        count: usize,
    },
    /// The memory cannot hold all certificates that are retained. It is reported once.
    #[error(
        "no room in ConfigMap {config_map}, which remembers CAs: {count} certificates that nobody \
         names any more are forgotten before their retention is over"
    )]
    Forgotten {
        /// The ConfigMap of the memory.
        config_map: String,
        /// How many they are.
        count: usize,
    },
    /// The memory cannot be read or written.
    #[error("cannot remember CAs in ConfigMap {config_map}: {reason}")]
    MemoryFailed {
        /// The ConfigMap of the memory.
        config_map: String,
        /// Why it cannot.
        reason: String,
    },
    /// There is no certificate for it.
    #[error(
        "there is no root for ConfigMap {BUNDLE}, and Velero cannot start with an empty one; name a \
         CA, or set --public-roots"
    )]
    Empty,
    /// Too little is known to replace the bundle of an earlier installation.
    #[error("the bundle is left as it is until the CA of every location was read once")]
    Deferred,
}

const fn origin_phrase(origin: Origin) -> &'static str {
    match origin {
        Origin::Location => "of BackupStorageLocations",
        Origin::Extra => "given at installation",
        Origin::Retained => "that nobody names any more",
        Origin::Public => "of the public roots",
    }
}

impl BundleIssue {
    /// Whether it can end without any event.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::ReadFailed { .. }
            | Self::WriteFailed { .. }
            | Self::Timeout
            | Self::LocationUnknown { .. }
            | Self::MemoryFailed { .. }
            | Self::Deferred => true,
            Self::NotOwned
            | Self::Immutable
            | Self::Empty
            | Self::LeftOut { .. }
            | Self::ExtraInvalid { .. }
            | Self::Truncated { .. }
            | Self::Forgotten { .. } => false,
        }
    }

    /// Whether it says why a ConfigMap of the bundle may be missing, or what is wrong with it.
    pub const fn concerns_config_map(&self) -> bool {
        match self {
            Self::ReadFailed { .. }
            | Self::WriteFailed { .. }
            | Self::NotOwned
            | Self::Immutable
            | Self::Truncated { .. }
            | Self::Empty => true,
            Self::Timeout
            | Self::LocationUnknown { .. }
            | Self::LeftOut { .. }
            | Self::ExtraInvalid { .. }
            | Self::Forgotten { .. }
            | Self::MemoryFailed { .. }
            | Self::Deferred => false,
        }
    }
}
