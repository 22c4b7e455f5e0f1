//! Judges the endpoints of a namespace's BSLs by the bundle of the namespace alone.

mod chain_quota;
mod location;
pub mod probe;
mod probe_outcome;
pub(super) mod prober;
mod reprobe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::location::{LocationEndpoints, MAX_TARGETS, read, targets};
use self::probe_outcome::{ProbeOutcome, event_reason, report_endpoint, state, verdict};
use self::prober::{ProbeResults, Prober};
use self::reprobe::{Novelty, Phases, ProbeRequest, turned};
use super::ControllerContext;
use super::channels::{PublishedCertificatesSender, VerdictsSender};
use super::event_deduper::{EventDeduper, EventObject, PendingEvent};
use super::locations::Locations;
use super::own_config_maps::OwnConfigMaps;
use super::report_handle::ReportHandle;
use crate::ca::certificate::Certificate;
use crate::ca::endpoint::judge::judge;
use crate::ca::endpoint::{Endpoint, Target};
use crate::ca::hold::EndpointVerdict;
use crate::clock::now;
use crate::kubernetes::report;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::{EndpointGauge, EndpointGauges};

const TIMING: Timing = Timing {
    debounce: Duration::ZERO,
    min_backoff: Duration::ZERO,
    max_backoff: Duration::ZERO,
    // Certificates expire although nothing else changes.
    resync: Some(Duration::from_mins(5)),
};

/// How long the time of a probe that found the same as before may wait until it is reported, so that
/// many endpoints do not cause a write each.
const TIME_REPORT_DELAY: Duration = Duration::from_secs(30);

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
    /// server presents; never returns. `own` brings requests for a probe.
    pub(super) async fn run(
        mut self,
        mut locations: watch::Receiver<Locations>,
        mut own: watch::Receiver<OwnConfigMaps>,
        published: &PublishedCertificatesSender,
        verdicts: &VerdictsSender,
    ) {
        let mut published = published.subscribe();
        let mut results = self.prober.results();
        let mut worker = Worker::new(TIMING);
        worker.run_now(());
        let mut targets = BTreeSet::new();
        let mut phases = Phases::new();
        let mut judged = Arc::<ProbeResults>::default();
        // A request that an earlier leader did not answer is done after the first probes.
        let mut last_request = own.borrow_and_update().probe_request.clone();
        let mut request = last_request.clone().map(|text| ProbeRequest::new(text, 0));
        loop {
            tokio::select! {
                Ok(()) = locations.changed() => worker.trigger(()),
                Ok(()) = published.changed() => worker.trigger(()),
                Ok(()) = own.changed() => {
                    let asked = own.borrow_and_update().probe_request.clone();
                    if asked != last_request && let Some(text) = asked {
                        request = Some(ProbeRequest::new(text.clone(), self.prober.last_begun()));
                        last_request = Some(text);
                        self.prober.expedite(targets.iter().cloned().collect());
                        worker.trigger(());
                    }
                }
                Ok(()) = results.changed() => {
                    match Novelty::of(&targets, &judged, &results.borrow_and_update()) {
                        Novelty::Nothing => {}
                        Novelty::Time if request.is_none() => {
                            worker.trigger_after((), TIME_REPORT_DELAY);
                        }
                        Novelty::Time | Novelty::Finding => worker.trigger(()),
                    }
                }
                () = worker.next() => {
                    let bsls = read(&self.namespace, &locations.borrow_and_update().clone());
                    let roots = Arc::clone(&published.borrow_and_update());
                    judged = Arc::clone(&results.borrow_and_update());
                    targets = self::targets(&bsls);
                    self.prober
                        .set_wanted(&self.namespace, targets.iter().cloned().collect());
                    let turned = turned(&phases, &bsls);
                    if !turned.is_empty() {
                        self.prober.expedite(turned);
                    }
                    let now = bsls.iter().map(|bsl| (bsl.name.clone(), bsl.phase.clone()));
                    phases = now.collect();
                    // Without a bundle the endpoints cannot be judged.
                    if !roots.is_empty() {
                        self.judge(&bsls, &targets, &roots, &judged, verdicts).await;
                    }
                    if let Some(done) = request.take_if(|one| one.is_done(&targets, &judged)) {
                        self.report.update(|report| report.probe_request_done = Some(done.text));
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
                    Some(record) => match &record.result {
                        Err(failure) => ProbeOutcome::Failed(failure.to_string()),
                        Ok(chain) => {
                            let observation = judge(chain, &target.host, roots, now);
                            ProbeOutcome::Judged(Arc::new(observation))
                        }
                    },
                });
        }
        let probed_at = |endpoint: &Endpoint| seen.get(&endpoint.target).map(|record| record.at);
        let found = |endpoint: &Endpoint| {
            judged
                .get(&endpoint.target)
                .unwrap_or(&ProbeOutcome::Pending)
        };
        self.report.update(|report| {
            for bsl in bsls {
                let told = bsl.endpoints.iter();
                let told = told
                    .map(|one| report_endpoint(&self.namespace, one, found(one), probed_at(one)));
                let told = told.chain(bsl.skipped.iter().filter_map(report::Endpoint::skipped));
                let location = report.locations.entry(bsl.name.clone()).or_default();
                location.endpoints = told.collect();
            }
        });
        let mut gauges = Vec::new();
        let mut events = Vec::new();
        for bsl in bsls {
            for endpoint in &bsl.endpoints {
                let found = found(endpoint);
                let state = state(found).as_str();
                gauges.push(EndpointGauge {
                    location: &bsl.name,
                    url: &endpoint.url,
                    state,
                    probed_at: probed_at(endpoint),
                });
                let reason = event_reason(found).filter(|_| endpoint.verified_by_velero);
                events.extend(reason.map(|reason| {
                    let reported =
                        report_endpoint(&self.namespace, endpoint, found, probed_at(endpoint));
                    bsl.event(reason, &reported)
                }));
            }
        }
        self.gauges.set(&gauges);
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

/// Says of every request for a probe that it is done, where endpoints are not probed. Never returns.
pub(super) async fn answer_requests(
    report: &ReportHandle,
    mut own: watch::Receiver<OwnConfigMaps>,
) {
    loop {
        let request = own.borrow_and_update().probe_request.clone();
        report.update(|report| report.probe_request_done = request);
        if own.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The endpoints of a namespace are probed as long as they are judged.
impl Drop for EndpointsReconciler {
    fn drop(&mut self) {
        self.prober.set_wanted(&self.namespace, Vec::new());
    }
}
