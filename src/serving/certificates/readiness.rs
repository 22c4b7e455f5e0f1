//! Whether a replica should be asked: it has a certificate, and the API server verifies it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::admission::webhook_state::{Installation, RegisteredWebhook, unverified};
use crate::ca::serving_certificate::ServingCertificate;
use crate::clock;
use crate::kubernetes::events::{EventReason, Events};
use crate::serving::Condition;
use crate::telemetry::Metrics;

/// Time between two Events about the same.
const EVENT_INTERVAL: Duration = Duration::from_hours(1);

/// Follows whether the API server verifies the certificate of this replica.
pub struct Verification {
    /// Our own namespace.
    pub namespace: String,
    /// The certificate.
    pub certificate: watch::Receiver<Option<ServingCertificate>>,
    /// Whom the API server asks; `None` while that is not known.
    pub webhooks: watch::Receiver<Option<Arc<Vec<RegisteredWebhook>>>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Writes Events about `about`.
    pub events: Events,
    /// Our own Deployment.
    pub about: ObjectReference,
    /// Receives why it does not; `None` if it does, as far as known.
    pub refusal: watch::Sender<Option<String>>,
}

impl Verification {
    /// Never returns.
    pub async fn run(mut self) {
        let mut told: Option<(String, Instant)> = None;
        loop {
            let refusal = self.refusal();
            self.metrics
                .certificate_refused
                .set(i64::from(refusal.is_some()));
            self.refusal.send_replace(refusal.clone());
            let is_told = |why: &String| {
                told.as_ref()
                    .is_some_and(|(told, at)| told == why && at.elapsed() < EVENT_INTERVAL)
            };
            if let Some(why) = refusal.filter(|why| !is_told(why)) {
                tracing::warn!("this replica is not ready: {why}");
                let reason = EventReason::ServingCertificateRefused;
                self.events.emit(&self.about, reason, &why).await;
                told = Some((why, Instant::now()));
            }
            let again = Instant::now() + EVENT_INTERVAL;
            tokio::select! {
                Ok(()) = self.certificate.changed() => {}
                Ok(()) = self.webhooks.changed() => {}
                () = sleep_until(again) => {}
            }
        }
    }

    fn refusal(&mut self) -> Option<String> {
        let certificate = self.certificate.borrow_and_update();
        let webhooks = self.webhooks.borrow_and_update();
        let (certificate, webhooks) = (certificate.as_ref()?, webhooks.as_ref()?);
        let installation = Installation::presenting(&self.namespace, certificate, clock::now());
        unverified(installation, webhooks).map(|webhook| webhook.message)
    }
}

/// Returns what must hold before the API server should ask this replica.
pub fn conditions(
    certificate: watch::Receiver<Option<ServingCertificate>>,
    refusal: watch::Receiver<Option<String>>,
) -> Vec<Condition> {
    vec![
        Condition::new("there is no serving certificate", move || {
            certificate.borrow().is_some()
        }),
        Condition::new(
            "the caBundle of a webhook does not verify the serving certificate",
            move || refusal.borrow().is_none(),
        ),
    ]
}
