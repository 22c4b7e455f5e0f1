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
    /// Most probes of one namespace that run at the same time.
    pub namespace_concurrent: usize,
    /// Most probes of one namespace that start within any minute.
    pub namespace_per_minute: usize,
}

impl Default for RateLimits {
    /// An interval of 10 minutes, at least 5 seconds; at most 8 probes at a time and 120 in a
    /// minute, half of them for one namespace.
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(10),
            min_interval: Duration::from_secs(5),
            max_concurrent: 8,
            max_per_minute: 120,
            namespace_concurrent: 4,
            namespace_per_minute: 60,
        }
    }
}

/// The schedule of all endpoints. Two endpoints with the same key `K` are one, whatever namespaces
/// want them.
///
/// The namespaces take turns: of those with an endpoint that is due, the one whose last turn was
/// longest ago is next. Its endpoint that was due first is probed. If there are more endpoints than
/// the limits allow, each waits longer. Neither an endpoint that changes all the time nor a
/// namespace whose endpoints all hang can delay the others.
#[derive(Debug)]
pub struct Schedule<K> {
    limits: RateLimits,
    endpoints: BTreeMap<K, Entry>,
    namespaces: BTreeMap<String, Namespace<K>>,
    /// When the probes of the last minute started, oldest first, and for which namespace.
    started: VecDeque<(Instant, String)>,
    /// Number of turns so far.
    turns: u64,
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

/// An endpoint.
#[derive(Debug)]
struct Entry {
    due: Instant,
    last: Option<Instant>,
    is_wanted: bool,
    /// The namespace in whose turn it is being probed.
    running_for: Option<String>,
}

/// The endpoints that a namespace wants.
#[derive(Debug)]
struct Namespace<K> {
    wanted: BTreeSet<K>,
    /// The number of its last turn.
    last_turn: u64,
}

impl<K: Ord + Clone> Schedule<K> {
    /// Creates a schedule without endpoints.
    pub const fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            endpoints: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            started: VecDeque::new(),
            turns: 0,
        }
    }

    /// Sets the endpoints of `namespace` that are probed from now on. New endpoints are due
    /// immediately.
    pub fn set_wanted(
        &mut self,
        namespace: &str,
        wanted: impl IntoIterator<Item = K>,
        now: Instant,
    ) {
        let wanted: BTreeSet<K> = wanted.into_iter().collect();
        for endpoint in &wanted {
            self.endpoints.entry(endpoint.clone()).or_insert(Entry {
                due: now,
                last: None,
                is_wanted: true,
                running_for: None,
            });
        }
        if wanted.is_empty() {
            self.namespaces.remove(namespace);
        } else {
            let entry = self.namespaces.entry(namespace.to_owned());
            let new = Namespace {
                wanted: BTreeSet::new(),
                last_turn: 0,
            };
            entry.or_insert(new).wanted = wanted;
        }
        let min_interval = self.limits.min_interval;
        let namespaces = &self.namespaces;
        // An endpoint that is no longer wanted is remembered while its return would have to wait
        // for the shortest interval.
        self.endpoints.retain(|endpoint, entry| {
            let was_wanted = entry.is_wanted;
            entry.is_wanted = namespaces.values().any(|one| one.wanted.contains(endpoint));
            if entry.is_wanted && !was_wanted {
                entry.expedite(min_interval, now);
            }
            let is_running = entry.running_for.is_some();
            entry.is_wanted || is_running || entry.earliest(min_interval, now) > now
        });
    }

    /// Returns whether any namespace wants `endpoint`.
    pub fn is_wanted(&self, endpoint: &K) -> bool {
        let entry = self.endpoints.get(endpoint);
        entry.is_some_and(|entry| entry.is_wanted)
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
        let mut running = BTreeMap::<&str, usize>::new();
        for entry in self.endpoints.values() {
            if let Some(namespace) = &entry.running_for {
                *running.entry(namespace).or_default() += 1;
            }
        }
        if running.values().sum::<usize>() >= self.limits.max_concurrent {
            return Next::Idle;
        }
        while let Some((first, _)) = self.started.front()
            && *first + MINUTE <= now
        {
            self.started.pop_front();
        }
        let all_free = free_at(self.started.iter(), self.limits.max_per_minute);
        // The namespace whose turn it is, and its endpoint.
        let mut turn: Option<(u64, String, K)> = None;
        let mut earliest: Option<Instant> = None;
        for (name, namespace) in &self.namespaces {
            let used = running.get(name.as_str()).copied().unwrap_or_default();
            if used >= self.limits.namespace_concurrent {
                continue;
            }
            let endpoints = namespace.wanted.iter().filter_map(|endpoint| {
                let entry = self.endpoints.get(endpoint)?;
                let due = entry.running_for.is_none().then_some(entry.due)?;
                Some((due, endpoint))
            });
            let Some((due, endpoint)) = endpoints.min_by_key(|(due, _)| *due) else {
                continue;
            };
            let own = self.started.iter().filter(|(_, started)| started == name);
            let own_free = free_at(own, self.limits.namespace_per_minute);
            let at = [Some(due), all_free, own_free].into_iter().flatten().max();
            let at = at.unwrap_or(due);
            if at > now {
                earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
            } else if turn
                .as_ref()
                .is_none_or(|(last, ..)| namespace.last_turn < *last)
            {
                turn = Some((namespace.last_turn, name.clone(), endpoint.clone()));
            }
        }
        let Some((_, name, endpoint)) = turn else {
            return earliest.map_or(Next::Idle, Next::WaitUntil);
        };
        self.turns += 1;
        if let Some(namespace) = self.namespaces.get_mut(&name) {
            namespace.last_turn = self.turns;
        }
        if let Some(entry) = self.endpoints.get_mut(&endpoint) {
            entry.running_for = Some(name.clone());
            entry.last = Some(now);
            entry.due = now + self.limits.interval;
        }
        self.started.push_back((now, name));
        Next::Probe(endpoint)
    }

    /// Records that the probe of `endpoint` ended, whether or not it succeeded. Returns the
    /// namespace in whose turn it was probed.
    pub fn done(&mut self, endpoint: &K) -> Option<String> {
        self.endpoints.get_mut(endpoint)?.running_for.take()
    }
}

/// Returns when one more probe may start beside those that started within the last minute, oldest
/// first; `None` if it may start now.
fn free_at<'s>(
    started: impl DoubleEndedIterator<Item = &'s (Instant, String)>,
    max_per_minute: usize,
) -> Option<Instant> {
    let decisive = started.rev().nth(max_per_minute.saturating_sub(1));
    decisive.map(|(at, _)| *at + MINUTE)
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
