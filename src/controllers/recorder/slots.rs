//! Which backups are read at the same time, and which wait for that.
//!
//! A store may send so slowly that a backup occupies its slot for hours. So no location can take all
//! slots of its namespace, and no namespace those of all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decision::Key;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Backups of one location that are read at the same time.
const MAX_OF_LOCATION: usize = 2;

/// Backups of one namespace that are read at the same time, of which one is of another location.
const MAX_OF_NAMESPACE: usize = 3;

/// Backups that are read at the same time, of which one is of another namespace.
const MAX_READS: usize = 4;

/// Where a backup waits for others to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before those that wait already.
    First,
    /// After them.
    Last,
}

/// The backups that are read, and those that wait.
#[derive(Debug, Default)]
pub(super) struct ReadSlots {
    taken: BTreeMap<Key, Slot>,
    waiting: VecDeque<Waiting>,
    /// The keys of those.
    are_waiting: BTreeSet<Key>,
}

/// A backup whose files are read.
#[derive(Debug)]
struct Slot {
    uid: String,
    location: Key,
    /// Tells the task to end.
    is_over: Arc<AtomicBool>,
}

/// A backup that waits.
#[derive(Debug)]
struct Waiting {
    backup: Key,
    /// Its location when it began to wait.
    location: Key,
}

impl ReadSlots {
    /// Gives the backup with this uid, in the location of its namespace, a slot, or lets it wait for
    /// one. Returns what tells when to end reading.
    pub(super) fn take(
        &mut self,
        key: &Key,
        uid: &str,
        location: &str,
        place: Place,
    ) -> Option<Arc<AtomicBool>> {
        let location = Key::new(&key.namespace, location);
        if !self.is_free(&location) {
            self.wait(key, location, place);
            return None;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let slot = Slot {
            uid: uid.to_owned(),
            location,
            is_over: Arc::clone(&is_over),
        };
        self.taken.insert(key.clone(), slot);
        Some(is_over)
    }

    /// Whether a backup of `location` can be read now.
    fn is_free(&self, location: &Key) -> bool {
        let taken = || self.taken.values().map(|slot| &slot.location);
        let of_location = taken().filter(|other| *other == location).count();
        let of_namespace = taken().filter(|other| other.namespace == location.namespace);
        of_location < MAX_OF_LOCATION
            && of_namespace.count() < MAX_OF_NAMESPACE
            && self.taken.len() < MAX_READS
    }

    fn wait(&mut self, key: &Key, location: Key, place: Place) {
        if !self.are_waiting.insert(key.clone()) {
            return;
        }
        let backup = key.clone();
        let waiting = Waiting { backup, location };
        match place {
            Place::First => self.waiting.push_front(waiting),
            Place::Last => self.waiting.push_back(waiting),
        }
    }

    /// Ends reading the files of a backup that is being deleted, or is another one: `backup` is what
    /// has its key.
    pub(super) fn end(&self, key: &Key, backup: Option<&ObservedBackup>) {
        if let Some(slot) = self.taken.get(key) {
            let is_same = backup.is_some_and(|backup| {
                backup.fields.uid == slot.uid && backup.progress() == Progress::Complete
            });
            slot.is_over.fetch_or(!is_same, Ordering::Relaxed);
        }
    }

    /// Frees the slot of a backup, if it has one.
    pub(super) fn free(&mut self, key: &Key) {
        self.taken.remove(key);
    }

    /// Returns the next backup that waits and for which there is a slot. It waits no longer.
    pub(super) fn next(&mut self) -> Option<Key> {
        let mut waiting = self.waiting.iter();
        let next = waiting.position(|waiting| self.is_free(&waiting.location))?;
        let Waiting { backup, .. } = self.waiting.remove(next)?;
        self.are_waiting.remove(&backup);
        Some(backup)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Takes a slot for a backup, as `namespace/location/name`.
    fn take(slots: &mut ReadSlots, backup: &str, place: Place) -> bool {
        let (key, location) = parse(backup);
        slots.take(&key, "u", &location, place).is_some()
    }

    fn parse(backup: &str) -> (Key, String) {
        let parts: Vec<_> = backup.split('/').collect();
        (Key::new(parts[0], parts[2]), parts[1].to_owned())
    }

    fn names(slots: &mut ReadSlots) -> Vec<String> {
        let next = std::iter::from_fn(|| slots.next());
        next.map(|key| key.name).collect()
    }

    #[test]
    fn no_location_and_no_namespace_takes_all_slots() {
        let mut slots = ReadSlots::default();
        let taken = |slots: &mut ReadSlots, backups: &[&str]| -> Vec<bool> {
            let taken = backups.iter();
            taken.map(|one| take(slots, one, Place::Last)).collect()
        };
        let of_one = taken(&mut slots, &["v/a/1", "v/a/2", "v/a/3"]);
        assert_eq!(of_one, [true, true, false]);
        assert_eq!(taken(&mut slots, &["v/b/4", "v/c/5"]), [true, false]);
        assert_eq!(taken(&mut slots, &["w/a/6", "x/a/7"]), [true, false]);
        assert!(names(&mut slots).is_empty());
        // Those go on for which there is a slot, in the order in which they wait.
        slots.free(&Key::new("v", "4"));
        assert_eq!(slots.next().map(|key| key.name).as_deref(), Some("5"));
        assert!(take(&mut slots, "v/c/5", Place::Last));
        slots.free(&Key::new("v", "1"));
        assert_eq!(slots.next().map(|key| key.name).as_deref(), Some("3"));
        assert!(take(&mut slots, "v/a/3", Place::Last));
        slots.free(&Key::new("w", "6"));
        assert_eq!(names(&mut slots), ["7"]);
    }

    #[test]
    fn a_backup_waits_once_and_the_first_of_all_if_it_is_to() {
        let mut slots = ReadSlots::default();
        for backup in ["v/a/1", "v/a/2", "v/a/3", "v/a/4", "v/a/3"] {
            take(&mut slots, backup, Place::Last);
        }
        take(&mut slots, "v/a/5", Place::First);
        slots.free(&Key::new("v", "1"));
        assert_eq!(names(&mut slots), ["5", "3", "4"]);
        slots.free(&Key::new("v", "2"));
        assert!(names(&mut slots).is_empty());
    }

    #[test]
    fn reading_ends_when_the_backup_is_another_one_or_over() {
        let key = Key::new("v", "b");
        let with = |uid: &str, phase: &str| {
            let backup = json!({"metadata": {"uid": uid}, "status": {"phase": phase}});
            ObservedBackup::from_json(&backup.to_string()).unwrap()
        };
        let is_over = |now: Option<ObservedBackup>| {
            let mut slots = ReadSlots::default();
            let over = slots.take(&key, "u", "a", Place::Last);
            slots.end(&key, now.as_ref());
            over.unwrap().load(Ordering::Relaxed)
        };
        assert!(!is_over(Some(with("u", "Completed"))));
        assert!(is_over(Some(with("v", "Completed"))));
        assert!(is_over(Some(with("u", "Deleting"))));
        assert!(is_over(None));
    }
}
