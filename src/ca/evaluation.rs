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
    /// The certificates that the location names.
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

    /// Whether all that it names gets into the bundle.
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
            .map(|((mut resolved, report), (name, bsl))| {
                let judged = Judged::apply_policy(&report, policy);
                resolved.deny(judged.denials.iter().map(|finding| &finding.path));
                let evaluated = EvaluatedLocation {
                    ca: resolved,
                    judged,
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
            certificates: resolved.admitted().cloned().collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::bundle::{merge, mozilla};
    use crate::ca::certificate::Certificate;
    use crate::ca::merged_bundle::{Moment, merge_contributions};
    use crate::decision::{Fact, Outcome, Secret, SecretKeyRef};
    use crate::names::CA_SECRET_ANNOTATION;

    const NOW: i64 = 1_800_000_000;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

    /// Evaluates a location that names key `k` of each of these Secrets, at most two, and returns
    /// what it contributes.
    fn contributed(secrets: &[(&str, &str)], policy: &Policy) -> Contributions {
        let mut facts = Facts::default();
        for (name, text) in secrets {
            let lookup = Lookup::Secret(SecretKeyRef::new("velero", *name, "k"));
            let secret = Secret {
                data: [("k".to_owned(), text.as_bytes().to_vec())].into(),
            };
            facts.insert(lookup, Outcome::Found(Fact::Secret(secret.into())));
        }
        let [first, second] = [0, 1].map(|at| secrets.get(at).map(|(name, _)| *name));
        let bsl = serde_json::json!({
            "metadata": {"annotations": second.map(|name| {
                serde_json::json!({CA_SECRET_ANNOTATION: format!("{name}/k")})
            })},
            "spec": {"provider": "aws", "objectStorage": {
                "bucket": "b", "caCertRef": {"name": first, "key": "k"},
            }},
        })
        .to_string();
        let bsl: Bsl<'_> = serde_json::from_str(&bsl).unwrap();
        let name = "default".to_owned();
        let mut evaluation = Evaluation::new("velero", [(&name, &bsl)], NOW);
        assert!(evaluation.pass(&facts).is_empty());
        let evaluated = evaluation.apply_policy(policy);
        let roots = CommonRoots {
            public: [].into(),
            ..CommonRoots::default()
        };
        contributions(&evaluated, &roots, &mut BTreeSet::new())
    }

    /// Returns which of the first public roots are in the bundle after a location contributed
    /// `before` and then `after`.
    fn bundle_after(before: &Contributions, after: &Contributions) -> Vec<usize> {
        let mut memory = Memory::default();
        for (contributions, at) in [(before, 0), (after, 1)] {
            let moment = Moment {
                wall: NOW + at,
                steady: at.unsigned_abs(),
            };
            memory.learn(contributions, moment, 60);
        }
        let merged = merge_contributions(after, &memory, &[]);
        let is_in = |at: &usize| merged.certificates.contains(&mozilla()[*at]);
        (0..4).filter(is_in).collect()
    }

    fn pem(certificate: &Certificate) -> String {
        merge([certificate]).text
    }

    #[test]
    fn a_bundle_that_a_rule_denies_adds_nothing_new_and_takes_nothing_away() {
        let [old, new, other] = [0, 1, 2].map(|at| pem(&mozilla()[at]));
        let strict = Policy::default();
        let before = contributed(&[("a", &old)], &strict);
        let after = |secrets: &[(&str, &str)], policy: &Policy| {
            bundle_after(&before, &contributed(secrets, policy))
        };
        assert_eq!(after(&[("a", &format!("{old}{new}"))], &strict), [0, 1]);
        let leaks = format!("{new}{KEY}");
        assert_eq!(after(&[("a", &leaks)], &strict), [0]);
        // What another reference of the location names is not affected.
        assert_eq!(after(&[("a", &leaks), ("b", &other)], &strict), [0, 2]);
        assert_eq!(after(&[("a", &leaks), ("b", &new)], &strict), [0, 1]);
        // The operator decides what denies.
        let request = KEY.replace("PRIVATE KEY", "CERTIFICATE REQUEST");
        let with_request = format!("{new}{request}");
        assert_eq!(after(&[("a", &with_request)], &strict), [0]);
        let mut lenient = Policy::default();
        lenient
            .set("VT012=warn", rules::all().collect::<Vec<_>>().iter())
            .unwrap();
        assert_eq!(after(&[("a", &with_request)], &lenient), [0, 1]);
    }

    #[test]
    fn a_whole_bundle_that_a_rule_denies_adds_nothing_new_either() {
        let leaf = {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(2000, 1, 1);
            params.not_before = rcgen::date_time_ymd(1999, 1, 1);
            let der = params.self_signed(&key).unwrap().der().to_vec();
            Certificate::parse(der).unwrap()
        };
        let strict = Policy::default();
        let before = contributed(&[("a", &pem(&mozilla()[0]))], &strict);
        let after = contributed(&[("a", &pem(&leaf))], &strict);
        assert_eq!(bundle_after(&before, &after), [0]);
        let contributed = &after[&Owner::Location("default".to_owned())];
        assert_eq!(*contributed, Contribution::default());
    }
}
