//! Evaluates the locations of a namespace against the current Secrets: their CAs, and the findings
//! of the admission rules. Secrets can change or disappear after a location was admitted.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{ResolvedCa, resolve_ca};
use super::bundle_issue::BundleIssue;
use super::common_roots::CommonRoots;
use super::merged_bundle::{Contribution, Contributions, Memory, MergedBundle, Owner};
use super::references::{self, CaTarget};
use super::rules::{self, Location};
use crate::decision::{Facts, Judged, Lookup, Note, Policy, Report, Verdict};
use crate::names::MEMORY_PREFIX;
use crate::velero::bsl::Bsl;

/// Maximum number of passes over the locations. The result of a look-up can require another one.
pub const MAX_PASSES: usize = 3;

/// The result of evaluating one location.
#[derive(Clone, Debug)]
pub struct EvaluatedLocation {
    /// The certificates that the location adds to the bundle.
    pub ca: ResolvedCa,
    /// The findings of the rules. Failed look-ups are reflected in the verdict.
    pub judged: Judged,
    /// Messages that are not about a broken rule.
    pub notes: Vec<Note>,
    /// Where the CA comes from, as text for people.
    pub sources: Vec<String>,
    /// The uid of the object. Events need it so that `kubectl describe` shows them.
    pub uid: String,
    /// Whether Velero reports the location as available.
    pub is_available: bool,
    /// Why the location was not evaluated; `None` if it was.
    pub omission: Option<Omission>,
}

/// Why a location was not evaluated, or its result not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Omission {
    /// The locations of its namespace name more than the [`Budget`](super::evaluation_budget::Budget).
    OverBudget,
    /// It could not be read, for this reason.
    Unread(String),
}

impl EvaluatedLocation {
    /// Returns the result for a location that is not evaluated.
    pub fn omitted(namespace: &str, bsl: &Bsl<'_>, omission: Omission) -> Self {
        Self {
            ca: ResolvedCa::default(),
            judged: Judged {
                verdict: Verdict::Allow,
                denials: Vec::new(),
                warnings: Vec::new(),
            },
            notes: Vec::new(),
            sources: describe_sources(namespace, bsl),
            uid: bsl.uid().to_owned(),
            is_available: bsl.is_available(),
            omission: Some(omission),
        }
    }

    /// Whether a look-up of its CA failed.
    pub fn is_unknown(&self) -> bool {
        matches!(self.omission, Some(Omission::Unread(_))) || !self.ca.report.unknowns.is_empty()
    }

    /// Whether all certificates that it names are in `ca`.
    fn is_complete(&self) -> bool {
        self.omission.is_none() && self.ca.left_out.is_empty() && self.ca.report.unknowns.is_empty()
    }
}

/// An evaluation of the locations of one namespace, which may take several passes.
#[derive(Debug)]
pub struct Evaluation<'l> {
    namespace: &'l str,
    now: i64,
    locations: Vec<(&'l str, &'l Bsl<'l>)>,
    found: Vec<(ResolvedCa, Report)>,
}

impl<'l> Evaluation<'l> {
    /// Starts an evaluation of the `locations` of `namespace`, each with its name. `now` is in
    /// seconds since 1970.
    pub fn new(
        namespace: &'l str,
        locations: impl IntoIterator<Item = (&'l String, &'l Bsl<'l>)>,
        now: i64,
    ) -> Self {
        let locations = locations.into_iter();
        Self {
            namespace,
            now,
            locations: locations.map(|(name, bsl)| (name.as_str(), bsl)).collect(),
            found: Vec::new(),
        }
    }

    /// Evaluates every location with these `facts`. Returns the facts that are still needed.
    pub fn pass(&mut self, facts: &Facts) -> BTreeSet<Lookup> {
        let (namespace, now) = (self.namespace, self.now);
        let found = self.locations.iter().map(|(_, bsl)| {
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

    /// Returns the results of the last pass, keyed by the name of the location.
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
                    omission: None,
                };
                (name.to_owned(), evaluated)
            })
            .collect()
    }
}

/// Returns where the CA of a location comes from, as text for people.
fn describe_sources(namespace: &str, bsl: &Bsl<'_>) -> Vec<String> {
    let references = references::ca_references(namespace, bsl);
    let described = references.iter().map(|reference| match &reference.target {
        CaTarget::Secret(to) => format!("Secret {} key {}", to.secret.name, to.key),
        CaTarget::Base64(_) | CaTarget::Pem(_) => reference.path.to_string(),
        CaTarget::Invalid(why) => format!("{} {why}", reference.path),
    });
    described.collect()
}

/// Returns the certificates that each owner adds to the bundle. Adds an issue to `issues` for each
/// CA that is invalid or not known.
pub fn contributions(
    evaluated: &BTreeMap<String, EvaluatedLocation>,
    common_roots: &CommonRoots,
    issues: &mut BTreeSet<BundleIssue>,
) -> Contributions {
    let extra = &common_roots.extra;
    let mut contributions = extra.contributions.clone();
    for (owner, contribution) in &contributions {
        if let (Owner::Extra(name), false) = (owner, contribution.is_complete)
            && !extra.restored.iter().any(|object| object.owns(name))
        {
            issues.insert(BundleIssue::ExtraInvalid { name: name.clone() });
        }
    }
    issues.extend(extra.restored.iter().map(BundleIssue::extra_restored));
    if extra.has_unknown {
        issues.insert(BundleIssue::ExtraUnknown);
    }
    let mut over_budget = evaluated
        .iter()
        .filter(|(_, location)| location.omission == Some(Omission::OverBudget));
    if let Some((first, _)) = over_budget.next() {
        issues.insert(BundleIssue::OverBudget {
            first: first.clone(),
            count: 1 + over_budget.count(),
        });
    }
    for (location, evaluated) in evaluated {
        let resolved = &evaluated.ca;
        if let Some(Omission::Unread(reason)) = &evaluated.omission {
            issues.insert(BundleIssue::LocationUnknown {
                location: location.clone(),
                reason: reason.clone(),
            });
        }
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
            is_complete: evaluated.is_complete(),
            certificates: resolved.certificates.clone(),
        };
        contributions.insert(Owner::Location(location.clone()), contribution);
    }
    contributions
}

/// Returns an issue for each origin whose certificates do not all fit into the bundle.
pub fn truncation_issues(merged: &MergedBundle) -> impl Iterator<Item = BundleIssue> {
    let left_out = merged.left_out.iter();
    left_out.map(|(&origin, &count)| BundleIssue::Truncated { origin, count })
}

/// Returns an issue if certificates did not fit into the `memory` of `namespace`. Each certificate
/// is reported only once.
pub fn dropped_certificates(memory: &mut Memory, namespace: &str) -> Option<BundleIssue> {
    let count = memory.take_forgotten();
    let config_map = format!("{MEMORY_PREFIX}{namespace}");
    (count > 0).then_some(BundleIssue::Forgotten { config_map, count })
}
