//! Which endpoint is looked at next, and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The time over which [`RateLimits::max_per_minute`] counts.
const MINUTE: Duration = Duration::from_mins(1);

/// How often endpoints are looked at.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// From one look at an endpoint to its next, when nothing changes.
    pub interval: Duration,
    /// The same, at the least, whatever changes.
    pub min_interval: Duration,
    /// How many looks there are at a time.
    pub max_concurrent: usize,
    /// How many looks begin in any minute.
    pub max_per_minute: usize,
}

impl Default for RateLimits {
    /// Every 10 minutes, at the min_interval after 5 seconds; 4 at a time, 60 in a minute.
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            min_interval: Duration::from_secs(5),
            max_concurrent: 4,
            max_per_minute: 60,
        }
    }
}

/// The schedule of all endpoints; `K` is what makes two of them the same.
///
/// With more endpoints than the limits allow each waits longer, and whose turn came first goes
/// first: an endpoint that changes all the time cannot keep the others waiting.
#[derive(Debug)]
pub struct Schedule<K> {
    limits: RateLimits,
    endpoints: BTreeMap<K, Entry>,
    started: VecDeque<Instant>,
}

/// What the schedule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Look at this endpoint now, then call [`Schedule::done`].
    Probe(K),
    /// Ask again at this time, or before it after any other call.
    WaitUntil(Instant),
    /// Ask again after any other call.
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
    /// A schedule without endpoints.
    pub const fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            endpoints: BTreeMap::new(),
            started: VecDeque::new(),
        }
    }

    /// From now on exactly `wanted` is looked at. New endpoints are due at once.
    pub fn set_wanted(&mut self, wanted: impl IntoIterator<Item = K>, now: Instant) {
        let wanted: BTreeSet<K> = wanted.into_iter().collect();
        let min_interval = self.limits.min_interval;
        // One that went is remembered for as long as it might come back too soon.
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

    /// Something has changed that `endpoint` depends on, its BSL or a bundle.
    pub fn expedite(&mut self, endpoint: &K, now: Instant) {
        if let Some(entry) = self.endpoints.get_mut(endpoint) {
            entry.expedite(self.limits.min_interval, now);
        }
    }

    /// What is to be done now. An endpoint that is to be looked at counts as started.
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

    /// The look at `endpoint` has ended, well or badly.
    pub fn done(&mut self, endpoint: &K) {
        if let Some(entry) = self.endpoints.get_mut(endpoint) {
            entry.is_running = false;
        }
    }
}

impl Entry {
    /// When the endpoint may be looked at again.
    fn earliest(&self, min_interval: Duration, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + min_interval))
    }

    fn expedite(&mut self, min_interval: Duration, now: Instant) {
        self.due = self.due.min(self.earliest(min_interval, now));
    }
}

#[cfg(test)]
mod tests;
