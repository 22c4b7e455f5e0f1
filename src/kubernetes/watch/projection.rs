//! The objects of a watch, each reduced to a small value.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use super::Change;
use crate::decision::Key;
use crate::shared_quota::SharedQuota;

/// What an event of a watch says of one object: its key, and its value if it has one.
pub(super) type Projected<V> = (Key, Option<V>);

/// The values of all objects. Nothing else of the objects is kept.
#[derive(Debug)]
pub(super) struct Projection<V> {
    /// `None` until there was a complete list.
    known: Option<BTreeMap<Key, V>>,
    /// The entries of a list that is not complete yet.
    listing: BTreeMap<Key, V>,
    limiter: Limiter<V>,
}

/// Limits how many objects of a namespace are kept, and how much memory they need. Whoever may
/// create objects in one namespace could otherwise use up the memory.
#[derive(Debug)]
struct Limiter<V> {
    max: usize,
    /// Number of entries of each namespace.
    counts: BTreeMap<String, usize>,
    memory: Option<MemoryQuota<V>>,
    /// The namespaces of which entries are left out, as far as the log tells of them.
    told: BTreeSet<String>,
}

/// The memory of the entries.
#[derive(Debug)]
struct MemoryQuota<V> {
    quota: SharedQuota,
    /// Returns the memory of a value, in bytes.
    size: fn(&V) -> usize,
}

impl<V> Limiter<V> {
    /// Whether `new` may be kept instead of `old`; it then counts as kept.
    fn admit(&mut self, namespace: &str, old: Option<&V>, new: &V) -> bool {
        let count = self.counts.get(namespace).copied().unwrap_or_default();
        let after = if old.is_some() { count } else { count + 1 };
        let bytes = self.memory.as_ref().map(|memory| {
            let old = old.map(memory.size).unwrap_or_default();
            let new = (memory.size)(new);
            let bytes = memory.quota.held(namespace).saturating_sub(old) + new;
            // One that grows no more is kept even if the others of its namespace are too large.
            (bytes, new <= old || memory.quota.admits(namespace, bytes))
        });
        if after <= self.max && bytes.is_none_or(|(_, is_admitted)| is_admitted) {
            self.counts.insert(namespace.to_owned(), after);
            if let (Some(memory), Some((bytes, _))) = (&mut self.memory, bytes) {
                memory.quota.set(namespace, bytes);
            }
            return true;
        }
        if self.told.len() < MAX_TOLD && self.told.insert(namespace.to_owned()) {
            let max = self.max;
            tracing::warn!(
                namespace,
                max,
                "too many objects, or too large ones; the others are left out"
            );
        }
        false
    }

    fn remove(&mut self, namespace: &str, old: &V) {
        if let Some(count) = self.counts.get_mut(namespace) {
            *count = count.saturating_sub(1);
        }
        if let Some(MemoryQuota { quota, size }) = &mut self.memory {
            let bytes = quota.held(namespace).saturating_sub(size(old));
            quota.set(namespace, bytes);
        }
    }

    fn clear(&mut self) {
        self.counts.clear();
        if let Some(memory) = &mut self.memory {
            memory.quota.clear();
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
                memory: None,
                told: BTreeSet::new(),
            },
        }
    }

    /// Bounds the memory of the entries by `quota`, too, where `size` returns the bytes of a value.
    /// An entry that grows beyond it is left out.
    pub(super) fn with_quota(mut self, quota: SharedQuota, size: fn(&V) -> usize) -> Self {
        self.limiter.memory = Some(MemoryQuota { quota, size });
        self
    }

    /// Applies an event. Returns what changed, if anything did: most writes of an object, such as
    /// those of its status, change no value. An object without a value counts as absent.
    pub(super) fn apply(&mut self, event: Event<Projected<V>>) -> Option<Change> {
        match event {
            Event::Init => {
                self.listing.clear();
                self.limiter.clear();
                None
            }
            Event::InitApply((key, value)) => {
                // The API server lists an object once, unless it is deleted and created again.
                if let Some(value) = value {
                    let old = self.listing.get(&key);
                    if self.limiter.admit(&key.namespace, old, &value) {
                        self.listing.insert(key, value);
                    } else if let Some(old) = self.listing.remove(&key) {
                        self.limiter.remove(&key.namespace, &old);
                    }
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
                if self.limiter.admit(&key.namespace, old, &value) {
                    known.insert(key.clone(), value);
                } else {
                    let old = known.remove(&key)?;
                    self.limiter.remove(&key.namespace, &old);
                }
                Some(Change::Entry(key))
            }
            Event::Apply((key, None)) | Event::Delete((key, _)) => {
                let old = self.known.as_mut()?.remove(&key)?;
                self.limiter.remove(&key.namespace, &old);
                Some(Change::Entry(key))
            }
        }
    }

    /// Returns the entries of the last complete list with all later changes.
    pub(super) const fn last_known(&self) -> Option<&BTreeMap<Key, V>> {
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
        assert!(!projection.last_known().unwrap().contains_key(&key("gone")));
    }

    #[test]
    fn an_empty_list_is_known_and_no_list_is_not() {
        let mut projection = Projection::<u8>::new(10);
        // An incomplete list that is given up, and an event before any list.
        projection.apply(Event::Init);
        projection.apply(Event::InitApply(entry("a", 1)));
        assert_eq!(projection.apply(Event::Apply(entry("b", 1))), None);
        projection.apply(Event::Init);
        assert_eq!(projection.last_known(), None);
        assert_eq!(projection.apply(Event::InitDone), Some(list(&[])));
        assert_eq!(projection.last_known(), Some(&BTreeMap::new()));
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

    #[test]
    fn no_more_memory_is_used_than_the_quota_admits() {
        let size = |value: &u8| usize::from(*value);
        let mut projection = Projection::new(10).with_quota(SharedQuota::new(4, 40), size);
        let of = |namespace: &str, name: &str, size| (Key::new(namespace, name), Some(size));
        projection.apply(Event::Init);
        // A list that is given up holds nothing.
        projection.apply(Event::InitApply(of("greedy", "given up", 20)));
        projection.apply(Event::Init);
        for (name, size) in [("a", 12), ("b", 9), ("c", 8), ("c", 8), ("d", 1)] {
            projection.apply(Event::InitApply(of("greedy", name, size)));
        }
        projection.apply(Event::InitApply(of("other", "a", 10)));
        projection.apply(Event::InitDone);
        let names = |projection: &Projection<u8>| {
            let entries = projection.last_known().unwrap().keys();
            let names = entries.map(|key| format!("{}/{}", key.namespace, key.name));
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&projection), "greedy/a greedy/c other/a");
        let mut apply = |event| projection.apply(event);
        let changed = |namespace, name| Some(Change::Entry(Key::new(namespace, name)));
        // Another 10 leave no room for more, except for what is guaranteed and what shrinks.
        assert_eq!(apply(Event::Apply(of("greedy", "e", 1))), None);
        assert_eq!(
            apply(Event::Apply(of("small", "a", 4))),
            changed("small", "a")
        );
        let shrunk = apply(Event::Apply(of("greedy", "a", 11)));
        assert_eq!(shrunk, changed("greedy", "a"));
        // What grows is left out, and its memory is free.
        let grown = apply(Event::Apply(of("greedy", "c", 20)));
        assert_eq!(grown, changed("greedy", "c"));
        assert_eq!(apply(Event::Apply(of("greedy", "c", 20))), None);
        assert!(apply(Event::Apply(of("greedy", "f", 1))).is_some());
        assert!(apply(Event::Delete(of("other", "a", 10))).is_some());
        assert!(apply(Event::Apply(of("greedy", "g", 6))).is_some());
        assert_eq!(apply(Event::Apply(of("greedy", "h", 1))), None);
        assert_eq!(names(&projection), "greedy/a greedy/f greedy/g small/a");
    }

    #[test]
    fn an_object_that_grows_while_it_is_listed_is_left_out() {
        let size = |value: &u8| usize::from(*value);
        let mut projection = Projection::new(10).with_quota(SharedQuota::new(4, 40), size);
        projection.apply(Event::Init);
        for value in [20, 21, 20] {
            projection.apply(Event::InitApply(entry("a", value)));
        }
        projection.apply(Event::InitDone);
        assert_eq!(projection.last_known().unwrap().get(&key("a")), Some(&20));
    }
}
