//! The gauges of each Velero namespace, removed with the namespace.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::series::{Series, gauge_value};
use crate::velero::printable::printable;

/// The gauges of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Families {
    certificates: Family<CertificateLabels, Gauge>,
    expiry: Family<NamespaceLabels, Gauge>,
    held: Family<NamespaceLabels, Gauge>,
    findings: Family<FindingLabels, Gauge>,
    endpoints: Family<EndpointLabels, Gauge>,
    probes: Family<ProbeLabels, Gauge>,
    webhooks: Family<WebhookLabels, Gauge>,
    canary: Family<CanaryLabels, Gauge>,
    records: Family<RecordLabels, Gauge>,
    last_recorded: Family<NamespaceLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct RecordLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct CanaryLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct CertificateLabels {
    namespace: String,
    origin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct FindingLabels {
    namespace: String,
    location: String,
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct EndpointLabels {
    namespace: String,
    location: String,
    url: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ProbeLabels {
    namespace: String,
    location: String,
    url: String,
}

impl Families {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "bundle_certificates",
            "Certificates in the merged bundle of a namespace, by origin",
            self.certificates.clone(),
        );
        registry.register(
            "bundle_earliest_expiry_seconds",
            "When the first certificate in the merged bundle expires, seconds since 1970",
            self.expiry.clone(),
        );
        registry.register(
            "held",
            "Whether the Pods of a namespace get no AWS_CA_BUNDLE because a location works without it",
            self.held.clone(),
        );
        registry.register(
            "location_findings",
            "Rules with findings about a BackupStorageLocation after its admission",
            self.findings.clone(),
        );
        registry.register(
            "endpoint",
            "Endpoints of BackupStorageLocations, by whether the merged bundle verifies their certificates",
            self.endpoints.clone(),
        );
        registry.register(
            "endpoint_probed_seconds",
            "When an endpoint of a BackupStorageLocation was probed last, seconds since 1970",
            self.probes.clone(),
        );
        registry.register(
            "webhook",
            "Webhooks, by whether the API server asks this installation",
            self.webhooks.clone(),
        );
        registry.register(
            "canary",
            "What came of the last dry run that shows whether the API server reaches this installation",
            self.canary.clone(),
        );
        registry.register(
            "backup_records",
            "Records of backups, by how far the recording is",
            self.records.clone(),
        );
        registry.register(
            "backup_last_recorded_seconds",
            "When the last backup of a namespace was recorded, seconds since 1970",
            self.last_recorded.clone(),
        );
    }
}

/// The gauges of one namespace. They are removed when this is dropped.
#[derive(Debug)]
pub struct BundleGauges {
    namespace: String,
    certificates: Series<CertificateLabels>,
    expiry: Series<NamespaceLabels>,
    held: Series<NamespaceLabels>,
    findings: Series<FindingLabels>,
}

impl BundleGauges {
    /// Creates the gauges of `namespace`; none exists until it is set.
    pub fn new(metrics: &Metrics, namespace: &str) -> Self {
        let families = &metrics.namespaces;
        Self {
            namespace: namespace.to_owned(),
            certificates: Series::new(&families.certificates),
            expiry: Series::new(&families.expiry),
            held: Series::new(&families.held),
            findings: Series::new(&families.findings),
        }
    }

    /// Sets the gauges of the bundle: the number of certificates by origin, the first expiry in
    /// seconds since 1970, and whether the namespace is held.
    pub fn set_bundle(
        &mut self,
        origins: impl Iterator<Item = (&'static str, usize)>,
        expiry: Option<i64>,
        is_held: bool,
    ) {
        let namespace = || self.namespace.clone();
        let certificates = origins.map(|(origin, count)| {
            let namespace = namespace();
            (CertificateLabels { namespace, origin }, gauge_value(count))
        });
        self.certificates.replace(certificates);
        let namespace = NamespaceLabels {
            namespace: namespace(),
        };
        self.expiry
            .replace([(namespace.clone(), expiry.unwrap_or_default())]);
        self.held.replace([(namespace, is_held.into())]);
    }

    /// Sets the rules that have findings now, with the location of each.
    pub fn set_findings(&mut self, now: BTreeSet<(&str, &'static str)>) {
        let findings = now.into_iter().map(|(location, rule)| FindingLabels {
            namespace: self.namespace.clone(),
            location: printable(location).into_owned(),
            rule,
        });
        self.findings.replace(findings.map(|found| (found, 1)));
    }
}

/// The gauges of the records of backups. They are removed when this is dropped.
#[derive(Debug)]
pub struct RecordGauges {
    states: Series<RecordLabels>,
    last_recorded: Series<NamespaceLabels>,
}

/// What is measured of a record.
#[derive(Clone, Copy, Debug)]
pub struct RecordGauge<'r> {
    /// The namespace of its Backup.
    pub namespace: &'r str,
    /// How far the recording is.
    pub state: &'static str,
    /// When the backup was recorded, seconds since 1970; `None` if it is not.
    pub recorded_at: Option<i64>,
}

impl RecordGauges {
    /// Creates the gauges; none exists until they are set.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            states: Series::new(&metrics.namespaces.records),
            last_recorded: Series::new(&metrics.namespaces.last_recorded),
        }
    }

    /// Sets the number of records in each state, and the time of the last one of each namespace.
    pub fn set<'r>(&mut self, records: impl IntoIterator<Item = RecordGauge<'r>>) {
        let mut counts = BTreeMap::new();
        let mut last = BTreeMap::new();
        for record in records {
            let state = record.state;
            *counts.entry(RecordLabels { state }).or_insert(0) += 1;
            if let Some(at) = record.recorded_at {
                let newest = last.entry(record.namespace).or_insert(at);
                *newest = at.max(*newest);
            }
        }
        let counts = counts.into_iter();
        self.states
            .replace(counts.map(|(labels, count)| (labels, gauge_value(count))));
        self.last_recorded
            .replace(last.into_iter().map(|(namespace, at)| {
                let namespace = printable(namespace).into_owned();
                (NamespaceLabels { namespace }, at)
            }));
    }
}

/// The gauges of the endpoints of one namespace. They are removed when this is dropped.
#[derive(Debug)]
pub struct EndpointGauges {
    namespace: String,
    endpoints: Series<EndpointLabels>,
    probes: Series<ProbeLabels>,
}

/// What is measured of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointGauge<'e> {
    /// The name of its location.
    pub location: &'e str,
    /// Its URL.
    pub url: &'e str,
    /// Its state.
    pub state: &'static str,
    /// When it was probed last, seconds since 1970; `None` if it was not.
    pub probed_at: Option<i64>,
}

impl EndpointGauges {
    /// Creates the gauges of `namespace`; none exists until it is set.
    pub fn new(metrics: &Metrics, namespace: &str) -> Self {
        let families = &metrics.namespaces;
        Self {
            namespace: namespace.to_owned(),
            endpoints: Series::new(&families.endpoints),
            probes: Series::new(&families.probes),
        }
    }

    /// Sets the current endpoints.
    pub fn set(&mut self, now: &[EndpointGauge<'_>]) {
        let endpoints = now.iter().map(|endpoint| EndpointLabels {
            namespace: self.namespace.clone(),
            location: printable(endpoint.location).into_owned(),
            url: printable(endpoint.url).into_owned(),
            state: endpoint.state,
        });
        self.endpoints
            .replace(endpoints.map(|endpoint| (endpoint, 1)));
        let probes = now.iter().filter_map(|endpoint| {
            let labels = ProbeLabels {
                namespace: self.namespace.clone(),
                location: printable(endpoint.location).into_owned(),
                url: printable(endpoint.url).into_owned(),
            };
            Some((labels, endpoint.probed_at?))
        });
        self.probes.replace(probes);
    }
}

/// The states of the webhooks. They are removed when this is dropped.
#[derive(Debug)]
pub struct WebhookGauges(Series<WebhookLabels>);

impl WebhookGauges {
    /// Creates the gauges; none exists until they are set.
    pub fn new(metrics: &Metrics) -> Self {
        Self(Series::new(&metrics.namespaces.webhooks))
    }

    /// Sets the current state of each webhook.
    pub fn set(&mut self, now: impl IntoIterator<Item = (&'static str, &'static str)>) {
        let now = now.into_iter();
        self.0
            .replace(now.map(|(webhook, state)| (WebhookLabels { webhook, state }, 1)));
    }
}

/// What the canary heard last. It is removed when this is dropped.
#[derive(Debug)]
pub struct CanaryGauge(Series<CanaryLabels>);

impl CanaryGauge {
    /// Creates the gauge; it does not exist until it is set.
    pub fn new(metrics: &Metrics) -> Self {
        Self(Series::new(&metrics.namespaces.canary))
    }

    /// Sets the current result.
    pub fn set(&mut self, result: Option<&'static str>) {
        let result = result.into_iter();
        self.0
            .replace(result.map(|result| (CanaryLabels { result }, 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_measured_no_more() {
        let metrics = Metrics::default();
        let mut gauges = BundleGauges::new(&metrics, "velero");
        gauges.set_bundle([("public", 3), ("locations", 1)].into_iter(), Some(7), true);
        gauges.set_findings([("a", "VT001"), ("a", "VT022")].into());
        let text = metrics.text().unwrap();
        for line in [
            r#"velero_trust_bundle_certificates{namespace="velero",origin="public"} 3"#,
            r#"velero_trust_bundle_earliest_expiry_seconds{namespace="velero"} 7"#,
            r#"velero_trust_held{namespace="velero"} 1"#,
            r#"velero_trust_location_findings{namespace="velero",location="a",rule="VT001"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        gauges.set_bundle([("public", 3)].into_iter(), None, false);
        gauges.set_findings([("a", "VT022")].into());
        let text = metrics.text().unwrap();
        assert!(!text.contains(r#"origin="locations""#), "{text}");
        assert!(!text.contains("VT001"), "{text}");
        drop(gauges);
        let text = metrics.text().unwrap();
        assert!(!text.contains("namespace="), "{text}");
    }

    #[test]
    fn the_last_record_of_each_namespace_is_measured() {
        let metrics = Metrics::default();
        let mut gauges = RecordGauges::new(&metrics);
        let record = |namespace, recorded_at| RecordGauge {
            namespace,
            state: "Recorded",
            recorded_at,
        };
        gauges.set([
            record("a", Some(7)),
            record("a", Some(9)),
            record("a", Some(8)),
            record("b", None),
        ]);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("backup_records{state=\"Recorded\"} 4"),
            "{text}"
        );
        let last = "velero_trust_backup_last_recorded_seconds{namespace=\"a\"} 9\n";
        assert!(text.contains(last), "{text}");
        assert!(!text.contains("namespace=\"b\""), "{text}");
        drop(gauges);
        assert!(!metrics.text().unwrap().contains("last_recorded_seconds{"));
    }

    #[test]
    fn an_endpoint_has_the_time_of_its_last_probe_and_none_before_that() {
        let metrics = Metrics::default();
        let mut gauges = EndpointGauges::new(&metrics, "velero");
        let endpoint = |url, probed_at| EndpointGauge {
            location: "default",
            url,
            state: "unknown",
            probed_at,
        };
        gauges.set(&[endpoint("https://a", Some(7)), endpoint("https://b", None)]);
        let text = metrics.text().unwrap();
        let labels = |url| format!(r#"{{namespace="velero",location="default",url="{url}"#);
        let probed = format!(
            "velero_trust_endpoint_probed_seconds{}\"}} 7",
            labels("https://a")
        );
        assert!(text.contains(&probed), "{text}");
        assert_eq!(
            text.matches("endpoint_probed_seconds{").count(),
            1,
            "{text}"
        );
        let state = format!("velero_trust_endpoint{}", labels("https://b"));
        assert!(text.contains(&state), "{text}");
        drop(gauges);
        assert!(
            !metrics.text().unwrap().contains("velero_trust_endpoint"),
            "{text}"
        );
    }
}
