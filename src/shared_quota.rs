//! Shares an amount, such as memory, among namespaces.
//!
//! Each namespace may always hold the guaranteed amount. Beyond it, a namespace may hold no more
//! than what is still free besides, as switches share a buffer among their queues ("dynamic
//! thresholds", Choudhury and Hahne 1998). So one greedy namespace gets half of the total, two get a
//! third each, and there is always room for another one.

use std::collections::BTreeMap;

/// An amount that namespaces share.
#[derive(Debug)]
pub struct SharedQuota {
    guaranteed: usize,
    total: usize,
    held: BTreeMap<String, usize>,
    sum: usize,
}

impl SharedQuota {
    /// Returns a quota of which each namespace may hold `guaranteed`, and all together `total`
    /// beyond that.
    pub const fn new(guaranteed: usize, total: usize) -> Self {
        Self {
            guaranteed,
            total,
            held: BTreeMap::new(),
            sum: 0,
        }
    }

    /// Returns how much `namespace` holds.
    pub fn held(&self, namespace: &str) -> usize {
        self.held.get(namespace).copied().unwrap_or_default()
    }

    /// Returns whether `namespace` may hold `amount` in all.
    pub fn admits(&self, namespace: &str, amount: usize) -> bool {
        let others = self.sum.saturating_sub(self.held(namespace));
        amount <= self.guaranteed || amount.saturating_mul(2).saturating_add(others) <= self.total
    }

    /// Records that `namespace` holds `amount` in all, whether or not it is admitted.
    pub fn set(&mut self, namespace: &str, amount: usize) {
        let before = self.held(namespace);
        self.sum = self.sum.saturating_sub(before).saturating_add(amount);
        if amount == 0 {
            self.held.remove(namespace);
        } else if let Some(held) = self.held.get_mut(namespace) {
            *held = amount;
        } else {
            self.held.insert(namespace.to_owned(), amount);
        }
    }

    /// Records that nobody holds anything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.sum = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `namespace` take as much as it may, and returns that.
    fn take(quota: &mut SharedQuota, namespace: &str) -> usize {
        let most = (0..=1000).rfind(|amount| quota.admits(namespace, *amount));
        let most = most.unwrap();
        quota.set(namespace, most);
        most
    }

    #[test]
    fn who_is_greedy_leaves_room_for_others() {
        let mut quota = SharedQuota::new(10, 960);
        assert_eq!(take(&mut quota, "a"), 480);
        assert_eq!(take(&mut quota, "b"), 240);
        assert_eq!(take(&mut quota, "c"), 120);
        // Later all have the same.
        for _ in 0..40 {
            for namespace in ["a", "b", "c"] {
                take(&mut quota, namespace);
            }
        }
        for namespace in ["a", "b", "c"] {
            assert_eq!(quota.held(namespace), 240);
        }
        assert_eq!(take(&mut quota, "d"), 120);
    }

    #[test]
    fn each_has_the_guaranteed_amount_whatever_the_others_hold() {
        let mut quota = SharedQuota::new(10, 100);
        quota.set("a", 500);
        assert!(quota.admits("b", 10) && !quota.admits("b", 11));
        assert!(!quota.admits("a", 51) && quota.admits("a", 50));
        for number in 0..100 {
            assert_eq!(take(&mut quota, &format!("c{number}")), 10);
        }
    }

    #[test]
    fn what_is_given_back_is_free_again() {
        let mut quota = SharedQuota::new(10, 100);
        assert_eq!(take(&mut quota, "a"), 50);
        assert_eq!(take(&mut quota, "b"), 25);
        quota.set("a", 0);
        assert_eq!((quota.held("a"), quota.held.len()), (0, 1));
        assert_eq!(take(&mut quota, "b"), 50);
        quota.clear();
        assert_eq!(take(&mut quota, "a"), 50);
        // A sum that cannot be counted is no room.
        quota.set("b", usize::MAX);
        assert_eq!(take(&mut quota, "a"), 10);
    }
}
