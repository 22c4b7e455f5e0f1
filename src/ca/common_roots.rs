//! The certificates in every bundle, independent of the BSLs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bundle::mozilla;
use super::certificate::Certificate;
use super::merged_bundle::{Contributions, Memory, MergedBundle, merge_contributions};

/// The certificates in every bundle: the public roots, and the CAs that were given at installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonRoots {
    /// The public roots.
    pub public: Arc<[Certificate]>,
    /// The CAs that were given at installation.
    pub extra: ExtraCas,
}

/// The CAs that were given at installation: by files, and by labelled objects in velero-trust's own
/// namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraCas {
    /// What each [`Owner::Extra`](super::merged_bundle::Owner) adds.
    pub contributions: Contributions,
    /// The labelled objects that are not taken. Their contributions are empty and incomplete, so
    /// that a CA that was good before Velero overwrote the object stays.
    pub restored: BTreeSet<RestoredExtra>,
    /// Whether some labelled objects could not be listed, so that `contributions` may lack some.
    pub has_unknown: bool,
}

/// A labelled object that Velero restored. Whoever can forge a backup decides what is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestoredExtra {
    /// The kind, such as `ConfigMap`.
    pub kind: String,
    /// The namespace, which is velero-trust's own.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The name of the Restore.
    pub restore: String,
}

impl ExtraCas {
    /// Adds all of `more`.
    pub fn extend(&mut self, more: Self) {
        self.contributions.extend(more.contributions);
        self.restored.extend(more.restored);
        self.has_unknown |= more.has_unknown;
    }
}

impl RestoredExtra {
    /// Returns the owner of what `key` of a labelled object contributes, as text.
    pub fn owner(kind: &str, name: &str, key: &str) -> String {
        format!("{kind} {name} key {key}")
    }

    /// Returns whether `owner` is a key of this object.
    pub fn owns(&self, owner: &str) -> bool {
        owner.starts_with(&Self::owner(&self.kind, &self.name, ""))
    }
}

impl CommonRoots {
    /// Returns the bundle of a namespace about which nothing is known.
    pub fn bundle(&self) -> MergedBundle {
        merge_contributions(&self.extra.contributions, &Memory::default(), &self.public)
    }
}

/// Mozilla's roots, without extra CAs.
impl Default for CommonRoots {
    fn default() -> Self {
        Self {
            public: mozilla().into(),
            extra: ExtraCas::default(),
        }
    }
}
