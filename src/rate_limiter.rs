//! Token buckets, one for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Most keys that have a bucket of their own at the same time. All further keys share one bucket, so
/// that invented keys fill no memory.
const MAX_KEYS: usize = 1024;

/// How fast tokens of a bucket come back, and how many it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second, at least one.
    pub per_second: u32,
    /// Tokens in a full bucket.
    pub burst: u32,
}

/// Token buckets, one for each key. It takes the time from its caller.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    /// When each bucket is full again. A bucket that is full has no entry.
    full_at: HashMap<K, Instant>,
    /// When the bucket of all further keys is full again.
    others_full_at: Option<Instant>,
}

impl<K: Eq + Hash> RateLimiter<K> {
    /// Creates a limiter with full buckets.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: HashMap::new(),
            others_full_at: None,
        }
    }

    /// Takes `tokens` from the bucket of `key`. Returns how long to wait until they are there, in
    /// the order of the calls; `None`, and nothing is taken, if that is more than `patience`.
    pub fn take(
        &mut self,
        key: K,
        tokens: u32,
        now: Instant,
        patience: Duration,
    ) -> Option<Duration> {
        let full_at = self.full_at.get(&key).copied();
        let is_shared = full_at.is_none() && self.is_full(now);
        let before = if is_shared {
            self.others_full_at
        } else {
            full_at
        };
        let after = before.unwrap_or(now).max(now) + self.time_for(tokens);
        let wait = (after - now).saturating_sub(self.time_for(self.rate.burst));
        if wait > patience {
            return None;
        }
        if is_shared {
            self.others_full_at = Some(after);
        } else {
            self.full_at.insert(key, after);
        }
        Some(wait)
    }

    /// Returns whether no key can get a bucket of its own, after buckets that are full are removed.
    fn is_full(&mut self, now: Instant) -> bool {
        if self.full_at.len() >= MAX_KEYS {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() >= MAX_KEYS
    }

    fn time_for(&self, tokens: u32) -> Duration {
        Duration::from_secs(1) * tokens / self.rate.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 5,
    };

    const NOW: Duration = Duration::ZERO;

    fn taken(limiter: &mut RateLimiter<u32>, key: u32, now: Instant) -> usize {
        let takes = std::iter::repeat_with(|| limiter.take(key, 1, now, NOW));
        takes.take(20).flatten().count()
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_again_and_no_other_key_notices() {
        let mut limiter = RateLimiter::new(RATE);
        let now = Instant::now();
        assert_eq!(taken(&mut limiter, 1, now), 5);
        assert_eq!(taken(&mut limiter, 2, now), 5);
        assert_eq!(taken(&mut limiter, 1, now + Duration::from_millis(300)), 3);
        assert_eq!(taken(&mut limiter, 1, now + Duration::from_mins(1)), 5);
    }

    #[test]
    fn who_has_patience_waits_in_turn() {
        let mut limiter = RateLimiter::new(RATE);
        let now = Instant::now();
        let patience = Duration::from_millis(400);
        let mut take = |tokens| limiter.take(1, tokens, now, patience);
        assert_eq!(take(5), Some(Duration::ZERO));
        assert_eq!(take(2), Some(Duration::from_millis(200)));
        assert_eq!(take(3), None);
        assert_eq!(take(2), Some(Duration::from_millis(400)));
        assert_eq!(take(1), None);
    }

    #[test]
    fn invented_keys_share_one_bucket_until_others_are_full_again() {
        let mut limiter = RateLimiter::new(RATE);
        let now = Instant::now();
        let others = 0..u32::try_from(MAX_KEYS).unwrap();
        for key in others {
            assert_eq!(limiter.take(key, 1, now, NOW), Some(NOW));
        }
        assert_eq!(taken(&mut limiter, 5_000, now), 5);
        assert_eq!(taken(&mut limiter, 6_000, now), 0);
        assert_eq!(taken(&mut limiter, 0, now), 4);
        assert_eq!(limiter.full_at.len(), MAX_KEYS);
        let later = now + Duration::from_millis(100);
        assert_eq!(taken(&mut limiter, 6_000, later), 5);
        assert_eq!(limiter.full_at.len(), 2);
    }
}
