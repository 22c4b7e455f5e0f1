//! Judges the endpoints of a namespace's BSLs by the bundle of the namespace alone.

mod chain_quota;
mod location;
pub mod probe;
mod probe_outcome;
pub(super) mod prober;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::location::{LocationEndpoints, MAX_TARGETS, read, targets};
use self::probe_outcome::{ProbeOutcome, event_reason, report_endpoint, state, verdict};
use self::prober::{ProbeResults, Prober};
use super::ControllerContext;
use super::channels::{PublishedCertificatesSender, VerdictsSender};
use super::event_deduper::{EventDeduper, EventObject, PendingEvent};
use super::locations::Locations;
use super::report_handle::ReportHandle;
use crate::ca::certificate::Certificate;
use crate::ca::endpoint::judge::judge;
use crate::ca::endpoint::{Endpoint, Target};
use crate::ca::hold::EndpointVerdict;
use crate::clock::now;
use crate::kubernetes::report;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::EndpointGauges;

const TIMING: Timing = Timing {
    debounce: Duration::ZERO,
    min_backoff: Duration::ZERO,
    max_backoff: Duration::ZERO,
    // Certificates expire although nothing else changes.
    resync: Some(Duration::from_mins(5)),
};

/// Judges the endpoints of one namespace.
pub(super) struct EndpointsReconciler {
    controllers: Arc<ControllerContext>,
    namespace: String,
    report: ReportHandle,
    prober: Prober,
    events: EventDeduper<PendingEvent>,
    gauges: EndpointGauges,
}

impl EndpointsReconciler {
    pub(super) fn new(
        controllers: Arc<ControllerContext>,
        namespace: &str,
        report: ReportHandle,
        prober: Prober,
    ) -> Self {
        Self {
            gauges: EndpointGauges::new(&controllers.metrics, namespace),
            namespace: namespace.to_owned(),
            report,
            prober,
            events: EventDeduper::default(),
            controllers,
        }
    }

    /// Judges now and after every change of a location, of the bundle or of the certificates that a
    /// server presents; never returns.
    pub(super) async fn run(
        mut self,
        mut locations: watch::Receiver<Locations>,
        published: &PublishedCertificatesSender,
        verdicts: &VerdictsSender,
    ) {
        let mut published = published.subscribe();
        let mut results = self.prober.results();
        let mut worker = Worker::new(TIMING);
        worker.run_now(());
        let mut targets = BTreeSet::new();
        let mut judged = Arc::<ProbeResults>::default();
        loop {
            tokio::select! {
                Ok(()) = locations.changed() => worker.trigger(()),
                Ok(()) = published.changed() => worker.trigger(()),
                Ok(()) = results.changed() => {
                    let new = results.borrow_and_update();
                    if targets.iter().any(|target| new.get(target) != judged.get(target)) {
                        worker.trigger(());
                    }
                }
                () = worker.next() => {
                    let bsls = read(&self.namespace, &locations.borrow_and_update().clone());
                    let roots = Arc::clone(&published.borrow_and_update());
                    judged = Arc::clone(&results.borrow_and_update());
                    targets = self::targets(&bsls);
                    self.prober
                        .set_wanted(&self.namespace, targets.iter().cloned().collect());
                    // Without a bundle the endpoints cannot be judged.
                    if !roots.is_empty() {
                        self.judge(&bsls, &targets, &roots, &judged, verdicts).await;
                    }
                    worker.done((), Requeue::default());
                }
            }
        }
    }

    async fn judge(
        &mut self,
        bsls: &[LocationEndpoints],
        targets: &BTreeSet<Target>,
        roots: &[Certificate],
        seen: &ProbeResults,
        verdicts: &VerdictsSender,
    ) {
        let now = now();
        // An endpoint that many BSLs name is judged once.
        let mut judged = BTreeMap::<&Target, ProbeOutcome>::new();
        for target in bsls.iter().flat_map(|bsl| &bsl.endpoints) {
            let target = &target.target;
            judged
                .entry(target)
                .or_insert_with(|| match seen.get(target) {
                    None if !targets.contains(target) => {
                        let why = format!("the namespace has more than {MAX_TARGETS} endpoints");
                        ProbeOutcome::Failed(format!("it is not probed: {why}"))
                    }
                    None => ProbeOutcome::Pending,
                    Some(Err(failure)) => ProbeOutcome::Failed(failure.to_string()),
                    Some(Ok(chain)) => {
                        let observation = judge(chain, &target.host, roots, now);
                        ProbeOutcome::Judged(Arc::new(observation))
                    }
                });
        }
        let found = |endpoint: &Endpoint| {
            judged
                .get(&endpoint.target)
                .unwrap_or(&ProbeOutcome::Pending)
        };
        self.report.update(|report| {
            for bsl in bsls {
                let told = bsl.endpoints.iter();
                let told = told.map(|one| report_endpoint(&self.namespace, one, found(one)));
                let told = told.chain(bsl.skipped.iter().filter_map(report::Endpoint::skipped));
                let location = report.locations.entry(bsl.name.clone()).or_default();
                location.endpoints = told.collect();
            }
        });
        let mut states = Vec::new();
        let mut events = Vec::new();
        for bsl in bsls {
            for endpoint in &bsl.endpoints {
                let found = found(endpoint);
                let state = state(found).as_str();
                states.push((bsl.name.clone(), endpoint.url.clone(), state));
                let reason = event_reason(found).filter(|_| endpoint.verified_by_velero);
                events.extend(reason.map(|reason| {
                    let reported = report_endpoint(&self.namespace, endpoint, found);
                    bsl.event(reason, &reported)
                }));
            }
        }
        self.gauges.set(states);
        // What could not be looked at may still be as it was.
        let is_known = |about: &EventObject| match about {
            EventObject::Bundle => false,
            EventObject::Location { name, .. } => {
                let bsl = bsls.iter().find(|bsl| bsl.name == *name);
                let is_judged = |one| matches!(found(one), ProbeOutcome::Judged(_));
                bsl.is_some_and(|bsl| bsl.endpoints.iter().all(is_judged))
            }
        };
        self.events
            .emit_events(&self.controllers.events, &self.namespace, events, is_known)
            .await;
        let decided = bsls.iter().filter_map(|bsl| {
            let store = bsl.endpoints.iter().filter(|one| bsl.breaks_without(one));
            let all: Option<Vec<EndpointVerdict>> = store.map(|one| verdict(found(one))).collect();
            Some((bsl.name.clone(), all?))
        });
        let decided: BTreeMap<_, _> = decided.collect();
        verdicts.send_if_modified(|verdicts| {
            let is_new = verdicts.as_ref() != Some(&decided);
            *verdicts = Some(decided);
            is_new
        });
    }
}

/// The endpoints of a namespace are probed as long as they are judged.
impl Drop for EndpointsReconciler {
    fn drop(&mut self) {
        self.prober.set_wanted(&self.namespace, Vec::new());
    }
}
