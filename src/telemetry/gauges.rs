//! What is measured of each Velero namespace; it goes when the namespace does.

use std::collections::BTreeSet;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// The gauges of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Families {
    certificates: Family<Certificates, Gauge>,
    expiry: Family<Namespace, Gauge>,
    held: Family<Namespace, Gauge>,
    findings: Family<Found, Gauge>,
    endpoints: Family<Endpoint, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Certificates {
    namespace: String,
    origin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Found {
    namespace: String,
    location: String,
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Endpoint {
    namespace: String,
    location: String,
    url: String,
    state: &'static str,
}

impl Families {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "bundle_certificates",
            "Certificates in the merged bundle of a namespace, by where they come from",
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
            "Rules that speak of a BackupStorageLocation now, after its admission",
            self.findings.clone(),
        );
        registry.register(
            "endpoint",
            "Endpoints of BackupStorageLocations: whether the merged bundle verifies what they present",
            self.endpoints.clone(),
        );
    }
}

/// The gauges of one namespace.
#[derive(Debug)]
pub struct BundleGauges {
    metrics: Arc<Metrics>,
    namespace: String,
    certificates: BTreeSet<&'static str>,
    findings: BTreeSet<Found>,
}

impl BundleGauges {
    /// The gauges of `namespace`.
    pub fn new(metrics: Arc<Metrics>, namespace: &str) -> Self {
        Self {
            metrics,
            namespace: namespace.to_owned(),
            certificates: BTreeSet::new(),
            findings: BTreeSet::new(),
        }
    }

    /// What is in the bundle: how many certificates by origin, the first expiry in seconds since
    /// 1970, and whether the namespace is held.
    pub fn set_bundle(
        &mut self,
        origins: impl Iterator<Item = (&'static str, usize)>,
        expiry: Option<i64>,
        is_held: bool,
    ) {
        let of = &self.metrics.namespaces;
        let before = std::mem::take(&mut self.certificates);
        for (origin, count) in origins {
            let labels = Certificates {
                namespace: self.namespace.clone(),
                origin,
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            of.certificates.get_or_create(&labels).set(count);
            self.certificates.insert(origin);
        }
        for origin in before.difference(&self.certificates) {
            let namespace = self.namespace.clone();
            of.certificates.remove(&Certificates { namespace, origin });
        }
        let namespace = Namespace {
            namespace: self.namespace.clone(),
        };
        of.expiry
            .get_or_create(&namespace)
            .set(expiry.unwrap_or_default());
        of.held.get_or_create(&namespace).set(is_held.into());
    }

    /// The rules that speak now, by location.
    pub fn set_findings(&mut self, now: BTreeSet<(&str, &'static str)>) {
        let of = &self.metrics.namespaces.findings;
        let now = now.into_iter().map(|(location, rule)| Found {
            namespace: self.namespace.clone(),
            location: location.to_owned(),
            rule,
        });
        let now: BTreeSet<_> = now.collect();
        for found in &now {
            of.get_or_create(found).set(1);
        }
        for gone in self.findings.difference(&now) {
            of.remove(gone);
        }
        self.findings = now;
    }
}

impl Drop for BundleGauges {
    fn drop(&mut self) {
        self.set_findings(BTreeSet::new());
        let of = &self.metrics.namespaces;
        let namespace = Namespace {
            namespace: self.namespace.clone(),
        };
        of.expiry.remove(&namespace);
        of.held.remove(&namespace);
        for origin in &self.certificates {
            let namespace = self.namespace.clone();
            of.certificates.remove(&Certificates { namespace, origin });
        }
    }
}

/// The gauges of the endpoints of one namespace.
#[derive(Debug)]
pub struct EndpointGauges {
    metrics: Arc<Metrics>,
    namespace: String,
    endpoints: BTreeSet<Endpoint>,
}

impl EndpointGauges {
    /// The gauges of `namespace`.
    pub fn new(metrics: Arc<Metrics>, namespace: &str) -> Self {
        Self {
            metrics,
            namespace: namespace.to_owned(),
            endpoints: BTreeSet::new(),
        }
    }

    /// The endpoints now: location, URL and state.
    pub fn set(&mut self, now: impl IntoIterator<Item = (String, String, &'static str)>) {
        let of = &self.metrics.namespaces.endpoints;
        let now = now.into_iter().map(|(location, url, state)| Endpoint {
            namespace: self.namespace.clone(),
            location,
            url,
            state,
        });
        let now: BTreeSet<_> = now.collect();
        for endpoint in &now {
            of.get_or_create(endpoint).set(1);
        }
        for gone in self.endpoints.difference(&now) {
            of.remove(gone);
        }
        self.endpoints = now;
    }
}

impl Drop for EndpointGauges {
    fn drop(&mut self) {
        self.set([]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_measured_no_more() {
        let metrics = Arc::new(Metrics::default());
        let mut gauges = BundleGauges::new(Arc::clone(&metrics), "velero");
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
}
