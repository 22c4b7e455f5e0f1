//! How fast a bundle is restored that somebody else changes.

use std::time::Duration;

use tokio::time::Instant;

/// The second pause in a row, and the longest.
const MIN_PAUSE: Duration = Duration::from_millis(200);

const MAX_PAUSE: Duration = Duration::from_mins(1);

/// For so long no change of others means that nobody fights us.
const RESET_AFTER: Duration = Duration::from_mins(2);

/// At first a bundle is restored at once; who changes it again and again is answered ever more
/// slowly, be it another hand or a velero-trust of another version during a rollout.
#[derive(Debug, Default)]
pub(super) struct RivalBackoff {
    pause: Duration,
    last: Option<Instant>,
}

impl RivalBackoff {
    /// How long to wait before the bundle is restored.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        match self.last {
            Some(last) if now - last < RESET_AFTER => self.pause,
            _ => Duration::ZERO,
        }
    }

    /// The bundle was restored.
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
