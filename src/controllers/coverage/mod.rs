//! Audits which Pods of one Velero namespace carry the injection. A metric and Events on the
//! workloads that create the Pods show the result.

mod audit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher::Config;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use self::audit::{Audit, CoverageIssues};
use super::ControllerContext;
use super::event_deduper::EventDeduper;
use super::observed_bundle::ObservedBundle;
use crate::injection::coverage::State;
use crate::kubernetes::events::{EventReason, Events};
use crate::kubernetes::watch::Watch;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::kubernetes::workloads::{self, Kind, RunningPod, Workload, WorkloadTemplate};
use crate::telemetry::PodGauges;

const TIMING: Timing = Timing {
    // A rollout creates and deletes many Pods at once.
    debounce: Duration::from_secs(1),
    min_backoff: Duration::ZERO,
    max_backoff: Duration::ZERO,
    resync: None,
};

/// Audits one namespace. Only the leader should run it, because each replica that does emits its
/// own Events.
pub(super) struct CoverageReconciler {
    namespace: String,
    recorder: Events,
    gauges: PodGauges,
    pods: Watch<RunningPod>,
    deployments: Watch<WorkloadTemplate>,
    daemon_sets: Watch<WorkloadTemplate>,
    events: EventDeduper<(Workload, State)>,
    /// The workloads that had an issue when they were last audited.
    with_issues: BTreeSet<Workload>,
}

impl CoverageReconciler {
    pub(super) fn new(controllers: &Arc<ControllerContext>, namespace: &str) -> Self {
        let client = &controllers.client;
        let templates = |kind: Kind| {
            let objects = kind.api(client.clone(), namespace);
            let subject = format!("{}s in namespace {namespace}", kind.as_str());
            Watch::of_text(
                objects,
                Config::default(),
                subject,
                WorkloadTemplate::from_json,
            )
        };
        let pods = workloads::pods(client.clone(), namespace);
        let subject = format!("Pods in namespace {namespace}");
        Self {
            pods: Watch::of_text(pods, Config::default(), subject, RunningPod::from_json),
            deployments: templates(Kind::Deployment),
            daemon_sets: templates(Kind::DaemonSet),
            gauges: PodGauges::new(&controllers.metrics, namespace),
            namespace: namespace.to_owned(),
            recorder: controllers.events.clone(),
            events: EventDeduper::default(),
            with_issues: BTreeSet::new(),
        }
    }

    /// Audits now and after every change; never returns. The metrics of the namespace are removed
    /// when this future is dropped.
    pub(super) async fn run(mut self, mut bundle: Receiver<ObservedBundle>) {
        let mut worker = Worker::new(TIMING);
        worker.run_now(());
        loop {
            tokio::select! {
                _ = self.pods.changed() => worker.trigger(()),
                _ = self.deployments.changed() => worker.trigger(()),
                _ = self.daemon_sets.changed() => worker.trigger(()),
                Ok(()) = bundle.changed() => worker.trigger(()),
                () = worker.next() => {
                    let observed = bundle.borrow_and_update().clone();
                    let within = self.reconcile(&observed).await;
                    worker.done((), Requeue { retry: false, within });
                }
            }
        }
    }

    /// Returns the time until an Event has to be emitted again.
    async fn reconcile(&mut self, bundle: &ObservedBundle) -> Option<Duration> {
        let audit = Audit {
            bundle: audit::bundle_summary(bundle),
            pods: self.pods.current(),
            deployments: self.deployments.current(),
            daemon_sets: self.daemon_sets.current(),
        };
        set_gauges(&mut self.gauges, &audit);
        // While something is not known, no issue is new or resolved.
        let issues = audit.issues(&self.namespace)?;
        let due = self.events.take_due(issues.keys().cloned(), Instant::now());
        let with_issues = issues.keys().map(|(workload, _)| workload.clone());
        let before = std::mem::replace(&mut self.with_issues, with_issues.collect());
        let resolved: Vec<_> = before.difference(&self.with_issues).collect();
        emit_events(
            &self.recorder,
            &self.namespace,
            &audit,
            &issues,
            &due,
            &resolved,
        )
        .await;
        self.events.next_due(issues.keys(), Instant::now())
    }
}

/// Emits and logs the issues that are due, and the workloads whose issues are resolved.
async fn emit_events(
    recorder: &Events,
    namespace: &str,
    audit: &Audit<'_>,
    issues: &CoverageIssues,
    due: &[(Workload, State)],
    resolved: &[&Workload],
) {
    for key in due {
        let Some(issue) = issues.get(key) else {
            continue;
        };
        let (workload, state) = key;
        tracing::warn!(%workload, %state, "{}", issue.note);
        if let Some(uid) = &issue.uid {
            let about = workload.reference(namespace, uid);
            recorder.emit(&about, reason(*state), &issue.note).await;
        }
    }
    for workload in resolved {
        // A workload that was deleted needs no Event.
        let Some(uid) = audit.uid(workload) else {
            continue;
        };
        tracing::info!(%workload, "its Pods carry the CA bundle");
        let about = workload.reference(namespace, uid);
        let note = "All of its Pods carry the CA bundle";
        recorder
            .emit(&about, EventReason::CaBundleCurrent, note)
            .await;
    }
}

/// Returns the reason of an Event.
const fn reason(state: State) -> EventReason {
    match state {
        State::Current => EventReason::CaBundleCurrent,
        State::Uninjected => EventReason::CaBundleNotInjected,
        State::Conflicting => EventReason::CaBundleConflict,
        State::OptedOut => EventReason::CaBundleOptedOut,
        State::Stale => EventReason::CaBundleStale,
    }
}

/// Sets the number of Pods in each state. While it is not known, the metric has no series.
fn set_gauges(gauges: &mut PodGauges, audit: &Audit<'_>) {
    match audit.tally() {
        Some(tally) => gauges.set(State::ALL.map(|state| (state.as_str(), tally.count(state)))),
        None => gauges.clear(),
    }
}
