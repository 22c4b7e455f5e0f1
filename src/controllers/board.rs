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
use crate::kubernetes::report::{self, Report};
use crate::kubernetes::trouble;
use crate::names;

/// How long changes are gathered before the report is written.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// How long until a report that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(15);

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
            let text = serde_json::to_string(&report).unwrap_or_default();
            let data = BTreeMap::from([(names::REPORT_KEY.to_owned(), text)]);
            let why = match timeout(LONGEST, store::apply(&maps, &name, data)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => trouble::reason(&error).message,
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
