//! A worker decides when a reconciler runs next: after a trigger, after a failure, or to resync.
//!
//! It is keyed, as the work queues of Kubernetes' own controllers are: each key is reconciled
//! separately, and however many triggers a key has, it is reconciled once for all of them. kube's
//! `scheduler` is not used: each new request for a key postpones it by the whole debounce again, so
//! that a key with steady triggers would never be reconciled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When a worker runs.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Time from the first trigger of a key to its reconciliation, in which more triggers gather.
    pub debounce: Duration,
    /// First pause after a failure; each further failure doubles it.
    pub min_backoff: Duration,
    /// Longest pause after a failure.
    pub max_backoff: Duration,
    /// Time from one reconciliation of a key to the next without any trigger; `None` for never.
    pub resync: Option<Duration>,
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// It failed: run again after the backoff.
    pub retry: bool,
    /// Run again after this time at the latest.
    pub within: Option<Duration>,
}

/// Decides which key of a reconciler is due.
#[derive(Debug)]
pub struct Worker<K> {
    timing: Timing,
    /// The keys that are due, being reconciled, or failed the last time.
    keys: BTreeMap<K, Entry>,
    /// Those that are due at some time, the first one first.
    due: BTreeSet<(Instant, K)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// `None` while the key is reconciled, and when it waits for a trigger.
    due: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

impl<K: Ord + Clone> Worker<K> {
    /// Returns a worker without keys.
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            keys: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Runs `key` now.
    pub fn run_now(&mut self, key: K) {
        self.run_at(key, Instant::now());
    }

    /// Runs `key` after the debounce, unless it is due earlier.
    pub fn trigger(&mut self, key: K) {
        self.trigger_after(key, Duration::ZERO);
    }

    /// Runs `key` after `delay` and the debounce, unless it is due earlier.
    pub fn trigger_after(&mut self, key: K, delay: Duration) {
        self.run_at(key, Instant::now() + delay + self.timing.debounce);
    }

    /// Waits until a key is due and returns it. Call [`done`](Self::done) when it was reconciled.
    /// Cancel safe.
    pub async fn next(&mut self) -> K {
        if let Some((at, _)) = self.due.first() {
            sleep_until(*at).await;
            if let Some((_, key)) = self.due.pop_first() {
                if let Some(entry) = self.keys.get_mut(&key) {
                    entry.due = None;
                }
                return key;
            }
        }
        std::future::pending().await
    }

    /// Tells how the reconciliation of `key` ended.
    pub fn done(&mut self, key: K, requeue: Requeue) {
        self.finish(key, requeue, Instant::now());
    }

    fn run_at(&mut self, key: K, at: Instant) {
        let entry = self.keys.entry(key.clone()).or_default();
        if let Some(due) = entry.due {
            if due <= at {
                return;
            }
            self.due.remove(&(due, key.clone()));
        }
        entry.due = Some(at);
        self.due.insert((at, key));
    }

    fn finish(&mut self, key: K, requeue: Requeue, now: Instant) {
        let Timing {
            debounce,
            min_backoff,
            max_backoff,
            resync,
        } = self.timing;
        let entry = self.keys.entry(key.clone()).or_default();
        let backoff = requeue.retry.then(|| {
            let doubled = 2_u32.saturating_pow(entry.failures);
            min_backoff.saturating_mul(doubled).min(max_backoff)
        });
        entry.failures = if requeue.retry {
            entry.failures.saturating_add(1)
        } else {
            0
        };
        let pause = [backoff, requeue.within, resync].into_iter().flatten();
        if let Some(pause) = pause.min() {
            // A key that asks to run at once must not keep its worker busy.
            self.run_at(key, now + pause.max(debounce));
        } else if entry.due.is_none() {
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn worker(resync: Option<Duration>) -> Worker<&'static str> {
        Worker::new(Timing {
            debounce: SECOND,
            min_backoff: SECOND,
            max_backoff: 10 * SECOND,
            resync,
        })
    }

    /// When `key` is due, in seconds after `start`.
    fn due(worker: &Worker<&'static str>, key: &str, start: Instant) -> Option<u64> {
        let due = worker.keys.get(key)?.due?;
        Some(due.duration_since(start).as_secs())
    }

    #[test]
    fn triggers_gather_and_do_not_postpone_each_other() {
        let start = Instant::now();
        let mut worker = worker(None);
        worker.run_at("a", start + SECOND);
        worker.run_at("a", start + 2 * SECOND);
        worker.run_at("b", start + 3 * SECOND);
        assert_eq!(due(&worker, "a", start), Some(1));
        worker.run_at("b", start);
        worker.run_at("b", start + SECOND);
        let in_order = [(start, "b"), (start + SECOND, "a")];
        assert_eq!(worker.due, in_order.into());
    }

    #[test]
    fn failures_back_off_for_each_key_and_success_starts_over() {
        let start = Instant::now();
        let mut worker = worker(Some(60 * SECOND));
        let mut pause = |retry| {
            if let Some(entry) = worker.keys.get_mut("a") {
                entry.due = None;
            }
            worker.due.clear();
            worker.finish(
                "a",
                Requeue {
                    retry,
                    within: None,
                },
                start,
            );
            due(&worker, "a", start).unwrap()
        };
        let failed: Vec<_> = (0..6).map(|_| pause(true)).collect();
        assert_eq!(failed, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pause(false), 60);
        assert_eq!(pause(true), 1);
        worker.finish(
            "b",
            Requeue {
                retry: true,
                within: None,
            },
            start,
        );
        assert_eq!(due(&worker, "b", start), Some(1));
    }

    #[test]
    fn a_key_runs_within_the_time_that_it_asks_for() {
        let start = Instant::now();
        let mut resynced = worker(Some(60 * SECOND));
        let within = |seconds: u32| Requeue {
            retry: false,
            within: Some(seconds * SECOND),
        };
        resynced.finish("soon", within(5), start);
        resynced.finish("late", within(500), start);
        assert_eq!(due(&resynced, "soon", start), Some(5));
        assert_eq!(due(&resynced, "late", start), Some(60));
        // Not before the debounce.
        resynced.finish("now", within(0), start);
        assert_eq!(due(&resynced, "now", start), Some(1));
        let mut without = worker(None);
        without.finish("a", Requeue::default(), start);
        assert_eq!((without.due.len(), without.keys.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_key_is_returned_once_until_it_is_triggered_again() {
        let mut worker = worker(None);
        worker.run_now("a");
        assert_eq!(worker.next().await, "a");
        assert!(worker.due.is_empty());
        // A trigger while it is reconciled is not lost when that ends.
        worker.trigger("a");
        worker.done("a", Requeue::default());
        assert_eq!(worker.due.len(), 1);
        // Nor is the time that it asks for.
        worker.run_now("a");
        assert_eq!(worker.next().await, "a");
        let within = Some(SECOND);
        worker.done(
            "a",
            Requeue {
                retry: false,
                within,
            },
        );
        assert_eq!(worker.due.len(), 1);
    }
}
