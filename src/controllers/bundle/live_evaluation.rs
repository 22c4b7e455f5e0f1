//! Evaluates the locations of a namespace, with their Secrets read live.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::ca::evaluation::{EvaluatedLocation, Evaluation, MAX_PASSES};
use crate::controllers::locations::Locations;
use crate::decision::Context;
use crate::sources::{LookupOptions, Passes, Source};

/// Longest wait for the Secrets of a namespace.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Evaluates the `locations` of `namespace`.
pub(super) async fn evaluate_locations(
    namespace: &str,
    locations: &Locations,
    source: &dyn Source,
    context: Context<'_>,
) -> BTreeMap<String, EvaluatedLocation> {
    let all = locations.iter().map(|(name, bsl)| (name, &**bsl));
    let mut evaluation = Evaluation::new(namespace, all, context.now);
    let mut passes = Passes::new(MAX_PASSES);
    while let Some(needs) = passes.next(|facts| evaluation.pass(facts)) {
        let options = LookupOptions {
            deadline: Instant::now() + LOOKUP_TIMEOUT,
            dry_run: false,
        };
        passes.add(source.resolve(&needs, options).await);
    }
    evaluation.apply_policy(context.policy)
}
