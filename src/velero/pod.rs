//! A view of a Pod.

use serde::Deserialize;

use super::metadata::Metadata;

/// The part of a Pod that we read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod<'a> {
    /// `metadata`.
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
}
