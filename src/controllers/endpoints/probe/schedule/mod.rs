//! Which endpoint is looked at next, and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The time over which [`Rates::per_minute`] counts.
const MINUTE: Duration = Duration::from_mins(1);

/// How often endpoints are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// From one look at an endpoint to its next, when nothing changes.
    pub every: Duration,
    /// The same, at the least, whatever changes.
    pub soonest: Duration,
    /// How many looks there are at a time.
    pub at_once: usize,
    /// How many looks begin in any minute.
    pub per_minute: usize,
}

impl Default for Rates {
    /// Every 10 minutes, at the soonest after 5 seconds; 4 at a time, 60 in a minute.
    fn default() -> Self {
        Self {
            every: Duration::from_mins(10),
            soonest: Duration::from_secs(5),
            at_once: 4,
            per_minute: 60,
        }
    }
}

/// The schedule of all endpoints; `K` is what makes two of them the same.
///
/// With more endpoints than the rates allow each waits longer, and whose turn came first goes
/// first: an endpoint that changes all the time cannot keep the others waiting.
#[derive(Debug)]
pub struct Schedule<K> {
    rates: Rates,
    endpoints: BTreeMap<K, Turn>,
    begun: VecDeque<Instant>,
}

/// What the schedule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Look at this endpoint now, then call [`Schedule::done`].
    Look(K),
    /// Ask again at this time, or before it after any other call.
    At(Instant),
    /// Ask again after any other call.
    Idle,
}

#[derive(Debug)]
struct Turn {
    due: Instant,
    last: Option<Instant>,
    is_wanted: bool,
    is_running: bool,
}

impl<K: Ord + Clone> Schedule<K> {
    /// A schedule without endpoints.
    pub const fn new(rates: Rates) -> Self {
        Self {
            rates,
            endpoints: BTreeMap::new(),
            begun: VecDeque::new(),
        }
    }

    /// From now on exactly `wanted` is looked at. New endpoints are due at once.
    pub fn set_wanted(&mut self, wanted: impl IntoIterator<Item = K>, now: Instant) {
        let wanted: BTreeSet<K> = wanted.into_iter().collect();
        let soonest = self.rates.soonest;
        // One that went is remembered for as long as it might come back too soon.
        self.endpoints.retain(|endpoint, turn| {
            let was_wanted = turn.is_wanted;
            turn.is_wanted = wanted.contains(endpoint);
            if turn.is_wanted && !was_wanted {
                turn.hurry(soonest, now);
            }
            turn.is_wanted || turn.is_running || turn.earliest(soonest, now) > now
        });
        for endpoint in wanted {
            self.endpoints.entry(endpoint).or_insert(Turn {
                due: now,
                last: None,
                is_wanted: true,
                is_running: false,
            });
        }
    }

    /// Something has changed that `endpoint` depends on, its BSL or a bundle.
    pub fn hurry(&mut self, endpoint: &K, now: Instant) {
        if let Some(turn) = self.endpoints.get_mut(endpoint) {
            turn.hurry(self.rates.soonest, now);
        }
    }

    /// What is to be done now. An endpoint that is to be looked at counts as begun.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        let running = self.endpoints.values().filter(|turn| turn.is_running);
        if running.count() >= self.rates.at_once {
            return Next::Idle;
        }
        while self
            .begun
            .front()
            .is_some_and(|begun| *begun + MINUTE <= now)
        {
            self.begun.pop_front();
        }
        let free = match self.begun.front() {
            Some(first) if self.begun.len() >= self.rates.per_minute => *first + MINUTE,
            _ => now,
        };
        let first = self
            .endpoints
            .iter_mut()
            .filter(|(_, turn)| turn.is_wanted && !turn.is_running)
            .min_by_key(|(_, turn)| turn.due);
        let Some((endpoint, turn)) = first else {
            return Next::Idle;
        };
        let at = turn.due.max(free);
        if at > now {
            return Next::At(at);
        }
        turn.is_running = true;
        turn.last = Some(now);
        turn.due = now + self.rates.every;
        self.begun.push_back(now);
        Next::Look(endpoint.clone())
    }

    /// The look at `endpoint` has ended, well or badly.
    pub fn done(&mut self, endpoint: &K) {
        if let Some(turn) = self.endpoints.get_mut(endpoint) {
            turn.is_running = false;
        }
    }
}

impl Turn {
    /// When the endpoint may be looked at again.
    fn earliest(&self, soonest: Duration, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + soonest))
    }

    fn hurry(&mut self, soonest: Duration, now: Instant) {
        self.due = self.due.min(self.earliest(soonest, now));
    }
}

#[cfg(test)]
mod tests;
