//! The status of a folder of YAML files. It is computed with the same functions that the
//! controllers use, without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::bundle_certificates::{References, bundle_certificates};
use super::model::{Bundle, BundleState, Location, Namespace, Source, StatusReport};
use super::read;
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::common_roots::CommonRoots;
use crate::ca::endpoint;
use crate::ca::evaluation::{
    EvaluatedLocation, Evaluation, MAX_PASSES, contributions, truncation_issues,
};
use crate::ca::merged_bundle::{Contributions, Memory, MergedBundle, merge_contributions};
use crate::cli::snapshot::{self, Leader, LeaderState, NamespaceSnapshot};
use crate::decision::Policy;
use crate::kubernetes::bundle::{BundleStatus, config_map};
use crate::kubernetes::bundle_annotations::BundleAnnotations;
use crate::kubernetes::report;
use crate::sources::Passes;
use crate::sources::inventory::Inventory;
use crate::velero::bsl::Bsl;

/// The inputs for the status of a folder.
#[derive(Debug)]
pub(super) struct OfflineStatus<'f> {
    pub(super) inventory: &'f Inventory,
    /// The certificates that every bundle contains.
    pub(super) common_roots: &'f CommonRoots,
    pub(super) policy: &'f Policy,
    pub(super) now: Timestamp,
    /// Whether the status includes the certificates of the bundles.
    pub(super) with_certificates: bool,
}

impl OfflineStatus<'_> {
    /// Returns the status of the `requested` namespaces, or of all Velero namespaces if empty.
    pub(super) fn status(&self, requested: &[String]) -> StatusReport {
        let velero_namespaces = self.inventory.namespaces();
        let requested: BTreeSet<_> = requested.iter().cloned().collect();
        let shown = if requested.is_empty() {
            &velero_namespaces
        } else {
            &requested
        };
        let namespaces = shown.iter().map(|name| {
            let snapshot = self.snapshot(name);
            let namespace = if velero_namespaces.contains(name) {
                self.namespace(&snapshot)
            } else {
                without_locations(&snapshot)
            };
            Namespace {
                is_excluded: self.policy.excludes(name),
                ..namespace
            }
        });
        StatusReport {
            source: Source::Objects,
            leader: Leader {
                state: LeaderState::Unknown,
                message: Some("read from files, no cluster was asked".to_owned()),
                ..Leader::default()
            },
            namespaces: namespaces.collect(),
            ..StatusReport::default()
        }
    }

    fn snapshot(&self, namespace: &str) -> NamespaceSnapshot {
        let bundle = self.inventory.bundle(namespace);
        NamespaceSnapshot {
            namespace: namespace.to_owned(),
            bundle: bundle.map_or(
                snapshot::NamespaceBundle::Absent,
                snapshot::NamespaceBundle::of,
            ),
            pods: self.inventory.pods(namespace),
            templates: self.inventory.templates(namespace),
            ..NamespaceSnapshot::default()
        }
    }

    fn namespace(&self, snapshot: &NamespaceSnapshot) -> Namespace {
        let locations = self.inventory.locations(&snapshot.namespace);
        let evaluated = self.evaluate(&snapshot.namespace, &locations);
        let mut issues = BTreeSet::new();
        let contributions = contributions(&evaluated, self.common_roots, &mut issues);
        let merged = merge_contributions(
            &contributions,
            &Memory::default(),
            &self.common_roots.public,
        );
        issues.extend(truncation_issues(&merged));
        if merged.certificates.is_empty() {
            issues.insert(BundleIssue::Empty);
        }
        let unknown = take_unreadable(&mut issues, &evaluated);
        let locations = locations.iter().map(|(name, bsl)| {
            let evaluated = evaluated.get(name);
            location(&snapshot.namespace, name, bsl, evaluated)
        });
        Namespace {
            bundle: self.bundle(snapshot, &merged, &contributions),
            locations: locations.collect(),
            extra_cas: report::ExtraCa::all(&self.common_roots.extra.contributions),
            issues: issues.into_iter().map(report::Issue::from).collect(),
            unknown,
            ..without_locations(snapshot)
        }
    }

    fn evaluate(
        &self,
        namespace: &str,
        locations: &BTreeMap<String, Bsl<'_>>,
    ) -> BTreeMap<String, EvaluatedLocation> {
        let mut evaluation = Evaluation::new(namespace, locations, self.now.as_second());
        let mut passes = Passes::new(MAX_PASSES);
        while let Some(needs) = passes.next(|facts| evaluation.pass(facts)) {
            passes.add(self.inventory.objects.facts(&needs));
        }
        evaluation.apply_policy(self.policy)
    }

    /// Returns the computed bundle. Values that cannot be computed come from the published one.
    fn bundle(
        &self,
        snapshot: &NamespaceSnapshot,
        merged: &MergedBundle,
        contributions: &Contributions,
    ) -> Bundle {
        let published = match &snapshot.bundle {
            snapshot::NamespaceBundle::Foreign => return read::bundle(&snapshot.bundle),
            snapshot::NamespaceBundle::Absent => None,
            snapshot::NamespaceBundle::Published(published) => Some(published),
        };
        if merged.certificates.is_empty() {
            return Bundle::default();
        }
        let map = config_map(&snapshot.namespace, merged, BundleStatus::default());
        let computed = BundleAnnotations::read(&map.metadata).unwrap_or_default();
        let certificates = self.with_certificates.then(|| {
            let public = &self.common_roots.public;
            bundle_certificates(&merged.certificates, &references(contributions), public)
        });
        Bundle {
            state: BundleState::Computed,
            last_added: published.and_then(|published| published.last_added),
            held: published.and_then(|published| published.held.clone()),
            published: published.map(|published| published.hash.clone()),
            items: certificates,
            ..read::published_bundle(&computed)
        }
    }
}

/// Returns the parts of the status that do not depend on locations. They are available for every
/// namespace.
fn without_locations(snapshot: &NamespaceSnapshot) -> Namespace {
    Namespace {
        name: snapshot.namespace.clone(),
        velero: read::version(snapshot),
        bundle: read::bundle(&snapshot.bundle),
        pods: read::pods(snapshot),
        templates: read::templates(snapshot),
        ..Namespace::default()
    }
}

fn location(
    namespace: &str,
    name: &str,
    bsl: &Bsl<'_>,
    evaluated: Option<&EvaluatedLocation>,
) -> Location {
    let mut report = report::Location::default();
    if let Some(evaluated) = evaluated {
        report.set_evaluated(evaluated);
    }
    let endpoints = endpoint::read_endpoints(namespace, bsl).into_iter();
    let endpoints = endpoints.filter_map(|endpoint| match endpoint {
        Ok(endpoint) => Some(report::Endpoint {
            url: endpoint.url,
            message: "nothing is dialled".to_owned(),
            ..report::Endpoint::default()
        }),
        Err(setting) => report::Endpoint::skipped(&setting),
    });
    report.endpoints = endpoints.collect();
    Location {
        name: name.to_owned(),
        phase: read::phase(bsl),
        report: Some(report),
    }
}

/// Removes from `issues` those that only the folder has, not the cluster: Secrets that a controller
/// in the cluster creates or decrypts. Returns the notes about them as messages.
fn take_unreadable(
    issues: &mut BTreeSet<BundleIssue>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, evaluated) in evaluated {
        for note in &evaluated.notes {
            issues.remove(&BundleIssue::LeftOut {
                location: name.clone(),
                path: note.path.to_string(),
            });
            unknown.push(format!("BackupStorageLocation {name}: {note}"));
        }
    }
    unknown
}

/// Returns the owners of each contributed certificate.
fn references(contributions: &Contributions) -> References {
    let mut references = References::new();
    for (owner, contribution) in contributions {
        for certificate in &contribution.certificates {
            let from = references.entry(certificate.fingerprint().to_string());
            from.or_default().push(owner.to_string());
        }
    }
    references
}
