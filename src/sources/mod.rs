//! Sources of facts: a cluster, or a folder of files.

mod backup_objects;
mod bucket_error;
mod bucket_folders;
pub mod cluster;
pub mod files;
mod helm_values;
pub mod input;
pub mod inventory;
pub mod limited;
pub mod manifests;
mod oadp;
mod object;
pub mod objects;
mod passes;
mod placeholder;
mod roles;
pub mod roots;
mod sealed;
pub mod yaml;

use std::net::IpAddr;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::admission::ReviewedObject;
use crate::decision::{Context, Facts, Lookup, Report};

pub use passes::Passes;

/// Maximum number of passes over one object. The first has no facts; no decision chains more than four
/// look-ups: the Backup, its records, the keys that signed them, and its files.
const MAX_PASSES: usize = 6;

/// Answers look-ups.
pub trait Source: Send + Sync {
    /// Looks up all `wants` together. Each is answered by the deadline, if need be with
    /// [`Outcome::Unavailable`](crate::decision::Outcome::Unavailable).
    fn resolve<'a>(&'a self, wants: &'a [Lookup], options: LookupOptions) -> BoxFuture<'a, Facts>;
}

/// The limits of a look-up.
#[derive(Clone, Copy, Debug)]
pub struct LookupOptions {
    /// When the look-up must be answered.
    pub deadline: Instant,
    /// Whether nothing may be stored.
    pub dry_run: bool,
    /// The address that the review came from, if it is known. Addresses that somebody can have many
    /// of, such as an IPv6 /64, are one.
    pub caller: Option<IpAddr>,
}

/// A decision that still needs facts after the last pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decision still needs {0} after {MAX_PASSES} passes")]
pub struct NeedsUnmet(Lookup);

/// Decides about `subject` in passes, and looks up what it needs in between, until it needs nothing
/// more.
pub async fn evaluate(
    subject: &dyn ReviewedObject,
    source: &dyn Source,
    options: LookupOptions,
    context: Context<'_>,
) -> Result<Report, NeedsUnmet> {
    let mut report = Report::default();
    let mut passes = Passes::new(MAX_PASSES);
    while let Some(needs) = passes.next(|facts| {
        report = subject.decide(facts, context);
        report.needs.clone()
    }) {
        passes.add(source.resolve(&needs, options).await);
    }
    match report.needs.first() {
        None => Ok(report),
        Some(need) => Err(NeedsUnmet(need.clone())),
    }
}
