//! What the locations of a namespace name now, and what the rules of admission say of them now:
//! Secrets change and disappear after a location was admitted.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{ResolvedCa, resolve_ca};
use super::bundle_issue::BundleIssue;
use super::common_roots::CommonRoots;
use super::merged_bundle::{Contribution, Contributions, Memory, MergedBundle, Owner};
use super::references::{self, CaTarget};
use super::rules::{self, Location};
use crate::decision::{Facts, Judged, Lookup, Note, Policy, Report};
use crate::names::MEMORY_PREFIX;
use crate::velero::bsl::Bsl;

/// Most passes over the locations: what a look-up brought may lead to another.
pub const MAX_PASSES: usize = 3;

/// What was found of one location.
#[derive(Clone, Debug)]
pub struct EvaluatedLocation {
    /// What it adds to the bundle.
    pub ca: ResolvedCa,
    /// What the rules say of it; what could not be looked up is in its verdict.
    pub judged: Judged,
    /// What is said of it although no rule was broken.
    pub notes: Vec<Note>,
    /// Where its CA comes from, for a person.
    pub sources: Vec<String>,
    /// What `kubectl describe` knows it by.
    pub uid: String,
    /// Velero says that it works.
    pub is_available: bool,
}

/// The evaluation of the locations of one namespace.
#[derive(Debug)]
pub struct Evaluation<'l> {
    namespace: &'l str,
    now: i64,
    locations: &'l BTreeMap<String, Bsl<'l>>,
    found: Vec<(ResolvedCa, Report)>,
}

impl<'l> Evaluation<'l> {
    /// Returns the evaluation of the `locations` of `namespace`, by name, at `now`, in seconds since
    /// 1970.
    pub fn new(namespace: &'l str, locations: &'l BTreeMap<String, Bsl<'l>>, now: i64) -> Self {
        Self {
            namespace,
            now,
            locations,
            found: Vec::new(),
        }
    }

    /// Evaluates every location with these `facts`. Returns the facts that it still needs.
    pub fn pass(&mut self, facts: &Facts) -> BTreeSet<Lookup> {
        let (namespace, now) = (self.namespace, self.now);
        let found = self.locations.values().map(|bsl| {
            let location = Location {
                namespace,
                dry_run: false,
                bsl,
                old: None,
                now,
            };
            (
                resolve_ca(namespace, bsl, facts),
                rules::judge(&location, facts),
            )
        });
        self.found = found.collect();
        let needs = self
            .found
            .iter()
            .flat_map(|(resolved, report)| resolved.report.needs.iter().chain(&report.needs));
        needs.cloned().collect()
    }

    /// Returns what the last pass found, by the name of the location.
    pub fn apply_policy(self, policy: &Policy) -> BTreeMap<String, EvaluatedLocation> {
        let namespace = self.namespace;
        let evaluated = self.found.into_iter().zip(self.locations);
        evaluated
            .map(|((resolved, report), (name, bsl))| {
                let evaluated = EvaluatedLocation {
                    ca: resolved,
                    judged: Judged::apply_policy(&report, policy),
                    notes: report.notes,
                    sources: describe_sources(namespace, bsl),
                    uid: bsl.uid().to_owned(),
                    is_available: bsl.is_available(),
                };
                (name.clone(), evaluated)
            })
            .collect()
    }
}

/// Where the CA of a location comes from, for a person.
fn describe_sources(namespace: &str, bsl: &Bsl<'_>) -> Vec<String> {
    let references = references::ca_references(namespace, bsl);
    let described = references.iter().map(|reference| match &reference.target {
        CaTarget::Secret(to) => format!("Secret {} key {}", to.secret.name, to.key),
        CaTarget::Base64(_) | CaTarget::Pem(_) => reference.path.to_string(),
        CaTarget::Invalid(why) => format!("{} {why}", reference.path),
    });
    described.collect()
}

/// What each owner adds to the bundle. What is not as it should be goes into `issues`.
pub fn contributions(
    evaluated: &BTreeMap<String, EvaluatedLocation>,
    common_roots: &CommonRoots,
    issues: &mut BTreeSet<BundleIssue>,
) -> Contributions {
    let mut contributions = common_roots.extra.clone();
    for (owner, contribution) in &contributions {
        if let (Owner::Extra(name), false) = (owner, contribution.whole) {
            issues.insert(BundleIssue::ExtraInvalid { name: name.clone() });
        }
    }
    for (location, evaluated) in evaluated {
        let resolved = &evaluated.ca;
        let left_out = resolved.left_out.iter();
        issues.extend(left_out.map(|path| BundleIssue::LeftOut {
            location: location.clone(),
            path: path.to_string(),
        }));
        let unknowns = resolved.report.unknowns.iter();
        issues.extend(unknowns.map(|(_, error)| BundleIssue::LocationUnknown {
            location: location.clone(),
            reason: error.message.clone(),
        }));
        let contribution = Contribution {
            whole: resolved.left_out.is_empty() && resolved.report.unknowns.is_empty(),
            certificates: resolved.certificates.clone(),
        };
        contributions.insert(Owner::Location(location.clone()), contribution);
    }
    contributions
}

/// Returns the certificates that had no room in a bundle, as issues.
pub fn truncation_issues(merged: &MergedBundle) -> impl Iterator<Item = BundleIssue> {
    let left_out = merged.left_out.iter();
    left_out.map(|(&origin, &count)| BundleIssue::Truncated { origin, count })
}

/// Returns what had no room in the `memory` of `namespace`, as an issue; each only once.
pub fn dropped_certificates(memory: &mut Memory, namespace: &str) -> Option<BundleIssue> {
    let count = memory.take_forgotten();
    let config_map = format!("{MEMORY_PREFIX}{namespace}");
    (count > 0).then_some(BundleIssue::Forgotten { config_map, count })
}
