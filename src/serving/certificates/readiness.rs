//! Whether a replica should be asked: it has a certificate, and the API server verifies it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::admission::webhook_state::{self, Installation, RegisteredWebhook, Verification};
use crate::ca::serving_certificate::ServingCertificate;
use crate::clock;
use crate::kubernetes::events::{EventReason, Events};
use crate::serving::Condition;
use crate::telemetry::Metrics;

/// Time between two Events about the same.
const EVENT_INTERVAL: Duration = Duration::from_hours(1);

/// Longest wait for the webhook configurations, which are not known where nobody may list them.
const CONFIGURATIONS_TIMEOUT: Duration = Duration::from_secs(10);

/// What shows whether the API server verifies the certificate of this replica.
#[derive(Clone)]
pub struct Presented {
    /// Our own namespace.
    pub namespace: String,
    /// The certificate.
    pub certificate: watch::Receiver<Option<ServingCertificate>>,
    /// Whom the API server asks; `None` while that is not known.
    pub webhooks: watch::Receiver<Option<Arc<Vec<RegisteredWebhook>>>>,
}

impl Presented {
    fn verification(&self) -> Verification {
        let (certificate, webhooks) = (self.certificate.borrow(), self.webhooks.borrow());
        let (Some(certificate), Some(webhooks)) = (certificate.as_ref(), webhooks.as_ref()) else {
            return Verification::Everywhere;
        };
        let installation = Installation::presenting(&self.namespace, certificate, clock::now());
        webhook_state::verification(installation, webhooks)
    }

    /// Returns what must hold before the API server should ask this replica. Where some of the webhooks
    /// verify its certificate, it goes on answering those.
    pub fn conditions(&self) -> Vec<Condition> {
        let (known, verified, certificate) = (self.clone(), self.clone(), self.certificate.clone());
        let started = Instant::now();
        vec![
            Condition::new("there is no serving certificate", move || {
                certificate.borrow().is_some()
            }),
            Condition::new("the webhook configurations are not known", move || {
                known.webhooks.borrow().is_some() || started.elapsed() > CONFIGURATIONS_TIMEOUT
            }),
            Condition::new("no caBundle verifies the serving certificate", move || {
                !matches!(verified.verification(), Verification::Nowhere(_))
            }),
        ]
    }
}

/// Tells where the API server does not verify the certificate of this replica.
pub struct Verifier {
    /// What shows it.
    pub presented: Presented,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Writes Events about `about`.
    pub events: Events,
    /// Our own Deployment.
    pub about: ObjectReference,
}

impl Verifier {
    /// Never returns.
    pub async fn run(mut self) {
        let mut told: Option<(String, Instant)> = None;
        loop {
            self.presented.certificate.mark_unchanged();
            self.presented.webhooks.mark_unchanged();
            let refusal = match self.presented.verification() {
                Verification::Everywhere => None,
                Verification::Partly(why) => Some(why),
                Verification::Nowhere(why) => Some(format!("{why}; this replica is not ready")),
            };
            self.metrics
                .certificate_refused
                .set(i64::from(refusal.is_some()));
            let is_told = |why: &String| {
                told.as_ref()
                    .is_some_and(|(told, at)| told == why && at.elapsed() < EVENT_INTERVAL)
            };
            if let Some(why) = refusal.filter(|why| !is_told(why)) {
                tracing::warn!("{why}");
                let reason = EventReason::ServingCertificateRefused;
                self.events.emit(&self.about, reason, &why).await;
                told = Some((why, Instant::now()));
            }
            let again = Instant::now() + EVENT_INTERVAL;
            tokio::select! {
                Ok(()) = self.presented.certificate.changed() => {}
                Ok(()) = self.presented.webhooks.changed() => {}
                () = sleep_until(again) => {}
            }
        }
    }
}
