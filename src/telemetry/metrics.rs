//! The metrics of the process. Their labels have few values, all of them fixed by us: webhook
//! paths, operations, decisions, rule ids and status codes. No text of a request becomes a label.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::gauges::Families;
use super::pods::Pods;
use super::prometheus_text;

/// Upper bounds of the duration buckets in seconds: from the cost of a review without look-ups to
/// the longest timeout that the API server allows.
const DURATION_BUCKETS: [f64; 11] = [
    0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    findings: Family<RuleLabels, Counter>,
    errors: Family<CodeLabels, Counter>,
    durations: Family<WebhookLabels, Histogram, fn() -> Histogram>,
    /// Reviews of a kind or an operation that no handler covers; they were allowed.
    pub foreign_reviews: Counter,
    /// Look-ups that were not made because too many were under way.
    pub lookups_refused: Counter,
    /// Log lines about reviews that were left out because there were too many.
    pub log_lines_left_out: Counter,
    /// Open connections of the API server and of any other client of the webhook.
    pub connections: Gauge,
    /// New connections that were closed at once, because all places were taken.
    pub connections_refused: Counter,
    /// Connections that were closed to make room for a client of another address.
    pub connections_replaced: Counter,
    /// Open connections to the port of health and metrics.
    pub ops_connections: Gauge,
    /// As [`Metrics::connections_refused`], of the port of health and metrics.
    pub ops_connections_refused: Counter,
    /// As [`Metrics::connections_replaced`], of the port of health and metrics.
    pub ops_connections_replaced: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshake_failures: Counter,
    /// Attempts to load a new serving certificate that failed; the old one is still served.
    pub tls_reload_failures: Counter,
    /// When the served certificate expires, in seconds since 1970.
    pub certificate_expiry: Gauge,
    /// Whether the caBundle of a webhook does not verify the certificate of this replica.
    pub certificate_refused: Gauge,
    /// Bytes of backups that were read to record them, or for Restores.
    pub backup_bytes_read: Counter,
    /// Recorded backups that went away without anybody wanting it.
    pub backups_lost: Counter,
    /// Restores that Velero did not begin and that wait for something.
    pub restores_waiting: Gauge,
    /// Restores that were refused before Velero began them.
    pub restores_refused: Counter,
    /// Restores that run on the word of a user.
    pub restores_accepted: Counter,
    /// Restores that run without a verdict.
    pub restores_unchecked: Counter,
    /// Restores while which the files of their backup changed.
    pub restores_tainted: Counter,
    /// Whether this replica runs the controllers.
    pub leader: Gauge,
    pub(super) namespaces: Families,
    pub(super) pods: Pods,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    webhook: &'static str,
    operation: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("velero_trust");
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let mut metrics = Self {
            reviews: Family::default(),
            findings: Family::default(),
            errors: Family::default(),
            durations,
            foreign_reviews: Counter::default(),
            lookups_refused: Counter::default(),
            backup_bytes_read: Counter::default(),
            backups_lost: Counter::default(),
            log_lines_left_out: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            connections_replaced: Counter::default(),
            ops_connections: Gauge::default(),
            ops_connections_refused: Counter::default(),
            ops_connections_replaced: Counter::default(),
            handshake_failures: Counter::default(),
            tls_reload_failures: Counter::default(),
            certificate_expiry: Gauge::default(),
            certificate_refused: Gauge::default(),
            restores_waiting: Gauge::default(),
            restores_refused: Counter::default(),
            restores_accepted: Counter::default(),
            restores_unchecked: Counter::default(),
            restores_tainted: Counter::default(),
            leader: Gauge::default(),
            namespaces: Families::default(),
            pods: Pods::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "The version of this process",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        metrics.register_reviews(&mut registry);
        metrics.register_restores(&mut registry);
        metrics.register_connections(&mut registry);
        metrics.namespaces.register(&mut registry);
        metrics.pods.register(&mut registry);
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    fn register_reviews(&self, registry: &mut Registry) {
        registry.register("reviews", "Answered reviews", self.reviews.clone());
        registry.register(
            "findings",
            "Number of times a rule denied or warned",
            self.findings.clone(),
        );
        registry.register(
            "http_errors",
            "Requests that were answered with an HTTP error instead of a review",
            self.errors.clone(),
        );
        registry.register(
            "review_duration_seconds",
            "Time from a request's head to its answer",
            self.durations.clone(),
        );
        registry.register(
            "foreign_reviews",
            "Reviews of kinds or operations that no rule covers; all were allowed",
            self.foreign_reviews.clone(),
        );
        registry.register(
            "lookups_refused",
            "Look-ups that were not made because too many were under way",
            self.lookups_refused.clone(),
        );
        registry.register(
            "log_lines_left_out",
            "Log lines about reviews that were left out because there were too many",
            self.log_lines_left_out.clone(),
        );
        registry.register(
            "backup_bytes_read",
            "Bytes of backups that were read to record them, or for Restores",
            self.backup_bytes_read.clone(),
        );
        registry.register(
            "backups_lost",
            "Recorded backups that went away without anybody wanting it",
            self.backups_lost.clone(),
        );
    }

    fn register_restores(&self, registry: &mut Registry) {
        registry.register(
            "restores_waiting",
            "Restores that Velero did not begin and that wait for something",
            self.restores_waiting.clone(),
        );
        registry.register(
            "restores_refused",
            "Restores that were refused before Velero began them",
            self.restores_refused.clone(),
        );
        registry.register(
            "restores_accepted",
            "Restores that run on the word of a user",
            self.restores_accepted.clone(),
        );
        registry.register(
            "restores_unchecked",
            "Restores that run without a verdict of velero-trust",
            self.restores_unchecked.clone(),
        );
        registry.register(
            "restores_tainted",
            "Restores while which the files of their backup changed",
            self.restores_tainted.clone(),
        );
    }

    fn register_connections(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Open connections to the webhook",
            self.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "New connections closed at once because all places were taken",
            self.connections_refused.clone(),
        );
        registry.register(
            "connections_replaced",
            "Connections closed to make room for a client of another address",
            self.connections_replaced.clone(),
        );
        registry.register(
            "ops_connections",
            "Open connections to the port of health and metrics",
            self.ops_connections.clone(),
        );
        registry.register(
            "ops_connections_refused",
            "New connections to the port of health and metrics closed at once because all places were taken",
            self.ops_connections_refused.clone(),
        );
        registry.register(
            "ops_connections_replaced",
            "Connections to the port of health and metrics closed to make room for a client of another address",
            self.ops_connections_replaced.clone(),
        );
        registry.register(
            "handshake_failures",
            "TLS handshakes that failed or took too long",
            self.handshake_failures.clone(),
        );
        registry.register(
            "tls_reload_failures",
            "Attempts to load a new serving certificate that failed; the old one stays",
            self.tls_reload_failures.clone(),
        );
        registry.register(
            "serving_certificate_refused",
            "Whether the caBundle of a webhook does not verify the certificate of this replica",
            self.certificate_refused.clone(),
        );
        registry.register(
            "serving_certificate_expiry_seconds",
            "When the served certificate expires, seconds since 1970",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica runs the controllers",
            self.leader.clone(),
        );
    }

    /// Counts an answered review, and the rules that had findings.
    pub fn count_review(
        &self,
        webhook: &'static str,
        operation: &'static str,
        decision: &'static str,
        rules: &[&'static str],
    ) {
        let review = ReviewLabels {
            webhook,
            operation,
            decision,
        };
        self.reviews.get_or_create(&review).inc();
        for rule in rules {
            self.findings.get_or_create(&RuleLabels { rule }).inc();
        }
    }

    /// Counts an HTTP error.
    pub fn count_error(&self, code: u16) {
        self.errors.get_or_create(&CodeLabels { code }).inc();
    }

    /// Records how long the answer to a request at `webhook` took.
    pub fn observe_duration(&self, webhook: &'static str, time: Duration) {
        self.durations
            .get_or_create(&WebhookLabels { webhook })
            .observe(time.as_secs_f64());
    }

    /// Returns all metrics in the Prometheus text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        Ok(prometheus_text::from_open_metrics(&self.open_metrics()?))
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_as_documented() {
        let metrics = Metrics::default();
        metrics.count_review("/validate/restores", "CREATE", "deny", &["VT101"]);
        metrics.count_error(413);
        metrics.observe_duration("/validate/restores", Duration::from_millis(2));
        metrics.certificate_expiry.set(1_700_000_000);
        let text = metrics.text().unwrap();
        for line in [
            r#"velero_trust_reviews_total{webhook="/validate/restores",operation="CREATE",decision="deny"} 1"#,
            r#"velero_trust_findings_total{rule="VT101"} 1"#,
            r#"velero_trust_http_errors_total{code="413"} 1"#,
            r#"velero_trust_review_duration_seconds_bucket{le="0.005",webhook="/validate/restores"} 1"#,
            "velero_trust_serving_certificate_expiry_seconds 1700000000",
            "velero_trust_foreign_reviews_total 0",
            "velero_trust_restores_waiting 0",
            "velero_trust_restores_refused_total 0",
            "velero_trust_restores_accepted_total 0",
            "velero_trust_restores_unchecked_total 0",
            "velero_trust_restores_tainted_total 0",
            "velero_trust_lookups_refused_total 0",
            "velero_trust_log_lines_left_out_total 0",
            "velero_trust_connections 0",
            "velero_trust_connections_refused_total 0",
            "velero_trust_connections_replaced_total 0",
            "velero_trust_ops_connections 0",
            "velero_trust_ops_connections_refused_total 0",
            "velero_trust_ops_connections_replaced_total 0",
            "velero_trust_handshake_failures_total 0",
            "velero_trust_tls_reload_failures_total 0",
            concat!(
                r#"velero_trust_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    /// What `promtool check metrics` complains about.
    #[test]
    fn the_prometheus_text_is_what_its_linter_accepts() {
        let metrics = Metrics::default();
        metrics.count_review("/validate/restores", "CREATE", "deny", &["VT101"]);
        metrics.observe_duration("/validate/restores", Duration::from_millis(2));
        let text = metrics.text().unwrap();
        let (mut helped, mut family, mut samples) = (String::new(), (String::new(), ""), 0);
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(!help.is_empty(), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                family = (name.to_owned(), kind);
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = name.strip_prefix(family.0.as_str());
                let allowed: &[_] = match family.1 {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(suffix.is_some_and(|it| allowed.contains(&it)), "{line}");
                samples += 1;
            }
        }
        assert!(samples > 20, "{text}");
    }
}
