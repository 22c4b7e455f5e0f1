//! How many look-ups a caller and a namespace get, and how many run at a time.
//!
//! Three things are limited, because a flood can come in three ways: tokens of an address (a Pod
//! that forges reviews), tokens of a namespace at an address (a tenant who floods the API server),
//! and places (an API server that answers slowly). A caller that floods uses up its own. What reads much,
//! and what somebody else than the API server answers, has places of its own: a slow bucket holds up
//! nobody who restores from another one.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use crate::decision::{Key, Lookup};
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

/// Lists of PodVolumeBackups at a time. Each keeps up to 4 MiB.
const POD_VOLUMES: Places = Places { all: 4, share: 3 };

/// Lists of buckets at a time. Each needs up to 10 MiB, and up to 3 s where the store is slow.
const BUCKETS: Places = Places { all: 8, share: 6 };

/// Of them, those of one location.
const BUCKETS_OF_LOCATION: usize = 2;

/// The quotas of all callers.
pub(super) struct Quotas {
    of_callers: Mutex<RateLimiter<Caller>>,
    of_namespaces: Mutex<RateLimiter<(Caller, String)>>,
    lookups: Pool,
    lists: Pool,
    pod_volumes: Pool,
    buckets: Pool,
    locations: Shares<Key>,
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
    _location: Option<OwnedSemaphorePermit>,
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
            pod_volumes: Pool::new(POD_VOLUMES),
            buckets: Pool::new(BUCKETS),
            locations: Shares::new(BUCKETS_OF_LOCATION),
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
        timeout_at(deadline, self.place(caller, first)).await.ok()?
    }

    /// Waits for a place of `lookup`.
    async fn place(&self, caller: Caller, lookup: &Lookup) -> Option<Place> {
        let pool = match lookup {
            Lookup::ListedFiles { backup, location } => {
                let location = Key::new(&backup.namespace, location);
                // Who waits for a slow location takes no place of others meanwhile.
                let location = self.locations.enter(location).await?;
                let place = self.buckets.enter(caller).await?;
                return Some(Place {
                    _location: Some(location),
                    ..place
                });
            }
            Lookup::BackupsOfSchedule { .. } => &self.lists,
            Lookup::PodVolumes(_) => &self.pod_volumes,
            Lookup::Secret(_)
            | Lookup::Backup(_)
            | Lookup::Bundle(_)
            | Lookup::Records { .. }
            | Lookup::SignedBackups { .. }
            | Lookup::LostBackups { .. }
            | Lookup::TrustedKeys
            | Lookup::Access { .. } => &self.lookups,
        };
        pool.enter(caller).await
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
            Lookup::Records { .. }
            | Lookup::SignedBackups { .. }
            | Lookup::LostBackups { .. }
            | Lookup::Bundle(_) => 4,
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
        Lookup::BackupsOfSchedule { namespace, .. }
        | Lookup::SignedBackups { namespace, .. }
        | Lookup::LostBackups { namespace, .. }
        | Lookup::Bundle(namespace) => namespace,
    }
}

/// Places that callers share: none gets more than its share at a time.
struct Pool {
    common: Arc<Semaphore>,
    own: Shares<Caller>,
}

impl Pool {
    fn new(places: Places) -> Self {
        Self {
            common: Arc::new(Semaphore::new(places.all)),
            own: Shares::new(places.share),
        }
    }

    /// Waits for a place.
    async fn enter(&self, caller: Caller) -> Option<Place> {
        let own = self.own.enter(caller).await?;
        let common = Arc::clone(&self.common).acquire_owned().await.ok()?;
        Some(Place {
            _location: None,
            _own: own,
            _common: common,
        })
    }
}

/// The places of those who use or want some, the same number for each.
struct Shares<K> {
    share: usize,
    own: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    fn new(share: usize) -> Self {
        let own = Mutex::new(HashMap::new());
        Self { share, own }
    }

    /// Waits for a place of `key`.
    async fn enter(&self, key: K) -> Option<OwnedSemaphorePermit> {
        self.of(key).acquire_owned().await.ok()
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit or a waiting call holds a reference.
        own.retain(|_, places| Arc::strong_count(places) > 1);
        let places = own.entry(key);
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::SecretKeyRef;
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
        let volumes = [Lookup::PodVolumes(Key::new("velero", "b"))];
        for (lookup, all, share) in [
            (&secret("a")[..], 16, 12),
            (&schedule()[..], 2, 1),
            (&volumes[..], 4, 3),
        ] {
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
        drop(quotas.lookups.own.of(None));
        assert_eq!(quotas.lookups.own.own.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_slow_location_leaves_places_for_others() {
        let quotas = Quotas::default();
        let files = |location: &str| {
            [Lookup::ListedFiles {
                backup: Key::new("velero", "b"),
                location: location.to_owned(),
            }]
        };
        let soon = || Instant::now() + Duration::from_millis(20);
        let enter = async |caller, lookup: [Lookup; 1]| quotas.enter(caller, &lookup, soon()).await;
        let mut held = Vec::new();
        for location in ["a", "b", "c"] {
            for _ in 0..2 {
                held.push(enter(HERE, files(location)).await.unwrap());
            }
            assert!(enter(HERE, files(location)).await.is_none(), "{location}");
        }
        assert!(
            enter(HERE, files("d")).await.is_none(),
            "the share of a caller"
        );
        held.push(enter(None, files("d")).await.unwrap());
        assert!(enter(HERE, schedule()).await.is_some());
        assert!(
            enter(HERE, [Lookup::PodVolumes(Key::default())])
                .await
                .is_some()
        );
        assert!(enter(HERE, secret("a")).await.is_some());
        // Who waits for a location has no place of its caller.
        held.truncate(2);
        let mut waiting = Box::pin(enter(HERE, files("a")));
        assert!((&mut waiting).now_or_never().is_none());
        for location in ["b", "b", "c", "c"] {
            held.push(enter(HERE, files(location)).await.unwrap());
        }
    }
}
