//! The rules for BackupStorageLocations, one file a theme.

use crate::decision::{Facts, Report, Rule};
use crate::velero::bsl::Bsl;

/// A BackupStorageLocation and what the rules may know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a> {
    /// Its namespace; references never leave it.
    pub namespace: &'a str,
    /// Nothing will be stored: what is not there yet may come with the same GitOps batch.
    pub dry_run: bool,
    /// The location.
    pub bsl: &'a Bsl<'a>,
    /// The location as it is stored, when it is being changed.
    pub old: Option<&'a Bsl<'a>>,
    /// The moment of the decision, seconds since 1970.
    pub now: i64,
}

/// All rules of this folder.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [].into_iter()
}

/// Runs every check over a location.
pub fn judge(_location: &Location<'_>, _facts: &Facts) -> Report {
    Report::default()
}

/// Whether two locations are the same for every rule: provider, object storage, config,
/// credential and our annotations.
pub fn is_same_location(_new: &Bsl<'_>, _old: &Bsl<'_>) -> bool {
    false
}
