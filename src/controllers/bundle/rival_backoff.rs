//! How fast a bundle is restored that somebody else changes.

use std::time::Duration;

use tokio::time::Instant;

/// The second pause in a row, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(1));

/// For so long no change of others means that nobody fights us.
const PEACE: Duration = Duration::from_mins(2);

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
            Some(last) if now - last < PEACE => self.pause,
            _ => Duration::ZERO,
        }
    }

    /// The bundle was restored.
    pub(super) fn restored(&mut self, now: Instant) {
        self.pause = (self.pause(now) * 2).clamp(PAUSE.0, PAUSE.1);
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
        assert_eq!(pauses.last(), Some(&PAUSE.1));
        assert_eq!(rivals.pause(now + PEACE), Duration::ZERO);
    }
}
