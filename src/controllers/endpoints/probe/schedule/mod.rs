//! Decides which endpoint is probed next, and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The time over which [`RateLimits::max_per_minute`] counts.
const MINUTE: Duration = Duration::from_mins(1);

/// How often endpoints are probed.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Interval between two probes of an endpoint if nothing changes.
    pub interval: Duration,
    /// Shortest interval between two probes of an endpoint, whatever changes.
    pub min_interval: Duration,
    /// Most probes that run at the same time.
    pub max_concurrent: usize,
    /// Most probes that start within any minute.
    pub max_per_minute: usize,
}

impl Default for RateLimits {
    /// An interval of 10 minutes, at least 5 seconds; at most 4 probes at a time and 60 in a
    /// minute.
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            min_interval: Duration::from_secs(5),
            max_concurrent: 4,
            max_per_minute: 60,
        }
    }
}

/// The schedule of all endpoints. Two endpoints with the same key `K` are one.
///
/// If there are more endpoints than the limits allow, each of them waits longer, and the one that
/// was due first is probed first: an endpoint that changes all the time cannot delay the others.
#[derive(Debug)]
pub struct Schedule<K> {
    limits: RateLimits,
    endpoints: BTreeMap<K, Entry>,
    /// When the probes of the last minute started, oldest first.
    started: VecDeque<Instant>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Probe this endpoint now, then call [`Schedule::done`].
    Probe(K),
    /// Call [`Schedule::next`] again at this time, and earlier after a call of another method.
    WaitUntil(Instant),
    /// Call [`Schedule::next`] again after a call of another method.
    Idle,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    last: Option<Instant>,
    is_wanted: bool,
    is_running: bool,
}

impl<K: Ord + Clone> Schedule<K> {
    /// Creates a schedule without endpoints.
    pub const fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            endpoints: BTreeMap::new(),
            started: VecDeque::new(),
        }
    }

    /// Sets the endpoints that are probed from now on. New endpoints are due immediately.
    pub fn set_wanted(&mut self, wanted: impl IntoIterator<Item = K>, now: Instant) {
        let wanted: BTreeSet<K> = wanted.into_iter().collect();
        let min_interval = self.limits.min_interval;
        // An endpoint that is no longer wanted is remembered while its return would have to wait
        // for the shortest interval.
        self.endpoints.retain(|endpoint, entry| {
            let was_wanted = entry.is_wanted;
            entry.is_wanted = wanted.contains(endpoint);
            if entry.is_wanted && !was_wanted {
                entry.expedite(min_interval, now);
            }
            entry.is_wanted || entry.is_running || entry.earliest(min_interval, now) > now
        });
        for endpoint in wanted {
            self.endpoints.entry(endpoint).or_insert(Entry {
                due: now,
                last: None,
                is_wanted: true,
                is_running: false,
            });
        }
    }

    /// Probes `endpoint` as soon as its shortest interval allows. Call this after a change of
    /// something that the endpoint depends on: its BSL or a bundle.
    pub fn expedite(&mut self, endpoint: &K, now: Instant) {
        if let Some(entry) = self.endpoints.get_mut(endpoint) {
            entry.expedite(self.limits.min_interval, now);
        }
    }

    /// Returns what to do now. A probe that is returned counts as started.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        let running = self.endpoints.values().filter(|entry| entry.is_running);
        if running.count() >= self.limits.max_concurrent {
            return Next::Idle;
        }
        while self
            .started
            .front()
            .is_some_and(|started| *started + MINUTE <= now)
        {
            self.started.pop_front();
        }
        // When one more probe may start within the limit for a minute.
        let free = match self.started.front() {
            Some(first) if self.started.len() >= self.limits.max_per_minute => *first + MINUTE,
            _ => now,
        };
        let first = self
            .endpoints
            .iter_mut()
            .filter(|(_, entry)| entry.is_wanted && !entry.is_running)
            .min_by_key(|(_, entry)| entry.due);
        let Some((endpoint, entry)) = first else {
            return Next::Idle;
        };
        let at = entry.due.max(free);
        if at > now {
            return Next::WaitUntil(at);
        }
        entry.is_running = true;
        entry.last = Some(now);
        entry.due = now + self.limits.interval;
        self.started.push_back(now);
        Next::Probe(endpoint.clone())
    }

    /// Records that the probe of `endpoint` ended, whether or not it succeeded.
    pub fn done(&mut self, endpoint: &K) {
        if let Some(entry) = self.endpoints.get_mut(endpoint) {
            entry.is_running = false;
        }
    }
}

impl Entry {
    /// Returns the earliest time at which the endpoint may be probed again.
    fn earliest(&self, min_interval: Duration, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + min_interval))
    }

    fn expedite(&mut self, min_interval: Duration, now: Instant) {
        self.due = self.due.min(self.earliest(min_interval, now));
    }
}

#[cfg(test)]
mod tests;
