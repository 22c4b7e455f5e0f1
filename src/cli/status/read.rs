//! Reads the status from a cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::backups::Unjudged;
use super::bundle_certificates::{bundle_certificates, references_in_report, set_retention};
use super::model::{Bundle, BundleState, CoverageEntry, Location, Namespace, Pods};
use super::restores;
use crate::ca::bundle::mozilla;
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::cli::cluster::api_error;
use crate::cli::snapshot::{self, NamespaceSnapshot};
use crate::injection::coverage::{PodCoverage, State};
use crate::kubernetes;
use crate::kubernetes::bundle_annotations::BundleAnnotations;
use crate::kubernetes::report::NamespaceReport;
use crate::names;
use crate::velero::bsl::Bsl;
use crate::velero::pod_kind::PodKind;

/// Reads the status of a Velero namespace.
///
/// # Errors
/// When anything but the report cannot be read.
pub(super) async fn namespace(
    client: &Client,
    ours: &str,
    namespace: &str,
    with_certificates: bool,
    backups: &Unjudged<'_>,
) -> anyhow::Result<Namespace> {
    let snapshot = NamespaceSnapshot::read(client, namespace).await?;
    let report = snapshot::read_report(client, ours, namespace).await;
    let (mut report, no_report) = match report {
        Ok(report) => (report, None),
        Err(no_report) => (NamespaceReport::default(), Some(no_report)),
    };
    let is_excluded = snapshot::is_excluded(client, ours, namespace, no_report.as_ref()).await;
    let mut bundle = bundle(&snapshot.bundle);
    if with_certificates && bundle.state == BundleState::Published {
        let certificates = certificates(client, namespace).await?;
        let references = references_in_report(&report);
        let mut items = bundle_certificates(&certificates, &references, mozilla());
        set_retention(&mut items, &report.retained);
        bundle.items = Some(items);
    }
    let locations = snapshot::list_locations(client, namespace).await?;
    let counted = backups.count(namespace, &locations);
    let (waiting, unknown) = match snapshot::waiting_restores(client, namespace).await {
        Ok(waiting) => (waiting, Vec::new()),
        Err(why) => (Vec::new(), vec![format!("which Restores wait: {why}")]),
    };
    let records = backups.ledger.records();
    let keeps_readings = waiting.is_empty() || snapshot::keeps_readings(client).await;
    let locations = locations.iter().map(|bsl| Location {
        name: bsl.name().to_owned(),
        phase: phase(bsl),
        report: report.locations.remove(bsl.name()),
    });
    Ok(Namespace {
        name: namespace.to_owned(),
        velero: version(&snapshot),
        bundle,
        locations: locations.collect(),
        backups: Some(counted),
        unknown,
        waiting_restores: restores::explain(namespace, waiting, records, keeps_readings),
        is_excluded,
        no_report: no_report.map(|no_report| no_report.why),
        extra_cas: report.extra_cas,
        retained: report.retained,
        issues: report.issues,
        pods: pods(&snapshot),
        templates: templates(&snapshot),
        ..Namespace::default()
    })
}

/// Returns the phase that Velero reports; `None` before Velero has checked the location.
pub(super) fn phase(bsl: &Bsl<'_>) -> Option<String> {
    let phase = Some(bsl.phase()).filter(|phase| !phase.is_empty());
    phase.map(str::to_owned)
}

/// Reads the certificates in the bundle.
async fn certificates(client: &Client, namespace: &str) -> anyhow::Result<Vec<Certificate>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = config_maps.get_opt(names::BUNDLE).await.map_err(|error| {
        let object = format!("ConfigMap {namespace}/{}", names::BUNDLE);
        api_error("read", &object, &error)
    })?;
    let text = map
        .as_ref()
        .and_then(kubernetes::bundle::text)
        .unwrap_or_default();
    Ok(pem::read(text.as_bytes()).certificates)
}

/// Returns the version of the server; during a rollout from one version to another, both.
pub(super) fn version(snapshot: &NamespaceSnapshot) -> Option<String> {
    let is_server = |coverage: &PodCoverage| coverage.kind == Some(PodKind::Server);
    let templates = snapshot.templates.values();
    let templates = templates.map(|template| (&template.coverage, &template.version));
    let pods = snapshot
        .pods
        .values()
        .map(|pod| (&pod.coverage, &pod.version));
    let versions = |from: &mut dyn Iterator<Item = (&PodCoverage, &Option<String>)>| {
        let versions = from.filter(|(coverage, _)| is_server(coverage));
        let mut versions: Vec<_> = versions
            .filter_map(|(_, version)| version.clone())
            .collect();
        versions.sort();
        versions.dedup();
        (!versions.is_empty()).then(|| versions.join(","))
    };
    versions(&mut templates.into_iter()).or_else(|| versions(&mut pods.into_iter()))
}

pub(super) fn bundle(snapshot: &snapshot::NamespaceBundle) -> Bundle {
    match snapshot {
        snapshot::NamespaceBundle::Absent => Bundle::default(),
        snapshot::NamespaceBundle::Foreign => Bundle {
            state: BundleState::Foreign,
            ..Bundle::default()
        },
        snapshot::NamespaceBundle::Published(published) => published_bundle(published),
    }
}

/// Returns a bundle from its annotations.
pub(super) fn published_bundle(published: &BundleAnnotations) -> Bundle {
    Bundle {
        state: BundleState::Published,
        hash: Some(published.hash.clone()),
        certificates: published.certificates,
        origins: published.origins.clone(),
        earliest_expiry: published.earliest_expiry,
        last_added: published.last_added,
        held: published.held.clone(),
        ..Bundle::default()
    }
}

pub(super) fn pods(snapshot: &NamespaceSnapshot) -> Pods {
    let tally = snapshot.tally();
    let items = snapshot.pods.iter().map(|(name, pod)| {
        let workload = pod.workload.as_ref().map(ToString::to_string);
        coverage_entry(snapshot, name.clone(), workload, &pod.coverage)
    });
    Pods {
        wanted: tally.wanted(),
        current: tally.count(State::Current),
        opted_out: tally.count(State::OptedOut),
        items: items.collect(),
    }
}

/// Returns the templates that prevent the injection of the bundle. A template never contains the
/// bundle itself, because only Pods are injected.
pub(super) fn templates(snapshot: &NamespaceSnapshot) -> Vec<CoverageEntry> {
    let excluding = snapshot.templates.iter().filter(|(_, template)| {
        let state = snapshot.state(&template.coverage);
        matches!(state, State::Conflicting | State::OptedOut)
    });
    let entries = excluding.map(|(workload, template)| {
        coverage_entry(snapshot, workload.to_string(), None, &template.coverage)
    });
    entries.collect()
}

fn coverage_entry(
    snapshot: &NamespaceSnapshot,
    name: String,
    workload: Option<String>,
    coverage: &PodCoverage,
) -> CoverageEntry {
    CoverageEntry {
        name,
        kind: coverage.kind.map(PodKind::as_str),
        workload,
        state: snapshot.state(coverage),
        message: coverage.why(snapshot.bundle_summary()),
    }
}
