//! A bounded map of what was used lately.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Values that were used lately. It takes the time from its caller.
pub(super) struct Recent<K, V> {
    max: usize,
    idle: Duration,
    /// When each was used last, and the value.
    values: HashMap<K, (Instant, V)>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Creates a map of at most `max` values, each of which is kept until it is not used for the time
    /// `idle`.
    pub(super) fn new(max: usize, idle: Duration) -> Self {
        Self {
            max,
            idle,
            values: HashMap::new(),
        }
    }

    /// Returns the value of `key`, which counts as used at `now`.
    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<&V> {
        let (used, value) = self.values.get_mut(key)?;
        *used = now;
        Some(value)
    }

    /// Sets the value of `key`. If there is no room, the value that was not used for longest makes it.
    pub(super) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.values.remove(&key);
        while self.values.len() >= self.max {
            let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.values.remove(&oldest);
        }
        self.values.insert(key, (now, value));
    }

    /// Removes the value of `key`.
    pub(super) fn remove(&mut self, key: &K) {
        self.values.remove(key);
    }

    /// Removes the values that are idle at `now`.
    pub(super) fn remove_idle(&mut self, now: Instant) {
        let idle = self.idle;
        self.values.retain(|_, (used, _)| now < *used + idle);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns all, in no order. None counts as used.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, (_, value))| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn keys(map: &Recent<u8, u8>) -> Vec<u8> {
        let mut keys: Vec<_> = map.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut map = Recent::new(2, IDLE);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        map.insert(1, 1, at(0));
        map.insert(2, 2, at(1));
        assert_eq!(map.get(&1, at(2)), Some(&1));
        map.insert(3, 3, at(3));
        assert_eq!(keys(&map), [1, 3]);
        // One that is there already takes no room.
        map.insert(1, 4, at(4));
        assert_eq!((keys(&map), map.get(&1, at(4))), (vec![1, 3], Some(&4)));
        map.remove(&1);
        assert_eq!(keys(&map), [3]);
    }

    #[test]
    fn what_is_idle_goes() {
        let mut map = Recent::new(2, IDLE);
        let start = Instant::now();
        map.insert(1, 1, start);
        map.insert(2, 2, start);
        map.get(&2, start + IDLE / 2);
        map.remove_idle(start + IDLE - Duration::from_millis(1));
        assert_eq!(keys(&map), [1, 2]);
        map.remove_idle(start + IDLE);
        assert_eq!(keys(&map), [2]);
        assert!(!map.is_empty());
        map.remove_idle(start + 2 * IDLE);
        assert!(map.is_empty());
    }
}
