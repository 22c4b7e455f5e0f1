//! The survey of the locations of a namespace, with their Secrets read live.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::locations::Locations;
use crate::ca::evaluation::{EvaluatedLocation, Evaluation, PASSES};
use crate::decision::{Context, Facts};
use crate::sources::{Limits, Source};

/// Longest wait for the Secrets of a namespace.
const LOOKUP: Duration = Duration::from_secs(10);

/// Surveys `locations` of `namespace`, with all their Secrets read live.
pub(super) async fn survey(
    namespace: &str,
    locations: &Locations,
    source: &dyn Source,
    context: Context<'_>,
) -> BTreeMap<String, EvaluatedLocation> {
    let mut survey = Evaluation::new(namespace, locations, context.now);
    let mut facts = Facts::default();
    for _ in 0..PASSES {
        let needs: Vec<_> = survey.pass(&facts).into_iter().collect();
        if needs.is_empty() {
            break;
        }
        let limits = Limits {
            deadline: Instant::now() + LOOKUP,
            dry_run: false,
        };
        facts.extend(source.resolve(&needs, limits).await);
    }
    survey.apply_policy(context.policy)
}
