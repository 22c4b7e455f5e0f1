//! The report on a Velero namespace, which its reconcilers update.

use std::sync::Arc;

use tokio::sync::watch;

use crate::kubernetes::report::NamespaceReport;

/// Updates the report on one namespace. Clones update the same report.
#[derive(Clone, Debug)]
pub(super) struct ReportHandle(Arc<watch::Sender<NamespaceReport>>);

impl ReportHandle {
    pub(super) fn new(namespace: &str) -> Self {
        let report = NamespaceReport {
            namespace: namespace.to_owned(),
            ..NamespaceReport::default()
        };
        Self(Arc::new(watch::Sender::new(report)))
    }

    /// Applies `change` to the report.
    pub(super) fn update(&self, change: impl FnOnce(&mut NamespaceReport)) {
        self.0.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    /// Marks the report as changed, because the stored one may be missing or from an earlier
    /// leader.
    pub(super) fn mark_changed(&self) {
        self.0.send_modify(|_| {});
    }

    /// Returns a receiver of the report.
    pub(super) fn subscribe(&self) -> watch::Receiver<NamespaceReport> {
        self.0.subscribe()
    }
}
