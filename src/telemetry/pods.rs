//! The number of Pods in each Velero namespace by state of their CA bundle, removed with the
//! namespace.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use super::series::{Series, gauge_value};

/// The gauges of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Pods(Family<PodLabels, Gauge>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodLabels {
    namespace: String,
    state: &'static str,
}

impl Pods {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pods",
            "Pods of Velero in a namespace, by state of their CA bundle",
            self.0.clone(),
        );
    }
}

/// The gauges of one namespace. They are removed when this is dropped.
#[derive(Debug)]
pub struct PodGauges {
    namespace: String,
    pods: Series<PodLabels>,
}

impl PodGauges {
    /// Creates the gauges of `namespace`; none exists until it is set.
    pub fn new(metrics: &Metrics, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pods: Series::new(&metrics.pods.0),
        }
    }

    /// Sets the number of Pods in each state.
    pub fn set(&mut self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        let counts = counts.into_iter().map(|(state, count)| {
            let namespace = self.namespace.clone();
            (PodLabels { namespace, state }, gauge_value(count))
        });
        self.pods.replace(counts);
    }

    /// Removes the gauges while the numbers are unknown.
    pub fn clear(&mut self) {
        self.pods.replace([]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_namespace_go_with_it() {
        let metrics = Metrics::default();
        let mut gauges = ["a", "b"].map(|name| PodGauges::new(&metrics, name));
        for gauges in &mut gauges {
            gauges.set([("stale", 1), ("current", 0)]);
        }
        let [a, mut b] = gauges;
        drop(a);
        let text = metrics.text().unwrap();
        assert!(!text.contains(r#"namespace="a""#), "{text}");
        let line = r#"velero_trust_pods{namespace="b",state="stale"} 1"#;
        assert!(text.contains(line), "{text}");
        b.clear();
        let text = metrics.text().unwrap();
        assert!(!text.contains("velero_trust_pods{"), "{text}");
    }
}
