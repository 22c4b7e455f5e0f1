//! How many Pods of each Velero namespace carry the bundle; it goes when the namespace does.

use std::collections::BTreeSet;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// The Pods of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Pods(Family<Labels, Gauge>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    state: &'static str,
}

impl Pods {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pods",
            "Pods of Velero in a namespace, by how they stand to the CA bundle",
            self.0.clone(),
        );
    }
}

/// The gauges of one namespace.
#[derive(Debug)]
pub struct PodGauges {
    metrics: Arc<Metrics>,
    namespace: String,
    states: BTreeSet<&'static str>,
}

impl PodGauges {
    /// The gauges of `namespace`; there are none until they are set.
    pub fn new(metrics: Arc<Metrics>, namespace: &str) -> Self {
        Self {
            metrics,
            namespace: namespace.to_owned(),
            states: BTreeSet::new(),
        }
    }

    /// How many Pods are in which state.
    pub fn set(&mut self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        for (state, count) in counts {
            let labels = self.labels(state);
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.pods.0.get_or_create(&labels).set(count);
            self.states.insert(state);
        }
    }

    /// It is not known any more.
    pub fn clear(&mut self) {
        for state in std::mem::take(&mut self.states) {
            self.metrics.pods.0.remove(&self.labels(state));
        }
    }

    fn labels(&self, state: &'static str) -> Labels {
        let namespace = self.namespace.clone();
        Labels { namespace, state }
    }
}

impl Drop for PodGauges {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_namespace_go_with_it() {
        let metrics = Arc::new(Metrics::default());
        let mut gauges = ["a", "b"].map(|name| PodGauges::new(Arc::clone(&metrics), name));
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
