//! What every bundle holds, whatever the BSLs name.

use std::sync::Arc;

use super::bundle::mozilla;
use super::certificate::Certificate;
use super::keeping::{Kept, Memory, Shares, keep};

/// What every bundle holds: the public roots, and the CAs that were given at installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The public roots.
    pub public: Arc<[Certificate]>,
    /// The CAs that were given at installation, each [`Owner::Extra`](super::keeping::Owner).
    pub extra: Shares,
}

impl Base {
    /// The bundle of a namespace of which nothing is known.
    pub fn bundle(&self) -> Kept {
        keep(&self.extra, &Memory::default(), &self.public)
    }
}

/// Mozilla's roots and nothing else.
impl Default for Base {
    fn default() -> Self {
        Self {
            public: mozilla().into(),
            extra: Shares::new(),
        }
    }
}
