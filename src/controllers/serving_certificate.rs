//! Publishes the serving certificate of the leader, and tells by Events when it expires soon.
//!
//! Files that nobody renews, and a renewal that fails, have no other sign until calls fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::ControllerContext;
use super::event_deduper::EventDeduper;
use crate::admission::webhook_state::{Issuer, renewal_fix};
use crate::ca::serving_certificate::{ServingCertificate, Validity};
use crate::clock;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::kubernetes::{error, published_certificate};
use crate::telemetry::LogOnce;

/// The wall clock is read again after `resync`: a timer that is set for the expiry would stand still
/// while the machine is suspended.
const TIMING: Timing = Timing {
    debounce: Duration::ZERO,
    min_backoff: Duration::from_secs(5),
    max_backoff: Duration::from_mins(1),
    resync: Some(Duration::from_mins(10)),
};

/// Time after which what somebody changed is published again. It bounds the writes where somebody
/// goes on changing it.
const REPAIR_DELAY: Duration = Duration::from_secs(2);

/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What was published and told last.
struct Reporter<'c> {
    controllers: &'c ControllerContext,
    /// The certificate, and the resourceVersion of the ConfigMap with it.
    published: Option<(ServingCertificate, Option<String>)>,
    told: Option<ServingCertificate>,
    events: EventDeduper<String>,
    failure: LogOnce,
}

/// Tells of the certificate while this replica leads. Never returns. `observed` is the
/// resourceVersion of the ConfigMap with the certificate; `None` if there is none, or it is not ours.
pub(super) async fn run(
    controllers: Arc<ControllerContext>,
    mut observed: watch::Receiver<Option<String>>,
) {
    let mut certificates = controllers.certificate.clone();
    let mut reporter = Reporter {
        controllers: &controllers,
        published: None,
        told: None,
        events: EventDeduper::default(),
        failure: LogOnce::default(),
    };
    let mut worker = Worker::new(TIMING);
    worker.run_now(());
    loop {
        tokio::select! {
            Ok(()) = certificates.changed() => worker.run_now(()),
            Ok(()) = observed.changed() => if !reporter.wrote(observed.borrow_and_update().as_deref()) {
                worker.trigger_after((), REPAIR_DELAY);
            },
            () = worker.next() => {
                let certificate = certificates.borrow_and_update().clone();
                let requeue = match certificate {
                    Some(certificate) => {
                        let version = observed.borrow_and_update().clone();
                        reporter.report(&certificate, version.as_deref()).await
                    }
                    None => Requeue::default(),
                };
                worker.done((), requeue);
            }
        }
    }
}

impl Reporter<'_> {
    /// Returns whether this version of the ConfigMap is the one that was published.
    fn wrote(&self, version: Option<&str>) -> bool {
        let published = self.published.as_ref();
        published.is_some_and(|(_, published)| published.as_deref() == version)
    }

    async fn report(
        &mut self,
        certificate: &ServingCertificate,
        observed: Option<&str>,
    ) -> Requeue {
        let controllers = self.controllers;
        let own = &controllers.settings.namespace;
        let note = note(own, controllers.issuer(), certificate, clock::now());
        let current: Vec<_> = note.into_iter().collect();
        for note in self.events.take_due(current.clone(), Instant::now()) {
            tracing::warn!("{note}");
            self.emit(EventReason::ServingCertificateExpiring, &note)
                .await;
        }
        let told = self.told.replace(certificate.clone());
        if current.is_empty() && told.is_some_and(|told| told != *certificate) {
            let until = certificate.expiry_date();
            let note = format!("a serving certificate that expires on {until} is presented now");
            self.emit(EventReason::ServingCertificateRenewed, &note)
                .await;
        }
        Requeue {
            retry: !self.publish(certificate, observed).await,
            within: self.events.next_due(&current, Instant::now()),
        }
    }

    /// Publishes the certificate, unless the `observed` ConfigMap is the one with it. Returns whether
    /// that succeeded.
    async fn publish(&mut self, certificate: &ServingCertificate, observed: Option<&str>) -> bool {
        let published = self.published.as_ref();
        if published.is_some_and(|(published, _)| published == certificate) && self.wrote(observed)
        {
            return true;
        }
        let ControllerContext {
            client, settings, ..
        } = self.controllers;
        let (own, identity) = (&settings.namespace, &settings.identity);
        let publish = published_certificate::publish(client, own, identity, certificate);
        let why = match timeout(REQUEST_TIMEOUT, publish).await {
            Ok(Ok(version)) => {
                self.published = Some((certificate.clone(), version));
                self.failure.clear();
                return true;
            }
            Ok(Err(error)) => error::lookup_error(&error).message,
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        if self.failure.is_new(&why) {
            tracing::warn!(why, "cannot publish the serving certificate");
        }
        false
    }

    async fn emit(&self, reason: EventReason, note: &str) {
        let about = self.controllers.own_deployment();
        self.controllers.events.emit(&about, reason, note).await;
    }
}

/// Returns what to tell of the certificate at `now`, in seconds since 1970; `None` if it does not
/// expire soon.
fn note(own: &str, issuer: Issuer, certificate: &ServingCertificate, now: i64) -> Option<String> {
    let until = certificate.expiry_date();
    let what = match certificate.validity(now) {
        Validity::Valid => return None,
        Validity::ExpiresSoon => format!("the serving certificate expires on {until}"),
        Validity::Expired => {
            format!("the serving certificate expired on {until}, so every new connection fails")
        }
    };
    Some(format!("{what}; {}", renewal_fix(own, issuer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use velero_trust_testing::pki::Authority;

    #[test]
    fn the_note_says_when_and_what_to_do() {
        let pem = Authority::new("a").unwrap().pem();
        let certificate = ServingCertificate::from_pem(pem.as_bytes()).unwrap();
        let end = certificate.not_after();
        let at = |left: i64| note("guards", Issuer::Files, &certificate, end - left);
        assert_eq!(at(31 * 86_400), None);
        let soon = at(29 * 86_400).unwrap();
        let wanted = "the serving certificate expires on 2120-01-01; run `velero-trust certs \
                      --install --namespace guards`";
        assert!(soon.starts_with(wanted), "{soon}");
        let expired = at(-1).unwrap();
        assert!(
            expired.contains("expired on 2120-01-01, so every new connection fails"),
            "{expired}"
        );
    }
}
