//! How many look-ups a caller and a namespace get, and how many run at a time.
//!
//! Three things are limited, because a flood can come in three ways: tokens of an address (a Pod
//! that forges reviews), tokens of a namespace at an address (a tenant who floods the API server),
//! and places (an API server that answers slowly). A caller that floods uses up its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use crate::decision::Lookup;
use crate::rate_limiter::{Rate, RateLimiter};

/// Tokens of one address. An API server of a cluster with many Velero namespaces needs a fraction.
const RATE_OF_CALLER: Rate = Rate {
    per_second: 200,
    burst: 800,
};

/// Tokens of one namespace at one address. A tool that applies everything in a namespace at once
/// fits into the burst.
const RATE_OF_NAMESPACE: Rate = Rate {
    per_second: 100,
    burst: 400,
};

/// Look-ups at a time, and how many of them one address gets.
const LOOKUPS: Places = Places { all: 16, share: 12 };

/// Look-ups of the Backups of a schedule at a time. Each reads pages of up to 15 MiB.
const LISTS: Places = Places { all: 2, share: 1 };

/// The quotas of all callers.
pub(super) struct Quotas {
    of_callers: Mutex<RateLimiter<Caller>>,
    of_namespaces: Mutex<RateLimiter<(Caller, String)>>,
    lookups: Pool,
    lists: Pool,
}

/// The address that a review came from, if it is known.
type Caller = Option<IpAddr>;

#[derive(Clone, Copy)]
struct Places {
    all: usize,
    share: usize,
}

/// A place among the look-ups that run.
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            of_callers: Mutex::new(RateLimiter::new(RATE_OF_CALLER)),
            of_namespaces: Mutex::new(RateLimiter::new(RATE_OF_NAMESPACE)),
            lookups: Pool::new(LOOKUPS),
            lists: Pool::new(LISTS),
        }
    }
}

impl Quotas {
    /// Waits for the turn of `group`, which needs one read, or returns `None` if it does not come by
    /// `deadline`.
    pub(super) async fn enter(
        &self,
        caller: Caller,
        group: &[Lookup],
        deadline: Instant,
    ) -> Option<Place> {
        let first = group.first()?;
        let now = Instant::now();
        let patience = deadline.saturating_duration_since(now);
        sleep(self.take_tokens(caller, first, now, patience)?).await;
        let pool = match first {
            Lookup::BackupsOfSchedule { .. }
            | Lookup::ListedFiles { .. }
            | Lookup::PodVolumes(_) => &self.lists,
            Lookup::Secret(_)
            | Lookup::Backup(_)
            | Lookup::Bundle(_)
            | Lookup::Records { .. }
            | Lookup::TrustedKeys
            | Lookup::Access { .. } => &self.lookups,
        };
        timeout_at(deadline, pool.enter(caller)).await.ok()?
    }

    /// Takes the tokens of a look-up. Returns how long to wait for them, or `None` if that is longer
    /// than `patience`.
    fn take_tokens(
        &self,
        caller: Caller,
        lookup: &Lookup,
        now: Instant,
        patience: Duration,
    ) -> Option<Duration> {
        let tokens = match lookup {
            Lookup::TrustedKeys | Lookup::Secret(_) | Lookup::Backup(_) => 1,
            // The API server asks its authorizers, of which one may be a webhook.
            Lookup::Access { .. } => 2,
            // A bundle that does not exist is several requests, and so are records of other names.
            Lookup::Records { .. } | Lookup::Bundle(_) => 4,
            Lookup::BackupsOfSchedule { .. }
            | Lookup::ListedFiles { .. }
            | Lookup::PodVolumes(_) => 10,
        };
        let namespace = (caller, namespace(lookup).to_owned());
        let of_namespace = take(&self.of_namespaces, namespace, tokens, now, patience)?;
        let of_caller = take(&self.of_callers, caller, tokens, now, patience)?;
        Some(of_namespace.max(of_caller))
    }
}

fn take<K: Eq + Hash>(
    limiter: &Mutex<RateLimiter<K>>,
    key: K,
    tokens: u32,
    now: Instant,
    patience: Duration,
) -> Option<Duration> {
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    limiter.take(key, tokens, now, patience)
}

fn namespace(lookup: &Lookup) -> &str {
    match lookup {
        Lookup::Secret(reference) => &reference.secret.namespace,
        Lookup::Backup(key)
        | Lookup::Records { backup: key, .. }
        | Lookup::ListedFiles { backup: key, .. }
        | Lookup::PodVolumes(key)
        | Lookup::Access { backup: key, .. } => &key.namespace,
        // Of the cluster.
        Lookup::TrustedKeys => "",
        Lookup::BackupsOfSchedule { namespace, .. } | Lookup::Bundle(namespace) => namespace,
    }
}

/// Places that callers share: none gets more than its share at a time.
struct Pool {
    common: Arc<Semaphore>,
    share: usize,
    /// The places of the callers that use or want some.
    own: Mutex<HashMap<Caller, Arc<Semaphore>>>,
}

impl Pool {
    fn new(places: Places) -> Self {
        Self {
            common: Arc::new(Semaphore::new(places.all)),
            share: places.share,
            own: Mutex::default(),
        }
    }

    /// Waits for a place.
    async fn enter(&self, caller: Caller) -> Option<Place> {
        let own = self.own(caller).acquire_owned().await.ok()?;
        let common = Arc::clone(&self.common).acquire_owned().await.ok()?;
        Some(Place {
            _own: own,
            _common: common,
        })
    }

    fn own(&self, caller: Caller) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit or a waiting call holds a reference.
        own.retain(|_, places| Arc::strong_count(places) > 1);
        let places = own.entry(caller);
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Key, SecretKeyRef};
    use futures::FutureExt as _;

    const HERE: Caller = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn secret(namespace: &str) -> [Lookup; 1] {
        [Lookup::Secret(SecretKeyRef::new(namespace, "ca", "ca.crt"))]
    }

    fn schedule() -> [Lookup; 1] {
        [Lookup::BackupsOfSchedule {
            namespace: "velero".to_owned(),
            schedule: "daily".to_owned(),
        }]
    }

    #[test]
    fn a_flood_uses_up_the_tokens_of_its_own_namespace_and_address() {
        let quotas = Quotas::default();
        let now = Instant::now();
        let passed = |caller, [lookup]: [Lookup; 1]| {
            let take = |_| quotas.take_tokens(caller, &lookup, now, Duration::ZERO);
            (0..2_000).filter_map(take).count()
        };
        assert_eq!(passed(None, secret("a")), 400);
        assert_eq!(passed(None, [Lookup::Bundle("b".to_owned())]), 100);
        assert_eq!(passed(None, schedule()), 0);
        assert_eq!(passed(HERE, [Lookup::Backup(Key::new("a", "b"))]), 400);
        assert_eq!(passed(HERE, schedule()), 40);
        let [lookup] = secret("a");
        let wait = |patience| quotas.take_tokens(None, &lookup, now, patience);
        assert_eq!(wait(Duration::from_millis(9)), None);
        assert_eq!(
            wait(Duration::from_secs(1)),
            Some(Duration::from_millis(10))
        );
    }

    #[test]
    fn a_look_up_waits_for_whichever_tokens_come_later() {
        let quotas = Quotas::default();
        let now = Instant::now();
        let take = |caller, [lookup]: [Lookup; 1]| {
            quotas.take_tokens(caller, &lookup, now, Duration::from_secs(1))
        };
        let ms = |millis| Some(Duration::from_millis(millis));
        // The tokens of the address are used up first: the namespace still has some.
        for number in 0..800 {
            assert_eq!(take(None, secret(&number.to_string())), ms(0));
        }
        assert_eq!(take(None, secret("new")), ms(5));
        // The tokens of the namespace are used up first: the address still has some.
        for _ in 0..400 {
            assert_eq!(take(HERE, secret("a")), ms(0));
        }
        assert_eq!(take(HERE, secret("a")), ms(10));
    }

    #[tokio::test]
    async fn slow_answers_to_one_address_leave_places_for_others() {
        let quotas = Quotas::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        for (lookup, all, share) in [(&secret("a")[..], 16, 12), (&schedule()[..], 2, 1)] {
            let mut held = Vec::new();
            for (caller, places) in [(None, share), (HERE, all - share)] {
                for _ in 0..places {
                    held.push(quotas.enter(caller, lookup, soon()).await.unwrap());
                }
                assert!(quotas.enter(caller, lookup, soon()).await.is_none());
            }
            let later = Instant::now() + Duration::from_secs(20);
            let mut waiting = Box::pin(quotas.enter(HERE, lookup, later));
            assert!((&mut waiting).now_or_never().is_none());
            drop(held);
            assert!(waiting.await.is_some());
        }
        drop(quotas.lookups.own(None));
        assert_eq!(quotas.lookups.own.lock().unwrap().len(), 1);
    }
}
