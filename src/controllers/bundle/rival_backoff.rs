//! Limits how often a bundle that another writer changes is restored.

use std::time::Duration;

use tokio::time::Instant;

/// Pause before the second restore in a row.
const MIN_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause before a restore.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Time without a change by another writer after which the pauses start over.
const RESET_AFTER: Duration = Duration::from_mins(2);

/// The pauses before a bundle is restored. The first restore is immediate. Each further one waits
/// longer, whether a person changes the bundle or a velero-trust of another version does during a
/// rollout.
#[derive(Debug, Default)]
pub(super) struct RivalBackoff {
    pause: Duration,
    last: Option<Instant>,
}

impl RivalBackoff {
    /// Returns the pause before the bundle is restored.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        match self.last {
            Some(last) if now - last < RESET_AFTER => self.pause,
            _ => Duration::ZERO,
        }
    }

    /// Records that the bundle was restored.
    pub(super) fn restored(&mut self, now: Instant) {
        self.pause = (self.pause(now) * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_at_once_and_slows_down_when_somebody_insists() {
        let mut rivals = RivalBackoff::default();
        let mut now = Instant::now();
        assert_eq!(rivals.pause(now), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            rivals.restored(now);
            pauses.push(rivals.pause(now));
            now += rivals.pause(now);
        }
        assert_eq!(pauses[..3], [200, 400, 800].map(Duration::from_millis));
        assert_eq!(pauses.last(), Some(&MAX_PAUSE));
        assert_eq!(rivals.pause(now + RESET_AFTER), Duration::ZERO);
    }
}
