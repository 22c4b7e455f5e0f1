//! What the controllers know of a namespace, for `velero-trust status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Controllers, store};
use crate::kubernetes::error;
use crate::kubernetes::report::{self, Location, Report};
use crate::names;

/// How long changes are gathered before the report is written.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// How long until a report that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(15);

/// Most bytes of a report; a ConfigMap holds 1 MiB.
const LARGEST: usize = 900 << 10;

/// How much of each list stays in a report that is too large.
const FEW: usize = 3;

/// Longest time for one write.
const LONGEST: Duration = Duration::from_secs(30);

/// Where the tasks of a namespace put what they know.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<watch::Sender<Report>>);

impl Board {
    pub(super) fn new(namespace: &str) -> Self {
        let report = Report {
            namespace: namespace.to_owned(),
            ..Report::default()
        };
        Self(Arc::new(watch::Sender::new(report)))
    }

    /// Lets `change` do its work on the report.
    pub(super) fn update(&self, change: impl FnOnce(&mut Report)) {
        self.0.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    /// Has the report written although nothing changed: what stands there is of an earlier leader,
    /// or nothing.
    pub(super) fn write_anyway(&self) {
        self.0.send_modify(|_| {});
    }
}

/// Writes the report into a ConfigMap of our own namespace whenever it changed; never returns.
pub(super) async fn publish(controllers: &Controllers, namespace: &str, board: &Board) {
    let name = report::name(namespace);
    let maps =
        Api::<ConfigMap>::namespaced(controllers.client.clone(), &controllers.settings.namespace);
    let mut changes = board.0.subscribe();
    let mut said = String::new();
    loop {
        // The sender is `board`'s.
        let _ = changes.changed().await;
        sleep(DEBOUNCE).await;
        loop {
            let report = changes.borrow_and_update().clone();
            let text = text(report);
            let data = BTreeMap::from([(names::REPORT_KEY.to_owned(), text)]);
            let why = match timeout(LONGEST, store::apply(&maps, &name, data, None)).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => error::lookup_error(&error).message,
                Err(_) => "the API server did not answer in time".to_owned(),
            };
            if why != said {
                tracing::warn!(namespace, why, "cannot write ConfigMap {name}");
                said = why;
            }
            sleep(RETRY).await;
        }
    }
}

/// The report as JSON. What a ConfigMap could not hold is left out, and that is said.
fn text(mut report: Report) -> String {
    let whole = serde_json::to_string(&report).unwrap_or_default();
    if whole.len() <= LARGEST {
        return whole;
    }
    for location in report.locations.values_mut() {
        location.certificates.truncate(FEW);
        location.findings.truncate(FEW);
        for finding in &mut location.findings {
            finding.fix.clear();
        }
        for endpoint in &mut location.endpoints {
            endpoint.fix.clear();
        }
    }
    let left_out = "the report was too large: certificates, findings and fixes are left out of it";
    report.complaints.push(left_out.to_owned());
    let shorter = serde_json::to_string(&report).unwrap_or_default();
    if shorter.len() <= LARGEST {
        return shorter;
    }
    for location in report.locations.values_mut() {
        *location = Location {
            held: location.held.take(),
            ..Location::default()
        };
    }
    serde_json::to_string(&report).unwrap_or_default()
}

/// Removes the report of a namespace that is Velero's no more.
pub(super) async fn withdraw(controllers: &Controllers, namespace: &str) {
    let own = &controllers.settings.namespace;
    let maps = Api::<ConfigMap>::namespaced(controllers.client.clone(), own);
    let name = report::name(namespace);
    let removed = timeout(LONGEST, maps.delete(&name, &DeleteParams::default())).await;
    if let Ok(Err(error)) = removed {
        tracing::debug!(namespace, %error, "cannot delete ConfigMap {name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::report::{Certificate, Finding};

    #[test]
    fn a_report_that_is_too_large_says_what_it_leaves_out() {
        let certificate = Certificate {
            subject: "s".repeat(80),
            fingerprint: "f".repeat(64),
            not_after: "2026-01-01T00:00:00Z".to_owned(),
        };
        let finding = Finding {
            message: "m".repeat(300),
            fix: "f".repeat(300),
            ..Finding::default()
        };
        for (locations, findings) in [(100, 1), (500, 20), (2000, 20)] {
            let location = Location {
                certificates: vec![certificate.clone(); 140],
                findings: vec![finding.clone(); findings],
                ..Location::default()
            };
            let mut report = Report::default();
            for number in 0..locations {
                let name = format!("location-{number}");
                report.locations.insert(name, location.clone());
            }
            let text = text(report);
            assert!(text.len() <= LARGEST, "{locations}: {}", text.len());
            let read: Report = serde_json::from_str(&text).unwrap();
            assert_eq!(read.locations.len(), locations);
            assert!(read.complaints[0].contains("too large"));
        }
        let small = Report::default();
        assert_eq!(text(small.clone()), serde_json::to_string(&small).unwrap());
    }
}
