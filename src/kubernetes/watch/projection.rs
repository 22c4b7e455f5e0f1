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
}

impl<V> Default for Projection<V> {
    fn default() -> Self {
        Self {
            known: None,
            listing: BTreeMap::new(),
        }
    }
}

impl<V: PartialEq> Projection<V> {
    /// Applies an event. Returns what changed, if anything did: most writes of an object, such as
    /// those of its status, change no value. An object without a value counts as absent.
    pub(super) fn apply(&mut self, event: Event<Projected<V>>) -> Option<Change> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply((key, value)) => {
                if let Some(value) = value {
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
                if known.get(&key) == Some(&value) {
                    return None;
                }
                known.insert(key.clone(), value);
                Some(Change::Entry(key))
            }
            Event::Apply((key, None)) | Event::Delete((key, _)) => {
                self.known.as_mut()?.remove(&key)?;
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
        let mut projection = Projection::default();
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
        let mut projection = Projection::default();
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
        let mut projection = Projection::<u8>::default();
        // An incomplete list that is given up, and an event before any list.
        projection.apply(Event::Init);
        projection.apply(Event::InitApply(entry("a", 1)));
        assert_eq!(projection.apply(Event::Apply(entry("b", 1))), None);
        projection.apply(Event::Init);
        assert_eq!(projection.entries(), None);
        assert_eq!(projection.apply(Event::InitDone), Some(list(&[])));
        assert_eq!(projection.entries(), Some(&BTreeMap::new()));
    }
}
