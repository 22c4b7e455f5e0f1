//! Where facts come from: a cluster, or a folder of files.

pub mod cluster;
pub mod files;
mod helm_values;
pub mod input;
pub mod inventory;
pub mod manifests;
mod object;
pub mod objects;
pub mod roots;
mod sealed;
pub mod yaml;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::admission::Subject;
use crate::decision::{Context, Facts, Lookup, Report};

/// Most passes over one object. The first has no facts; no decision chains more than two look-ups.
const ROUNDS: usize = 4;

/// Answers look-ups.
pub trait Source: Send + Sync {
    /// Looks up all `wants` together. Each is answered by `deadline`, if need be with
    /// [`Outcome::Unavailable`](crate::decision::Outcome::Unavailable).
    fn resolve<'a>(&'a self, wants: &'a [Lookup], limits: Limits) -> BoxFuture<'a, Facts>;
}

/// What a look-up has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The moment by which it is answered.
    pub deadline: Instant,
    /// Nothing may be stored.
    pub dry_run: bool,
}

/// A decision that went on asking for facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the decision still needs {0} after {ROUNDS} passes")]
pub struct NeedsUnmet(Lookup);

/// Passes over `subject`, looking up what it needs, until it needs nothing more.
pub async fn evaluate(
    subject: &dyn Subject,
    source: &dyn Source,
    limits: Limits,
    context: Context<'_>,
) -> Result<Report, NeedsUnmet> {
    let mut facts = Facts::default();
    let mut report = subject.decide(&facts, context);
    for _ in 1..ROUNDS {
        if report.needs.is_empty() {
            break;
        }
        facts.extend(source.resolve(&report.needs, limits).await);
        report = subject.decide(&facts, context);
    }
    match report.needs.first() {
        None => Ok(report),
        Some(need) => Err(NeedsUnmet(need.clone())),
    }
}
