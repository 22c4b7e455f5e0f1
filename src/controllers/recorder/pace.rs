//! How much the recorder leaves to Velero while that syncs a bucket.
//!
//! Thousands of Backups may come by one sync. To import them takes requests to the API server and the store that
//! Velero asks, too, and nobody waits for most of them. So each that is read has a long pause after it until the
//! sync is over, and all go on then. What a Restore waits for has slots of its own, without pauses.

use std::time::Duration;

use tokio::time::Instant;

/// How long after the last Backup a sync counts as under way.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// How much longer a pause is than what came before it: where everything is slow, it leaves as much.
const RATIO: u32 = 16;

/// Longest pause: it holds up what this cluster backs up meanwhile, too.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// When Velero synced.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// Notes a Backup that was complete when it came.
    pub(super) const fn note_synced(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Returns the pause after something that took so long; `None` if no sync is under way.
    pub(super) fn pause(&self, took: Duration, now: Instant) -> Option<Duration> {
        let last = self.last?;
        (now.duration_since(last) < UNDER_WAY).then(|| took.saturating_mul(RATIO).min(MAX_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_long_while_velero_syncs_and_over_with_it() {
        let now = Instant::now();
        let (short, long) = (Duration::from_millis(10), Duration::from_mins(10));
        let mut pace = Pace::default();
        assert_eq!(pace.pause(short, now), None);
        pace.note_synced(now);
        let later = now + UNDER_WAY / 2;
        assert_eq!(pace.pause(short, later), Some(short * RATIO));
        assert_eq!(pace.pause(long, later), Some(MAX_PAUSE));
        assert_eq!(pace.pause(short, now + UNDER_WAY), None);
        pace.note_synced(later);
        assert!(pace.pause(short, now + UNDER_WAY).is_some());
    }
}
