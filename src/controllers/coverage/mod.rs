//! The audit of one Velero namespace: which of its Pods carry the injection, told by metric and by
//! Events on the workloads that make them.

mod audit;
mod projection;
mod said;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Client;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

use self::audit::{Audit, CoverageIssues};
use self::said::Said;
use crate::controllers::bundles::ObservedBundle;
use crate::injection::coverage::State;
use crate::kubernetes::events::Events;
use crate::telemetry::{Metrics, PodGauges};

/// How long changes are gathered: a rollout makes and removes many Pods at once.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Audits the Velero namespace `namespace`. Ends only when its task is cancelled, and then takes
/// the namespace's series out of the metrics. One replica of velero-trust should run it: each that
/// does writes its own Events.
pub(super) async fn run(
    client: Client,
    namespace: String,
    bundle: Receiver<ObservedBundle>,
    metrics: Arc<Metrics>,
    events: Events,
) {
    let mut heard = watch::all(&client, &namespace, bundle);
    let mut gauges = PodGauges::new(&metrics, &namespace);
    let mut audit = Audit::default();
    let mut said = Said::default();
    loop {
        let issues = audit.issues(&namespace);
        show(&mut gauges, &audit);
        speak(&audit, &issues, &mut said, &namespace, &events).await;

        let again = said.next(&issues);
        let mut changed = false;
        while !changed {
            tokio::select! {
                heard = heard.next() => match heard {
                    Some(heard) => changed = audit.take(heard),
                    None => return,
                },
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    changed = true;
                }
            }
        }
        let soon = sleep(DEBOUNCE);
        tokio::pin!(soon);
        loop {
            tokio::select! {
                heard = heard.next() => match heard {
                    Some(heard) => {
                        audit.take(heard);
                    }
                    None => return,
                },
                () = &mut soon => break,
            }
        }
    }
}

/// Says what is due, as Events and in the log.
async fn speak(
    audit: &Audit,
    issues: &CoverageIssues,
    said: &mut Said,
    namespace: &str,
    events: &Events,
) {
    let due = said.due(issues, Instant::now());
    for key in due.issues {
        let Some(issue) = issues.get(&key) else {
            continue;
        };
        let (workload, state) = &key;
        tracing::warn!(%namespace, %workload, %state, "{}", issue.note);
        if let Some(uid) = &issue.uid {
            let about = workload.reference(namespace, uid);
            events.warning(&about, reason(*state), &issue.note).await;
        }
    }
    for workload in due.over {
        // What is not there any more needs no good news.
        let Some(uid) = audit.uid(&workload) else {
            continue;
        };
        tracing::info!(%namespace, %workload, "its Pods carry the CA bundle");
        let about = workload.reference(namespace, uid);
        let note = "All of its Pods carry the CA bundle";
        events.normal(&about, "CABundleCurrent", note).await;
    }
}

/// The reason of an Event.
const fn reason(state: State) -> &'static str {
    match state {
        State::Current => "CABundleCurrent",
        State::Uninjected => "CABundleNotInjected",
        State::Conflicting => "CABundleConflict",
        State::OptedOut => "CABundleOptedOut",
        State::Stale => "CABundleStale",
    }
}

/// Shows how many Pods are in which state; nothing while that is not known.
fn show(gauges: &mut PodGauges, audit: &Audit) {
    match audit.tally() {
        Some(tally) => gauges.set(State::ALL.map(|state| (state.as_str(), tally.of(state)))),
        None => gauges.clear(),
    }
}
