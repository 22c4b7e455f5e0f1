//! Tells whether the API server asks velero-trust: by a metric, the log, and Events on our Deployment.
//!
//! `kubectl replace` or a forced upgrade takes the rules and the caBundle out of the configurations
//! without a sign: everything goes on, and nothing is judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ControllerContext;
use super::activation::Progress;
use super::event_deduper::EventDeduper;
use crate::admission::webhook_state::{
    self, Backend, Installation, ServiceReference, WebhookState, WebhookStatus,
};
use crate::ca::serving_certificate::ServingCertificate;
use crate::clock;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::registered_webhooks::{
    RegisteredWebhooks, SERVICE_NAME_LABEL, backend, is_ready,
};
use crate::kubernetes::watch::Watch;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::WebhookGauges;

/// An installation changes one configuration after the other: the debounce spares an Event on each
/// step.
const TIMING: Timing = Timing {
    debounce: Duration::from_secs(2),
    min_backoff: Duration::from_secs(15),
    max_backoff: Duration::from_secs(15),
    // Certificates expire without any other change.
    resync: Some(Duration::from_mins(1)),
};

/// What is watched.
struct Watches {
    webhooks: RegisteredWebhooks,
    /// The Service of each EndpointSlice in our own namespace, and whether something in it is ready.
    slices: Watch<(String, bool)>,
}

/// The states that were told last.
struct Reporter<'c> {
    controllers: &'c ControllerContext,
    gauges: WebhookGauges,
    known: BTreeMap<&'static str, WebhookStatus>,
    events: EventDeduper<String>,
}

/// Tells of the state while this replica leads. Never returns.
pub(super) async fn run(
    controllers: Arc<ControllerContext>,
    mut progress: watch::Receiver<Progress>,
) {
    let own = &controllers.settings.namespace;
    let mut watches = Watches::new(&controllers.client, own);
    let mut reporter = Reporter {
        gauges: WebhookGauges::new(&controllers.metrics),
        known: BTreeMap::new(),
        events: EventDeduper::default(),
        controllers: &controllers,
    };
    let mut certificates = controllers.certificate.clone();
    let mut worker = Worker::new(TIMING);
    loop {
        tokio::select! {
            () = watches.webhooks.changed() => worker.trigger(()),
            _ = watches.slices.changed() => worker.trigger(()),
            Ok(()) = certificates.changed() => worker.trigger(()),
            Ok(()) = progress.changed() => worker.trigger(()),
            () = worker.next() => {
                let certificate = certificates.borrow_and_update().clone();
                let progress = *progress.borrow_and_update();
                let now = watches.judge(&controllers, certificate.as_ref(), progress);
                let within = match now {
                    Some(now) => reporter.report(now, progress).await,
                    None => None,
                };
                worker.done((), Requeue { retry: false, within });
            }
        }
    }
}

impl Watches {
    fn new(client: &Client, own: &str) -> Self {
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), own);
        Self {
            webhooks: RegisteredWebhooks::watch(client),
            slices: Watch::new(
                slices,
                Config::default(),
                format!("EndpointSlices in namespace {own}"),
                |slice: EndpointSlice| {
                    let service = slice.labels().get(SERVICE_NAME_LABEL)?.clone();
                    Some((service, is_ready(&slice)))
                },
            ),
        }
    }

    /// Returns the state of each webhook; `None` while it is not known yet.
    fn judge(
        &self,
        controllers: &ControllerContext,
        certificate: Option<&ServingCertificate>,
        progress: Progress,
    ) -> Option<Vec<WebhookStatus>> {
        let own = &controllers.settings.namespace;
        let registered = self.webhooks.last_known()?;
        let installation = Installation {
            namespace: own,
            certificate,
            includes_kube_system: controllers.policy.include_kube_system,
            activation: progress.activation(),
            issuer: controllers.issuer(),
            now: clock::now(),
        };
        Some(webhook_state::judge(installation, &registered, |service| {
            self.backend(own, service)
        }))
    }

    fn backend(&self, own: &str, service: &ServiceReference) -> Backend {
        match self.slices.current() {
            Some(slices) if service.namespace == own => {
                let slices = slices.values();
                let of_service = slices.filter(|(name, _)| *name == service.name);
                backend(of_service.map(|(_, is_ready)| *is_ready))
            }
            _ => Backend::Unknown,
        }
    }
}

impl Reporter<'_> {
    /// Tells of what is new in `now`. Returns the time until an Event has to be emitted again.
    async fn report(&mut self, now: Vec<WebhookStatus>, progress: Progress) -> Option<Duration> {
        let states = now.iter().map(|one| (one.webhook, one.state.as_str()));
        self.gauges.set(states);
        // Why a webhook is not made active is told once, by the controller that would do it.
        let is_told =
            |one: &WebhookStatus| progress.is_held() && one.state == WebhookState::NoRules;
        for status in now.iter().filter(|one| !is_told(one)) {
            let before = self.known.insert(status.webhook, status.clone());
            if before.as_ref() == Some(status) {
                continue;
            }
            let (webhook, state) = (status.webhook, status.state.as_str());
            if status.is_problem() {
                let (message, fix) = (&status.message, &status.fix);
                tracing::warn!(webhook, state, fix, "{message}");
            }
            let Some(before) = before.filter(WebhookStatus::is_problem) else {
                continue;
            };
            self.events.forget(&before.to_string());
            if status.state == WebhookState::Active {
                let note = format!("{webhook}: requests are judged by this installation again");
                tracing::info!(webhook, state, "{note}");
                self.emit(EventReason::WebhookActive, &note).await;
            }
        }
        let problems = now.iter().filter(|one| one.is_problem() && !is_told(one));
        let problems: Vec<_> = problems.map(WebhookStatus::to_string).collect();
        for note in self.events.take_due(problems.clone(), Instant::now()) {
            self.emit(EventReason::WebhookInactive, &note).await;
        }
        self.events.next_due(&problems, Instant::now())
    }

    async fn emit(&self, reason: EventReason, note: &str) {
        let about = self.controllers.own_deployment();
        self.controllers.events.emit(&about, reason, note).await;
    }
}
