//! Writes the report on a Velero namespace, which `velero-trust status` reads.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use tokio::sync::watch;
use tokio::time::timeout;

use super::own_config_maps::OwnConfigMaps;
use super::report_handle::ReportHandle;
use crate::controllers::ControllerContext;
use crate::kubernetes::report::{self, Location, NamespaceReport, ReportIssue};
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::kubernetes::{error, owned_config_map};
use crate::names;
use crate::telemetry::LogOnce;

const TIMING: Timing = Timing {
    debounce: Duration::from_millis(500),
    min_backoff: Duration::from_secs(15),
    max_backoff: Duration::from_secs(15),
    resync: None,
};

/// Time after which a report that somebody changed is written again. It bounds the writes where
/// somebody goes on changing it.
const REPAIR_DELAY: Duration = Duration::from_secs(2);

/// Most bytes of a report; a ConfigMap holds 1 MiB.
const MAX_REPORT_BYTES: usize = 900 << 10;

/// Most entries that stay in each list of a report that is too large.
const MAX_LIST_ENTRIES: usize = 3;

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes the report to a ConfigMap in our own namespace after every change, and again if somebody
/// changes or deletes it, which `own` tells. Never returns.
pub(super) async fn write_report(
    controllers: &ControllerContext,
    namespace: &str,
    handle: &ReportHandle,
    mut own: watch::Receiver<OwnConfigMaps>,
) {
    let name = report::name(namespace);
    let config_maps =
        Api::<ConfigMap>::namespaced(controllers.client.clone(), &controllers.settings.namespace);
    let mut changes = handle.subscribe();
    let mut failures = LogOnce::default();
    let mut worker = Worker::new(TIMING);
    // The resourceVersion that the last write made; `None` if the report must be written.
    let mut version = None;
    loop {
        tokio::select! {
            // The sender is in `handle`.
            Ok(()) = changes.changed() => {
                version = None;
                worker.trigger(());
            }
            Ok(()) = own.changed() => if own.borrow_and_update().report != version {
                worker.trigger_after((), REPAIR_DELAY);
            },
            () = worker.next() => {
                if version.is_some() && own.borrow().report == version {
                    // The watch was late, and told of a version before the last write.
                    worker.done((), Requeue::default());
                    continue;
                }
                let text = text(changes.borrow_and_update().clone());
                let written = write(&config_maps, &name, text).await;
                let retry = written.is_err();
                match written {
                    Ok(new) => {
                        version = new;
                        failures.clear();
                    }
                    Err(why) => {
                        version = None;
                        if failures.is_new(&why) {
                            tracing::warn!(why, "cannot write ConfigMap {name}");
                        }
                    }
                }
                worker.done((), Requeue { retry, within: None });
            }
        }
    }
}

/// Writes the report, and returns the resourceVersion that it has then.
async fn write(
    config_maps: &Api<ConfigMap>,
    name: &str,
    text: String,
) -> Result<Option<String>, String> {
    let data = BTreeMap::from([(names::REPORT_KEY.to_owned(), text)]);
    let written = owned_config_map::apply(config_maps, name, data, None);
    match timeout(REQUEST_TIMEOUT, written).await {
        Ok(Ok(version)) => Ok(version),
        Ok(Err(error)) => Err(error::lookup_error(&error).message),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}

/// Returns the report as JSON. Leaves out what does not fit into a ConfigMap, and the report says
/// so.
fn text(mut report: NamespaceReport) -> String {
    let whole = serde_json::to_string(&report).unwrap_or_default();
    if whole.len() <= MAX_REPORT_BYTES {
        return whole;
    }
    for location in report.locations.values_mut() {
        location.certificates.truncate(MAX_LIST_ENTRIES);
        location.findings.truncate(MAX_LIST_ENTRIES);
        for finding in &mut location.findings {
            finding.fix.clear();
        }
        for endpoint in &mut location.endpoints {
            endpoint.fix.clear();
        }
    }
    for extra in &mut report.extra_cas {
        extra.certificates.truncate(MAX_LIST_ENTRIES);
    }
    report.retained.truncate(MAX_LIST_ENTRIES);
    report.issues.push(ReportIssue::ReportTruncated.into());
    let shorter = serde_json::to_string(&report).unwrap_or_default();
    if shorter.len() <= MAX_REPORT_BYTES {
        return shorter;
    }
    for location in report.locations.values_mut() {
        *location = Location {
            held: location.held.take(),
            ..Location::default()
        };
    }
    report.extra_cas.clear();
    serde_json::to_string(&report).unwrap_or_default()
}

/// Deletes the report on a namespace that is no longer Velero's.
pub(super) async fn delete_report(controllers: &ControllerContext, namespace: &str) {
    let own = &controllers.settings.namespace;
    let config_maps = Api::<ConfigMap>::namespaced(controllers.client.clone(), own);
    let name = report::name(namespace);
    let params = DeleteParams::default();
    let deleted = owned_config_map::delete(&config_maps, &name, &params);
    if let Ok(Err(error)) = timeout(REQUEST_TIMEOUT, deleted).await {
        tracing::debug!(%error, "cannot delete ConfigMap {name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Severity;
    use crate::kubernetes::report::{Certificate, Finding};

    #[test]
    fn a_report_that_is_too_large_says_what_it_leaves_out() {
        let certificate = Certificate {
            subject: "s".repeat(80),
            fingerprint: "f".repeat(64),
            not_after: "2026-01-01T00:00:00Z".to_owned(),
        };
        let finding = Finding {
            rule: String::new(),
            severity: Severity::Deny,
            path: String::new(),
            message: "m".repeat(300),
            fix: "f".repeat(300),
        };
        for (locations, findings) in [(100, 1), (500, 20), (2000, 20)] {
            let location = Location {
                certificates: vec![certificate.clone(); 140],
                findings: vec![finding.clone(); findings],
                ..Location::default()
            };
            let mut report = NamespaceReport::default();
            for number in 0..locations {
                let name = format!("location-{number}");
                report.locations.insert(name, location.clone());
            }
            let text = text(report);
            assert!(
                text.len() <= MAX_REPORT_BYTES,
                "{locations}: {}",
                text.len()
            );
            let read: NamespaceReport = serde_json::from_str(&text).unwrap();
            assert_eq!(read.locations.len(), locations);
            assert_eq!(read.issues, [ReportIssue::ReportTruncated.into()]);
        }
        let small = NamespaceReport::default();
        assert_eq!(text(small.clone()), serde_json::to_string(&small).unwrap());
    }
}
