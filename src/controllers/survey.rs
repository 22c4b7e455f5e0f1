//! What the locations of a namespace name now, and what the rules of admission say of them now:
//! Secrets change and disappear after a location was admitted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::locations::Locations;
use crate::ca::bundle::{Contribution, contribution};
use crate::ca::rules::{self, Location};
use crate::ca::sources::{self, Origin};
use crate::decision::{Context, Facts, Judged, Lookup, Report};
use crate::sources::{Limits, Source};
use crate::velero::bsl::Bsl;

/// Longest wait for the Secrets of a namespace.
const LOOKUP: Duration = Duration::from_secs(10);

/// Most passes over the locations: what a look-up brought may lead to another.
const PASSES: usize = 3;

/// What was found of one location.
pub(super) struct Surveyed {
    /// What it adds to the bundle.
    pub(super) contribution: Contribution,
    /// What the rules say of it; what could not be looked up is in its verdict.
    pub(super) judged: Judged,
    /// Where its CA comes from, for a person.
    pub(super) sources: Vec<String>,
    /// What `kubectl describe` knows it by.
    pub(super) uid: String,
    /// Velero says that it works.
    pub(super) is_available: bool,
}

/// Surveys `locations` of `namespace`, with all their Secrets read live.
pub(super) async fn survey(
    namespace: &str,
    locations: &Locations,
    source: &dyn Source,
    context: Context<'_>,
) -> BTreeMap<String, Surveyed> {
    let bsls: Vec<_> = locations
        .iter()
        .map(|(name, text)| {
            let bsl: Bsl<'_> = serde_json::from_str(text).unwrap_or_default();
            (name, text, bsl)
        })
        .collect();
    let mut facts = Facts::default();
    let mut found = Vec::new();
    for _ in 0..PASSES {
        found = bsls
            .iter()
            .map(|(_, _, bsl)| pass(namespace, bsl, &facts, context.now))
            .collect();
        let needs: BTreeSet<Lookup> = found
            .iter()
            .flat_map(|(contribution, report)| {
                contribution.report.needs.iter().chain(&report.needs)
            })
            .cloned()
            .collect();
        if needs.is_empty() {
            break;
        }
        let limits = Limits {
            deadline: Instant::now() + LOOKUP,
            dry_run: false,
        };
        let needs: Vec<_> = needs.into_iter().collect();
        facts.extend(source.resolve(&needs, limits).await);
    }
    let of = found.into_iter().zip(&bsls);
    of.map(|((contribution, report), (name, text, bsl))| {
        let whole: Value = serde_json::from_str(text).unwrap_or_default();
        let said = |pointer| whole.pointer(pointer).and_then(Value::as_str);
        let surveyed = Surveyed {
            contribution,
            judged: Judged::weigh(&report, context.policy),
            sources: describe(namespace, bsl),
            uid: said("/metadata/uid").unwrap_or_default().to_owned(),
            is_available: said("/status/phase") == Some("Available"),
        };
        ((*name).clone(), surveyed)
    })
    .collect()
}

fn pass(namespace: &str, bsl: &Bsl<'_>, facts: &Facts, now: i64) -> (Contribution, Report) {
    let location = Location {
        namespace,
        dry_run: false,
        bsl,
        old: None,
        now,
    };
    (
        contribution(namespace, bsl, facts),
        rules::judge(&location, facts),
    )
}

/// Where the CA of a location comes from, for a person.
fn describe(namespace: &str, bsl: &Bsl<'_>) -> Vec<String> {
    let sources = sources::of(namespace, bsl);
    let described = sources.iter().map(|source| match &source.origin {
        Origin::Secret(to) => format!("Secret {} key {}", to.secret.name, to.key),
        Origin::Base64(_) | Origin::Pem(_) => source.path.to_string(),
        Origin::Unusable(why) => format!("{} {why}", source.path),
    });
    described.collect()
}
