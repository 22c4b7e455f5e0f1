//! The objects of a watch, each reduced to a small value.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use super::Change;
use crate::decision::Key;

/// What an event of a watch says of one object: its key, and its value if it has one.
pub(super) type Projected<V> = (Key, Option<V>);

/// The values of all objects. Nothing else of the objects is kept.
#[derive(Debug)]
pub(super) struct Projection<V> {
    /// `None` until there was a complete list.
    known: Option<BTreeMap<Key, V>>,
    /// The entries of a list that is not complete yet.
    listing: BTreeMap<Key, V>,
    limiter: Limiter,
}

/// Limits how many objects of a namespace are kept. Whoever may create objects in one namespace
/// could otherwise use up the memory.
#[derive(Debug)]
struct Limiter {
    max: usize,
    /// Number of entries of each namespace.
    counts: BTreeMap<String, usize>,
    /// The namespaces of which entries are left out, as far as the log tells of them.
    told: BTreeSet<String>,
}

impl Limiter {
    /// Whether one more entry of `namespace` may be kept; it then counts as kept.
    fn admit(&mut self, namespace: &str) -> bool {
        let count = self.counts.entry(namespace.to_owned()).or_default();
        if *count < self.max {
            *count += 1;
            return true;
        }
        if self.told.len() < MAX_TOLD && self.told.insert(namespace.to_owned()) {
            let max = self.max;
            tracing::warn!(namespace, max, "too many objects; the others are left out");
        }
        false
    }

    fn remove(&mut self, namespace: &str) {
        if let Some(count) = self.counts.get_mut(namespace) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Most namespaces that the log tells of.
const MAX_TOLD: usize = 100;

impl<V: PartialEq> Projection<V> {
    /// Returns a projection of at most `max_per_namespace` objects of each namespace. Which ones are
    /// left out depends on the names in a list, and on the order in which they come after it. There
    /// is room for those that were left out in the next list.
    pub(super) const fn new(max_per_namespace: usize) -> Self {
        Self {
            known: None,
            listing: BTreeMap::new(),
            limiter: Limiter {
                max: max_per_namespace,
                counts: BTreeMap::new(),
                told: BTreeSet::new(),
            },
        }
    }

    /// Applies an event. Returns what changed, if anything did: most writes of an object, such as
    /// those of its status, change no value. An object without a value counts as absent.
    pub(super) fn apply(&mut self, event: Event<Projected<V>>) -> Option<Change> {
        match event {
            Event::Init => {
                self.listing.clear();
                self.limiter.counts.clear();
                None
            }
            Event::InitApply((key, value)) => {
                // The API server lists an object once, unless it is deleted and created again.
                if let Some(value) = value
                    && (self.listing.contains_key(&key) || self.limiter.admit(&key.namespace))
                {
                    self.listing.insert(key, value);
                }
                None
            }
            Event::InitDone => {
                let new = std::mem::take(&mut self.listing);
                let old = self.known.take();
                let changed = changed_keys(old.as_ref(), &new);
                let is_first = old.is_none();
                self.known = Some(new);
                (is_first || !changed.is_empty()).then_some(Change::List(changed))
            }
            Event::Apply((key, Some(value))) => {
                // Before the first list is complete there is nothing to change.
                let known = self.known.as_mut()?;
                let old = known.get(&key);
                if old == Some(&value) {
                    return None;
                }
                if old.is_none() && !self.limiter.admit(&key.namespace) {
                    return None;
                }
                known.insert(key.clone(), value);
                Some(Change::Entry(key))
            }
            Event::Apply((key, None)) | Event::Delete((key, _)) => {
                self.known.as_mut()?.remove(&key)?;
                self.limiter.remove(&key.namespace);
                Some(Change::Entry(key))
            }
        }
    }

    /// Returns the entries of the last complete list with all later changes.
    pub(super) const fn entries(&self) -> Option<&BTreeMap<Key, V>> {
        self.known.as_ref()
    }
}

/// Returns the keys that are in only one of both, or have different values.
fn changed_keys<V: PartialEq>(
    old: Option<&BTreeMap<Key, V>>,
    new: &BTreeMap<Key, V>,
) -> BTreeSet<Key> {
    let before = |key: &Key| old.and_then(|old| old.get(key));
    let gone = old.into_iter().flat_map(BTreeMap::keys);
    let gone = gone.filter(|key| !new.contains_key(key));
    let other = new
        .iter()
        .filter(|(key, value)| before(key) != Some(*value));
    gone.chain(other.map(|(key, _)| key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("velero", name)
    }

    fn entry(name: &str, value: u8) -> Projected<u8> {
        (key(name), Some(value))
    }

    fn list(names: &[&str]) -> Change {
        Change::List(names.iter().map(|name| key(name)).collect())
    }

    #[test]
    fn only_another_value_is_a_change() {
        let mut projection = Projection::new(10);
        let mut apply = |event| projection.apply(event);
        let changed = |name| Some(Change::Entry(key(name)));
        assert_eq!(apply(Event::Init), None);
        assert_eq!(apply(Event::InitApply(entry("a", 1))), None);
        assert_eq!(apply(Event::InitDone), Some(list(&["a"])));
        assert_eq!(apply(Event::Apply(entry("a", 1))), None);
        assert_eq!(apply(Event::Apply((key("of others"), None))), None);
        assert_eq!(apply(Event::Apply(entry("a", 2))), changed("a"));
        // A new list with the same values.
        apply(Event::Init);
        apply(Event::InitApply(entry("a", 2)));
        assert_eq!(apply(Event::InitDone), None);
        // It loses its value, and is deleted later.
        assert_eq!(apply(Event::Apply((key("a"), None))), changed("a"));
        assert_eq!(apply(Event::Delete(entry("a", 2))), None);
    }

    #[test]
    fn a_new_list_tells_which_entries_differ() {
        let mut projection = Projection::new(10);
        for event in [
            Event::Init,
            Event::InitApply(entry("same", 1)),
            Event::InitApply(entry("gone", 1)),
            Event::InitApply(entry("other", 1)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(entry("same", 1)),
            Event::InitApply(entry("other", 2)),
            Event::InitApply(entry("new", 1)),
        ] {
            projection.apply(event);
        }
        let change = projection.apply(Event::InitDone);
        assert_eq!(change, Some(list(&["gone", "new", "other"])));
        assert!(!projection.entries().unwrap().contains_key(&key("gone")));
    }

    #[test]
    fn an_empty_list_is_known_and_no_list_is_not() {
        let mut projection = Projection::<u8>::new(10);
        // An incomplete list that is given up, and an event before any list.
        projection.apply(Event::Init);
        projection.apply(Event::InitApply(entry("a", 1)));
        assert_eq!(projection.apply(Event::Apply(entry("b", 1))), None);
        projection.apply(Event::Init);
        assert_eq!(projection.entries(), None);
        assert_eq!(projection.apply(Event::InitDone), Some(list(&[])));
        assert_eq!(projection.entries(), Some(&BTreeMap::new()));
    }

    #[test]
    fn no_more_of_a_namespace_is_kept_than_is_bounded() {
        let mut projection = Projection::new(2);
        let of = |namespace: &str, name: &str| (Key::new(namespace, name), Some(1));
        projection.apply(Event::Init);
        // A list that is given up does not count.
        projection.apply(Event::InitApply(entry("given up", 1)));
        projection.apply(Event::Init);
        for name in ["a", "a", "b", "c", "d"] {
            projection.apply(Event::InitApply(entry(name, 1)));
        }
        projection.apply(Event::InitApply(of("other", "a")));
        projection.apply(Event::InitApply((key("none"), None)));
        let listed = projection.apply(Event::InitDone).unwrap();
        let other = Key::new("other", "a");
        let expected = [key("a"), key("b"), other].into();
        assert_eq!(listed, Change::List(expected));
        // What is kept still changes, and another namespace has room.
        let mut apply = |event| projection.apply(event);
        assert!(apply(Event::Apply(entry("a", 2))).is_some());
        assert_eq!(apply(Event::Apply(entry("e", 1))), None);
        assert_eq!(apply(Event::Delete(entry("e", 1))), None);
        assert!(apply(Event::Apply(of("other", "b"))).is_some());
        assert_eq!(apply(Event::Apply(of("other", "c"))), None);
        // Until one of them is deleted.
        assert!(apply(Event::Delete(entry("b", 1))).is_some());
        assert!(apply(Event::Apply(entry("e", 1))).is_some());
        assert_eq!(apply(Event::Apply(entry("f", 1))), None);
    }
}
