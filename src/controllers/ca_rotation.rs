//! Keeps the Secret with the CA of the serving certificates, and replaces the CA in time.
//!
//! What is done next is decided by [`rotation::next_step`]. Each step is one write that fails if the
//! Secret is not as it was read, so that of two leaders one takes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::ControllerContext;
use super::activation::TrustedCas;
use crate::ca::certificate::Fingerprint;
use crate::clock;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::serving_ca::{self, ServingCa, ServingCaHandle, Stored};
use crate::names;
use crate::serving_ca::rotation::{self, Facts, Step};
use crate::serving_ca::{Authorities, AuthorityError};
use crate::telemetry::LogOnce;

/// Time between two looks at the clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Longest time for one write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it must have been time to drop the CA before, on a clock that is never set: the wall clock of this
/// node may have jumped, and the other replicas renew their certificates meanwhile.
const DROP_DELAY: Duration = Duration::from_mins(10);

/// Time after which a next CA that is not trusted everywhere is told.
const PATIENCE: Duration = Duration::from_mins(10);

/// Shortest time between two Events about the Secret.
const EVENT_INTERVAL: Duration = Duration::from_mins(10);

/// What is remembered between two looks.
struct Rotation<'c> {
    controllers: &'c ControllerContext,
    handle: &'c ServingCaHandle,
    /// The next CA, and since when every webhook trusts it.
    trusted_since: Option<(Fingerprint, Instant)>,
    /// Since when some webhook does not trust it.
    untrusted_since: Option<Instant>,
    /// Since when the CA before is to be dropped.
    drop_since: Option<Instant>,
    restored_told: Option<Instant>,
    /// Why the next CA does not sign.
    waiting: LogOnce,
    failure: LogOnce,
}

/// What is written, and why.
struct Change {
    authorities: Authorities,
    /// The resourceVersion of the Secret; `None` if there is none.
    version: Option<String>,
    /// Whether a request for a new CA stays.
    keeps_request: bool,
    reason: Option<EventReason>,
    note: String,
}

/// Keeps the CA while this replica leads. Never returns.
pub(super) async fn run(
    controllers: Arc<ControllerContext>,
    mut trusted: watch::Receiver<TrustedCas>,
) {
    let Some(handle) = &controllers.settings.serving_ca else {
        return std::future::pending().await;
    };
    let mut known = handle.subscribe();
    let mut rotation = Rotation::new(&controllers, handle);
    loop {
        let change = {
            let (known, trusted) = (known.borrow_and_update(), trusted.borrow_and_update());
            rotation.change(&known, &trusted, clock::now(), Instant::now())
        };
        match change {
            Ok(Some(change)) => rotation.write(change).await,
            Ok(None) => rotation.failure.clear(),
            Err(error) => rotation.tell_failure(&error.to_string()),
        }
        tokio::select! {
            Ok(()) = known.changed() => {}
            Ok(()) = trusted.changed() => {}
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

impl<'c> Rotation<'c> {
    fn new(controllers: &'c ControllerContext, handle: &'c ServingCaHandle) -> Self {
        Self {
            controllers,
            handle,
            trusted_since: None,
            untrusted_since: None,
            drop_since: None,
            restored_told: None,
            waiting: LogOnce::default(),
            failure: LogOnce::default(),
        }
    }

    /// Returns what is to be written at `now`, in seconds since 1970; `at` is the same on a clock that is
    /// never set.
    fn change(
        &mut self,
        known: &ServingCa,
        trusted: &TrustedCas,
        now: i64,
        at: Instant,
    ) -> Result<Option<Change>, AuthorityError> {
        let Some(held) = known.valid(now) else {
            // Where there is no Secret, the replica that comes first makes it.
            let Stored::Broken { why, version } = &known.stored else {
                return Ok(None);
            };
            let first = Authorities::first(now)?;
            return Ok(Some(Change::broken(&first, version, why)));
        };
        let (version, is_rotation_requested) = match &known.stored {
            Stored::Unknown => return Ok(None),
            Stored::Absent => return Ok(Some(Change::restored(held, None, "was deleted"))),
            Stored::Broken { why, version } => {
                return Ok(Some(Change::broken(held, version, why)));
            }
            Stored::Foreign { version } => {
                let why = "held a CA that is not of this installation";
                return Ok(Some(Change::restored(held, Some(version), why)));
            }
            Stored::Held {
                version,
                is_rotation_requested,
            } => (version, *is_rotation_requested),
        };
        let facts = Facts {
            now,
            is_requested: is_rotation_requested,
            next_trusted_for: self.next_trusted_for(held, trusted, at),
        };
        let step = rotation::next_step(held, facts);
        if step == Some(Step::DropPrevious) {
            let since = *self.drop_since.get_or_insert(at);
            if at.duration_since(since) < DROP_DELAY {
                return Ok(None);
            }
        } else {
            self.drop_since = None;
        }
        let Some(step) = step else {
            return Ok(None);
        };
        Ok(Some(Change {
            authorities: rotation::take(held, step, now)?,
            version: Some(version.clone()),
            // The step that was asked for can be taken after this one.
            keeps_request: is_rotation_requested && step == Step::DropPrevious,
            reason: (step == Step::Promote).then_some(EventReason::ServingCaRotated),
            note: match step {
                Step::AddNext => {
                    "the next CA of the serving certificates was made; it signs once every \
                                  webhook trusts it"
                        .to_owned()
                }
                Step::Promote => {
                    "a new CA issues the serving certificates; the one before is trusted \
                                  until what it issued has expired"
                        .to_owned()
                }
                Step::DropPrevious => {
                    "the CA before is trusted no more: what it issued has expired".to_owned()
                }
            },
        }))
    }

    /// Returns for how many seconds every webhook has trusted the next CA; `None` if one does not, or the
    /// API server did not reach velero-trust since.
    fn next_trusted_for(
        &mut self,
        held: &Authorities,
        trusted: &TrustedCas,
        at: Instant,
    ) -> Option<i64> {
        let Some(next) = held.next() else {
            self.untrusted_since = None;
            return None;
        };
        let next = next.certificate().fingerprint();
        if !trusted.everywhere.contains(&next) {
            self.trusted_since = None;
            let since = *self.untrusted_since.get_or_insert(at);
            if at.duration_since(since) > PATIENCE {
                let why = "the caBundle of some webhook does not have it";
                if self.waiting.is_new(why) {
                    tracing::warn!(
                        why,
                        "the next CA of the serving certificates does not sign; see which tool sets the caBundle of \
                         the webhooks"
                    );
                }
            }
            return None;
        }
        self.untrusted_since = None;
        self.waiting.clear();
        let known = self.trusted_since.filter(|(known, _)| *known == next);
        let (_, since) = *self.trusted_since.insert(known.unwrap_or((next, at)));
        let is_answered = trusted.answered.is_some_and(|at| at > since);
        i64::try_from(at.duration_since(since).as_secs())
            .ok()
            .filter(|_| is_answered)
    }

    async fn write(&mut self, change: Change) {
        let (client, own) = (
            &self.controllers.client,
            &self.controllers.settings.namespace,
        );
        let write = async {
            match &change.version {
                None => serving_ca::create(client, own, &change.authorities).await,
                Some(version) => {
                    let keeps = change.keeps_request;
                    serving_ca::replace(client, own, &change.authorities, version, keeps)
                        .await
                        .map(|()| true)
                }
            }
        };
        match timeout(REQUEST_TIMEOUT, write).await {
            // Another one made it first.
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                self.failure.clear();
                tracing::info!("{}", change.note);
                if let Some(reason) = self.due(change.reason) {
                    let about = self.controllers.own_deployment();
                    let events = &self.controllers.events;
                    events.emit(&about, reason, &change.note).await;
                }
            }
            Ok(Err(error)) => self.tell_failure(&lookup_error(&error).message),
            Err(_) => self.tell_failure("the API server did not answer in time"),
        }
        // Whatever became of it: another leader may have been first.
        self.handle.look();
        // Until it was read again, nothing is known of it.
        sleep(Duration::from_secs(1)).await;
    }

    /// Returns the reason of an Event, unless it was told a moment ago: somebody may go on changing the Secret.
    fn due(&mut self, reason: Option<EventReason>) -> Option<EventReason> {
        if reason == Some(EventReason::ServingCaRestored) {
            let told = self.restored_told;
            if told.is_some_and(|at| at.elapsed() < EVENT_INTERVAL) {
                return None;
            }
            self.restored_told = Some(Instant::now());
        }
        reason
    }

    fn tell_failure(&mut self, why: &str) {
        if self.failure.is_new(why) {
            tracing::error!(
                why,
                "the CA in Secret {}/{} cannot be kept or replaced",
                self.controllers.settings.namespace,
                names::SERVING_CA
            );
        }
    }
}

impl Change {
    /// Replaces what cannot be used.
    fn broken(authorities: &Authorities, version: &String, why: &str) -> Self {
        let why = format!("could not be used: {why}");
        Self::restored(authorities, Some(version), &why)
    }

    /// Writes back what is held, because of what became of the Secret.
    fn restored(held: &Authorities, version: Option<&String>, why: &str) -> Self {
        Self {
            authorities: held.clone(),
            version: version.cloned(),
            keeps_request: false,
            reason: Some(EventReason::ServingCaRestored),
            note: format!("Secret {} {why}; it is written again", names::SERVING_CA),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::Client;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::sources::objects::Objects;

    const NOW: i64 = 1_790_000_000;

    fn known(held: Option<&Authorities>, stored: Stored) -> ServingCa {
        ServingCa {
            held: held.map(|held| Arc::new(held.clone())),
            stored,
            trusted_foreign: None,
        }
    }

    fn held(authorities: &Authorities, is_rotation_requested: bool) -> ServingCa {
        let version = "7".to_owned();
        let stored = Stored::Held {
            version,
            is_rotation_requested,
        };
        known(Some(authorities), stored)
    }

    async fn with_rotation<T>(test: impl AsyncFnOnce(&mut Rotation<'_>) -> T) -> T {
        let roots = watch::channel(None).1;
        let none = service_fn(|_: http::Request<Body>| async {
            Err::<http::Response<Body>, _>(std::io::Error::other("no API server"))
        });
        let client = Client::new(none, "guards");
        let controllers = ControllerContext::for_test(client, Arc::new(Objects::default()), roots);
        let handle = ServingCaHandle::default();
        let mut rotation = Rotation::new(&controllers, &handle);
        test(&mut rotation).await
    }

    #[tokio::test]
    async fn what_became_of_the_secret_is_undone() {
        with_rotation(async |rotation| {
            let ours = Authorities::first(NOW).unwrap();
            let nothing = TrustedCas::default();
            let at = Instant::now();
            let mut change =
                |known: &ServingCa, now| rotation.change(known, &nothing, now, at).unwrap();
            assert!(change(&known(Some(&ours), Stored::Unknown), NOW).is_none());
            // The replica that comes first makes it.
            assert!(change(&known(None, Stored::Absent), NOW).is_none());
            assert!(change(&held(&ours, false), NOW).is_none());
            let deleted = change(&known(Some(&ours), Stored::Absent), NOW).unwrap();
            assert_eq!((deleted.authorities, deleted.version), (ours.clone(), None));
            let version = || "7".to_owned();
            let foreign = Stored::Foreign { version: version() };
            let broken = || Stored::Broken {
                why: "no key".to_owned(),
                version: version(),
            };
            for stored in [foreign, broken()] {
                let written = change(&known(Some(&ours), stored), NOW).unwrap();
                assert_eq!(written.authorities, ours);
                assert_eq!(written.version, Some(version()));
                assert_eq!(written.reason, Some(EventReason::ServingCaRestored));
            }
            let new = change(&known(None, broken()), NOW).unwrap();
            assert!(
                new.note.contains("could not be used: no key"),
                "{}",
                new.note
            );
            // What is held has expired.
            let late = NOW + 400 * 86_400;
            let new = change(&known(Some(&ours), broken()), late).unwrap();
            assert_ne!(new.authorities, ours);
        })
        .await;
    }

    #[tokio::test]
    async fn the_next_one_signs_after_two_minutes_in_every_webhook_and_a_canary() {
        with_rotation(async |rotation| {
            let first = Authorities::first(NOW).unwrap();
            let nothing = TrustedCas::default();
            let at = Instant::now();
            let after = |seconds| at + Duration::from_secs(seconds);
            let asked = rotation.change(&held(&first, true), &nothing, NOW, at);
            let both = asked.unwrap().unwrap().authorities;
            let next = both.next().unwrap().certificate().fingerprint();
            let trusted = |answered| TrustedCas {
                everywhere: BTreeSet::from([next]),
                answered: Some(after(answered)),
            };
            let mut step = |trusted: &TrustedCas, seconds| {
                let change = rotation.change(&held(&both, false), trusted, NOW, after(seconds));
                change.unwrap().map(|change| change.authorities)
            };
            assert_eq!(step(&trusted(0), 0), None);
            assert_eq!(step(&trusted(60), 119), None);
            // Somebody took it away: it begins anew.
            assert_eq!(step(&nothing, 130), None);
            assert_eq!(step(&trusted(60), 140), None);
            assert_eq!(step(&trusted(60), 260), None, "no canary since");
            let done = step(&trusted(200), 260).unwrap();
            assert_eq!(done.signing().certificate().fingerprint(), next);
        })
        .await;
    }

    #[tokio::test]
    async fn a_request_outlives_the_ca_before_which_is_not_dropped_by_a_clock_that_jumps() {
        with_rotation(async |rotation| {
            let first = Authorities::first(NOW).unwrap();
            let both = rotation::take(&first, Step::AddNext, NOW).unwrap();
            let promoted = rotation::take(&both, Step::Promote, NOW).unwrap();
            let nothing = TrustedCas::default();
            let at = Instant::now();
            let later = NOW + 8 * 86_400;
            let mut change = |now, minutes| {
                let at = at + Duration::from_mins(minutes);
                let change = rotation.change(&held(&promoted, true), &nothing, now, at);
                change.unwrap()
            };
            assert!(change(NOW, 0).is_none());
            assert!(change(later, 1).is_none());
            assert!(change(NOW, 2).is_none(), "the clock came back");
            assert!(change(later, 11).is_none());
            let dropped = change(later, 21).unwrap();
            assert_eq!(dropped.authorities.previous(), None);
            assert!(dropped.keeps_request);
        })
        .await;
    }
}
