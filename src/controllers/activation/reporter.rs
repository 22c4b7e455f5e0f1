//! Tells what became of the activation: by Events on our Deployment, the log, a metric, and a ConfigMap
//! that `velero-trust status` and `doctor` read.

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{CANARY_INTERVAL, CaSource, Progress, REQUEST_TIMEOUT};
use crate::admission::activation::{Canary, Held, Outcome, Plan};
use crate::controllers::ControllerContext;
use crate::controllers::event_deduper::EventDeduper;
use crate::kubernetes::error;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::published_activation::{self, ActivationReport, CanaryReport};
use crate::kubernetes::webhook_configurations::WebhookConfiguration;
use crate::telemetry::{CanaryGauge, LogOnce};

/// What was told last.
pub(super) struct Reporter<'c> {
    controllers: &'c ControllerContext,
    progress: watch::Sender<Progress>,
    gauge: CanaryGauge,
    told: Option<String>,
    events: EventDeduper<(EventReason, String)>,
    published: Option<(ActivationReport, Instant)>,
    failure: LogOnce,
    made_active: usize,
}

impl<'c> Reporter<'c> {
    pub(super) fn new(
        controllers: &'c ControllerContext,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self {
            gauge: CanaryGauge::new(&controllers.metrics),
            controllers,
            progress,
            told: None,
            events: EventDeduper::default(),
            published: None,
            failure: LogOnce::default(),
            made_active: 0,
        }
    }

    /// Tells of a configuration that was changed; `was_active` if it was active before.
    pub(super) async fn changed(&mut self, configuration: &WebhookConfiguration, was_active: bool) {
        if configuration.is_canary() {
            tracing::info!("{configuration}: rules and caBundle are set");
            return;
        }
        if !was_active {
            self.made_active += 1;
            tracing::info!("{configuration} is active");
            return;
        }
        let note = format!(
            "somebody changed the rules or the caBundle of {configuration}; they are set again"
        );
        tracing::warn!("{note}");
        self.emit_due(EventReason::WebhookRestored, note).await;
    }

    /// Tells what holds the activation up, or that it is done. `failure` is a write that failed.
    pub(super) async fn report(
        &mut self,
        plan: &Plan,
        canary: &Canary,
        ca: &CaSource,
        failure: Option<&str>,
    ) {
        let held = failure.map(str::to_owned);
        let fix = plan.held.as_ref().map(Held::fix);
        let held = held.or_else(|| plan.held.as_ref().map(Held::to_string));
        let fix = fix.filter(|_| failure.is_none());
        let waits = plan.waits_for_canary || !plan.changes.is_empty();
        let progress = match held {
            Some(_) => Progress::Held,
            None if waits => Progress::Pending,
            None => Progress::Active,
        };
        let last = canary.last();
        self.gauge.set(last.map(|heard| heard.outcome.as_str()));
        if let Some(held) = &held {
            let note = fix.as_ref().map(|fix| format!("{held}; {fix}"));
            let note = note.unwrap_or_else(|| held.clone());
            let is_expected = plan.held.as_ref().is_some_and(Held::is_expected);
            self.tell(note, is_expected, EventReason::WebhooksHeld)
                .await;
        } else if progress == Progress::Active {
            self.tell_active(canary).await;
        }
        let report = ActivationReport {
            by_leader: true,
            held,
            fix,
            canary: last.map(|heard| CanaryReport {
                result: heard.outcome.as_str().to_owned(),
                said: heard.said.clone(),
                cause: heard.outcome.cause().to_owned(),
            }),
            serving_ca: ca.report(),
        };
        self.advance(progress);
        self.publish(report).await;
    }

    /// Tells that webhooks are made active by command. Never returns.
    pub(super) async fn report_off(mut self) {
        self.advance(Progress::ByCommand);
        loop {
            self.publish(ActivationReport::default()).await;
            sleep(CANARY_INTERVAL).await;
        }
    }

    fn advance(&self, progress: Progress) {
        self.progress.send_if_modified(|known| {
            let is_new = *known != progress;
            *known = progress;
            is_new
        });
    }

    /// Tells that all is active, or that it is and the API server does not reach it any more.
    async fn tell_active(&mut self, canary: &Canary) {
        let failed = canary.last();
        if let Some(heard) = failed.filter(|heard| heard.outcome != Outcome::Answered) {
            let note = format!(
                "the API server does not reach velero-trust any more: {heard}; {}",
                heard.outcome.cause()
            );
            return self.tell(note, false, EventReason::CanaryUnanswered).await;
        }
        let made_active = std::mem::take(&mut self.made_active);
        let was_held = self.told.take().is_some();
        if made_active > 0 {
            let note = format!(
                "the API server reaches velero-trust: {made_active} webhook configurations were made active"
            );
            tracing::info!("{note}");
            self.emit(EventReason::WebhooksActivated, &note).await;
        } else if was_held {
            tracing::info!("the API server reaches velero-trust, and all webhooks are active");
        }
    }

    async fn tell(&mut self, note: String, is_expected: bool, reason: EventReason) {
        if self.told.as_ref() != Some(&note) {
            if is_expected {
                tracing::info!("{note}");
            } else {
                tracing::warn!("{note}");
            }
        }
        self.told = Some(note.clone());
        if !is_expected {
            self.emit_due(reason, note).await;
        }
    }

    async fn emit_due(&mut self, reason: EventReason, note: String) {
        for (reason, note) in self.events.take_due([(reason, note)], Instant::now()) {
            self.emit(reason, &note).await;
        }
    }

    async fn emit(&self, reason: EventReason, note: &str) {
        let about = self.controllers.own_deployment();
        self.controllers.events.emit(&about, reason, note).await;
    }

    /// Publishes the report if it is new, and from time to time, because somebody may have deleted it.
    async fn publish(&mut self, report: ActivationReport) {
        let is_fresh = |(published, at): &(ActivationReport, Instant)| {
            *published == report && at.elapsed() < CANARY_INTERVAL
        };
        if self.published.as_ref().is_some_and(is_fresh) {
            return;
        }
        let ControllerContext {
            client, settings, ..
        } = self.controllers;
        let write =
            published_activation::publish(client, &settings.namespace, &settings.identity, &report);
        let why = match timeout(REQUEST_TIMEOUT, write).await {
            Ok(Ok(())) => {
                self.published = Some((report, Instant::now()));
                self.failure.clear();
                return;
            }
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        if self.failure.is_new(&why) {
            tracing::warn!(why, "cannot publish what became of the activation");
        }
    }
}
