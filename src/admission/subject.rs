//! What a review is about, read and ready to be decided.

use crate::decision::{Context, Facts, Report};

/// An object under review. `decide` is called again whenever facts that it needed were looked up;
/// the first pass has no facts and so is the plan.
pub trait Subject: Send + Sync {
    /// One pass over the object with the facts known so far.
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report;
}

/// Why an object could not be read as what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
