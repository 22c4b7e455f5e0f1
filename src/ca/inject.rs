//! The injection of the merged CA bundle into a Pod.

use crate::decision::{Facts, Report};
use crate::velero::pod::Pod;

/// What is added to `pod` in `namespace`: an add-only patch, and warnings where something that
/// the user set is kept.
pub fn decide(_namespace: &str, _pod: &Pod<'_>, _facts: &Facts) -> Report {
    Report::default()
}
