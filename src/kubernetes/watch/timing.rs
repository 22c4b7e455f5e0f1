//! How long the requests of a watch may take.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// When requests are given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Shortest time for which the API server lets a watch run, in seconds.
    pub(super) watch_seconds: u32,
    /// Largest random addition to it, so that watches that began together do not end together.
    pub(super) jitter_seconds: u32,
    /// Time after its end at which a watch is given up: the connection went silent.
    pub(super) grace: Duration,
    /// Longest wait for the head of an answer, and between two pieces of a list.
    pub(super) answer: Duration,
}

impl Timing {
    /// Watches run for 30 to 40 seconds. One that is silent is given up after 45 at the latest.
    pub(super) const DEFAULT: Self = Self {
        watch_seconds: 30,
        jitter_seconds: 10,
        grace: Duration::from_secs(5),
        answer: Duration::from_secs(15),
    };

    /// Returns the longest time until a watch that went silent is given up.
    #[cfg(test)]
    pub(super) fn longest_watch(&self) -> Duration {
        Duration::from_secs(u64::from(self.watch_seconds + self.jitter_seconds)) + self.grace
    }

    /// Returns how long the next watch runs, in seconds.
    pub(super) fn next_watch(&self) -> u32 {
        let random = RandomState::new().build_hasher().finish();
        let jitter = random % (u64::from(self.jitter_seconds) + 1);
        self.watch_seconds + u32::try_from(jitter).unwrap_or_default()
    }
}
