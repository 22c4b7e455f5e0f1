//! The certificates in every bundle, independent of the BSLs.

use std::sync::Arc;

use super::bundle::mozilla;
use super::certificate::Certificate;
use super::merged_bundle::{Contributions, Memory, MergedBundle, merge_contributions};

/// The certificates in every bundle: the public roots, and the CAs that were given at installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonRoots {
    /// The public roots.
    pub public: Arc<[Certificate]>,
    /// The CAs that were given at installation, each [`Owner::Extra`](super::merged_bundle::Owner).
    pub extra: Contributions,
}

impl CommonRoots {
    /// Returns the bundle of a namespace about which nothing is known.
    pub fn bundle(&self) -> MergedBundle {
        merge_contributions(&self.extra, &Memory::default(), &self.public)
    }
}

/// Mozilla's roots, without extra CAs.
impl Default for CommonRoots {
    fn default() -> Self {
        Self {
            public: mozilla().into(),
            extra: Contributions::new(),
        }
    }
}
