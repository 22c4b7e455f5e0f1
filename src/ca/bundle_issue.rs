//! Issues that keep a merged bundle from being complete or up to date.

use serde::{Deserialize, Serialize};

use super::common_roots::RestoredExtra;
use super::evaluation_budget::MAX_CERTIFICATE_BYTES;
use super::merged_bundle::Origin;
use crate::names::BUNDLE;
use crate::velero::restore::RESTORE_LABEL;

/// The fix for a ConfigMap with the bundle's name that velero-trust does not own. It says to copy
/// and delete the ConfigMap, because Kubernetes cannot rename one.
pub const NOT_OWNED_FIX: &str = "delete it, if need be after copying it under another name; \
                            velero-trust writes its CA bundle there at once";

/// What happens to the certificates of a source that has become invalid.
pub const PREVIOUS_CAS_STAY: &str = "if it was good before, its CAs stay in the bundle";

/// An issue that keeps a bundle from being complete or up to date. Its JSON, tagged with `type`, is
/// part of the report. The text is for people only; nothing depends on its wording.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize, Deserialize,
)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum BundleIssue {
    /// The bundle's ConfigMap cannot be read.
    #[error("cannot read ConfigMap {BUNDLE}: {reason}")]
    ReadFailed {
        /// The error.
        reason: String,
    },
    /// The bundle's ConfigMap cannot be written.
    #[error("cannot write ConfigMap {BUNDLE}: {reason}")]
    WriteFailed {
        /// The error.
        reason: String,
    },
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// velero-trust does not own the ConfigMap with the bundle's name.
    #[error("ConfigMap {BUNDLE} is not velero-trust's; it is left alone; {NOT_OWNED_FIX}")]
    NotOwned,
    /// The bundle's ConfigMap is immutable.
    #[error(
        "ConfigMap {BUNDLE} is immutable: no CA gets into it or out of it; delete it, it is made \
         anew at once, and restart Velero's Pods, which do not see that"
    )]
    Immutable,
    /// The CA that a location references could not be looked up.
    #[error(
        "the CA of BackupStorageLocation {location} is not known: {reason}; {PREVIOUS_CAS_STAY}"
    )]
    LocationUnknown {
        /// The location.
        location: String,
        /// Why the look-up failed.
        reason: String,
    },
    /// The CA that a location references is missing or incomplete, or a rule denies it.
    #[error(
        "BackupStorageLocation {location}: the CA in {path} is broken, denied or not there; {PREVIOUS_CAS_STAY}"
    )]
    LeftOut {
        /// The location.
        location: String,
        /// The field that references the CA.
        path: String,
    },
    /// The locations of the namespace name more CAs than are kept for one.
    #[error(
        "the CAs of {count} BackupStorageLocations, such as {first}, are left out: those of a \
         namespace may name {} KiB of different certificates, less while other namespaces name very \
         many, and the oldest locations come first; \
         name only the CAs that the stores need; {PREVIOUS_CAS_STAY}",
        MAX_CERTIFICATE_BYTES >> 10
    )]
    OverBudget {
        /// A location whose CAs are left out.
        first: String,
        /// Number of locations whose CAs are left out.
        count: usize,
    },
    /// An extra CA, configured at installation, is incomplete.
    #[error("the extra CA of {name} is broken or holds none; {PREVIOUS_CAS_STAY}")]
    ExtraInvalid {
        /// The file or the object that contains the CA.
        name: String,
    },
    /// An object that is labelled as extra CA is not taken, because Velero restored it.
    #[error(
        "the CAs of {object} are not taken: Velero's Restore {restore} wrote it; if you know that it is \
         good, run `{command}`; if not, delete it"
    )]
    ExtraRestored {
        /// The kind and the name of the object.
        object: String,
        /// The name of the Restore.
        restore: String,
        /// The command that makes velero-trust take it.
        command: String,
    },
    /// The objects that are labelled as extra CAs cannot be listed.
    #[error(
        "the labelled CAs in velero-trust's own namespace cannot be listed; those that were known \
         before stay in the bundle"
    )]
    ExtraUnknown,
    /// The certificates do not all fit into one ConfigMap.
    #[error("no room in ConfigMap {BUNDLE}: {count} certificates are left out, {}", origin_phrase(*.origin))]
    Truncated {
        /// The origin of the certificates that are left out.
        origin: Origin,
        /// Number of certificates that are left out.
        count: usize,
    },
    /// The retained certificates do not all fit into the memory. Reported once.
    #[error(
        "no room in ConfigMap {config_map}, which remembers CAs: {count} certificates that nobody \
         names any more are forgotten before their retention is over"
    )]
    Forgotten {
        /// The ConfigMap of the memory.
        config_map: String,
        /// Number of certificates that are forgotten.
        count: usize,
    },
    /// The memory cannot be read or written.
    #[error("cannot remember CAs in ConfigMap {config_map}: {reason}")]
    MemoryFailed {
        /// The ConfigMap of the memory.
        config_map: String,
        /// The error.
        reason: String,
    },
    /// There is no certificate for the bundle.
    #[error(
        "there is no root for ConfigMap {BUNDLE}, and Velero cannot start with an empty one; name a \
         CA, or set --public-roots"
    )]
    Empty,
    /// Not enough is known yet to replace the bundle of an earlier installation.
    #[error("the bundle is left as it is until the CA of every location was read once")]
    Deferred,
}

/// Returns the origin as a phrase for the end of a message.
const fn origin_phrase(origin: Origin) -> &'static str {
    match origin {
        Origin::Location => "of BackupStorageLocations",
        Origin::Extra => "given at installation",
        Origin::Public => "of the public roots",
        Origin::Retained => "that nobody names any more",
    }
}

impl BundleIssue {
    /// Returns the issue that `object` is not taken.
    pub fn extra_restored(object: &RestoredExtra) -> Self {
        let RestoredExtra {
            kind,
            namespace,
            name,
            restore,
            ..
        } = object;
        let resource = kind.to_lowercase();
        Self::ExtraRestored {
            object: format!("{kind} {name}"),
            restore: restore.clone(),
            command: format!("kubectl -n {namespace} label {resource} {name} {RESTORE_LABEL}-"),
        }
    }

    /// Whether the issue can end without any watch event.
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
            | Self::OverBudget { .. }
            | Self::ExtraInvalid { .. }
            | Self::ExtraRestored { .. }
            | Self::ExtraUnknown
            | Self::Truncated { .. }
            | Self::Forgotten { .. } => false,
        }
    }

    /// Whether the issue explains why the bundle's ConfigMap is missing, or what is wrong with it.
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
            | Self::OverBudget { .. }
            | Self::ExtraInvalid { .. }
            | Self::ExtraRestored { .. }
            | Self::ExtraUnknown
            | Self::Forgotten { .. }
            | Self::MemoryFailed { .. }
            | Self::Deferred => false,
        }
    }
}
