//! Gauges with labels that exist only as long as their owner.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Series of a family of gauges that have one owner, such as all series of one namespace. They are
/// removed from the family when the owner is dropped.
#[derive(Debug)]
pub(super) struct Series<L: Clone + Debug + Eq + Hash> {
    family: Family<L, Gauge>,
    labels: HashSet<L>,
}

impl<L: Clone + Debug + Eq + Hash> Series<L> {
    /// Creates an owner of series in `family` that has none yet.
    pub(super) fn new(family: &Family<L, Gauge>) -> Self {
        Self {
            family: family.clone(),
            labels: HashSet::new(),
        }
    }

    /// Sets these series, and removes all other series of this owner.
    pub(super) fn replace(&mut self, series: impl IntoIterator<Item = (L, i64)>) {
        let mut before = std::mem::take(&mut self.labels);
        for (labels, value) in series {
            self.family.get_or_create(&labels).set(value);
            before.remove(&labels);
            self.labels.insert(labels);
        }
        for gone in &before {
            self.family.remove(gone);
        }
    }
}

impl<L: Clone + Debug + Eq + Hash> Drop for Series<L> {
    fn drop(&mut self) {
        self.replace([]);
    }
}

/// Converts a count to the value of a gauge.
pub(super) fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_removes_its_own_series_and_no_others() {
        let family = Family::<Vec<(&str, &str)>, Gauge>::default();
        let exists = |label| family.get(&vec![("owner", label)]).is_some();
        let mut a = Series::new(&family);
        let mut b = Series::new(&family);
        a.replace([(vec![("owner", "a1")], 1), (vec![("owner", "a2")], 2)]);
        b.replace([(vec![("owner", "b")], 3)]);
        a.replace([(vec![("owner", "a2")], 4)]);
        assert!(!exists("a1") && exists("a2") && exists("b"));
        drop(a);
        assert!(!exists("a2") && exists("b"));
    }
}
