//! Which backups are read at the same time, and which wait for that.
//!
//! A store may send so slowly that a backup occupies its slot for hours. So no location can take all
//! slots of its namespace, and no namespace those of all. Backups for which Restores wait have slots of
//! their own, as many: what is recorded never holds them up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::decision::Key;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Backups of one location that are read at the same time.
const MAX_OF_LOCATION: usize = 2;

/// Backups of one namespace that are read at the same time, of which one is of another location.
const MAX_OF_NAMESPACE: usize = 3;

/// Backups that are read at the same time, of which one is of another namespace.
const MAX_READS: usize = 4;

/// Where a backup waits for others to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Before all others: a Restore waits for it. Those of this place wait in their order.
    Restore,
    /// Before those that wait already, but not before [`Self::Restore`].
    First,
    /// After them.
    Last,
}

impl Place {
    /// Whether a Restore waits for it, so that it has another slot.
    const fn is_for_restore(self) -> bool {
        matches!(self, Self::Restore)
    }
}

/// The backups that are read, and those that wait.
#[derive(Debug, Default)]
pub(super) struct ReadSlots {
    taken: BTreeMap<Key, Slot>,
    /// Those of [`Place::Restore`] are the first.
    waiting: VecDeque<Waiting>,
    /// The keys of those, and where they wait.
    places: BTreeMap<Key, Place>,
}

/// A backup whose files are read.
#[derive(Debug)]
struct Slot {
    uid: String,
    location: Key,
    place: Place,
    since: Instant,
    /// Tells the task to end.
    is_over: Arc<AtomicBool>,
}

/// A backup that waits.
#[derive(Debug)]
struct Waiting {
    backup: Key,
    /// Its location when it began to wait.
    location: Key,
    place: Place,
}

impl Waiting {
    /// Whether it needs the same slot as another one.
    fn needs_same(&self, other: &Self) -> bool {
        self.place.is_for_restore() == other.place.is_for_restore()
            && self.location == other.location
    }
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
        if !self.is_free(&location, place) {
            self.wait(key, location, place);
            return None;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let slot = Slot {
            uid: uid.to_owned(),
            location,
            place,
            since: Instant::now(),
            is_over: Arc::clone(&is_over),
        };
        self.taken.insert(key.clone(), slot);
        Some(is_over)
    }

    /// Whether a backup of `location` that waited in `place` can be read now.
    fn is_free(&self, location: &Key, place: Place) -> bool {
        let is_for_restore = place.is_for_restore();
        let taken = || {
            let taken = self.taken.values();
            let taken = taken.filter(|slot| slot.place.is_for_restore() == is_for_restore);
            taken.map(|slot| &slot.location)
        };
        let of_location = taken().filter(|other| *other == location).count();
        let of_namespace = taken().filter(|other| other.namespace == location.namespace);
        of_location < MAX_OF_LOCATION
            && of_namespace.count() < MAX_OF_NAMESPACE
            && taken().count() < MAX_READS
    }

    fn wait(&mut self, key: &Key, location: Key, place: Place) {
        match self.places.get(key) {
            // A Restore waits for it since.
            Some(before) if place.is_for_restore() && !before.is_for_restore() => {
                self.waiting.retain(|waiting| waiting.backup != *key);
            }
            Some(_) => return,
            None => {}
        }
        self.places.insert(key.clone(), place);
        let restores = self
            .waiting
            .partition_point(|waiting| waiting.place.is_for_restore());
        let at = match place {
            Place::Restore | Place::First => restores,
            Place::Last => self.waiting.len(),
        };
        let backup = key.clone();
        let waiting = Waiting {
            backup,
            location,
            place,
        };
        self.waiting.insert(at, waiting);
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

    /// Returns for how long a backup for which nobody waits has had its slot, if it has one.
    pub(super) fn held(&self, key: &Key, now: Instant) -> Option<Duration> {
        let slot = self.taken.get(key)?;
        (slot.place == Place::Last).then(|| now.duration_since(slot.since))
    }

    /// Frees the slot of a backup, if it has one.
    pub(super) fn free(&mut self, key: &Key) {
        self.taken.remove(key);
    }

    /// Returns the next backup that waits and for which there is a slot. It waits no longer.
    pub(super) fn next(&mut self) -> Option<Key> {
        let mut waiting = self.waiting.iter();
        // Thousands may wait for one location.
        let mut full: Option<&Waiting> = None;
        let next = waiting.position(|waiting| {
            if full.is_some_and(|full| full.needs_same(waiting)) {
                return false;
            }
            let is_free = self.is_free(&waiting.location, waiting.place);
            full = Some(waiting).filter(|_| !is_free);
            is_free
        })?;
        let Waiting { backup, .. } = self.waiting.remove(next)?;
        self.places.remove(&backup);
        // Thousands may have waited.
        if self.waiting.len() < self.waiting.capacity() / 4 {
            self.waiting.shrink_to(2 * self.waiting.len());
        }
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
    fn what_a_restore_waits_for_has_its_own_slots_and_comes_first() {
        let mut slots = ReadSlots::default();
        for backup in ["v/a/1", "v/a/2", "v/a/3", "v/a/4"] {
            take(&mut slots, backup, Place::Last);
        }
        let restore = |slots: &mut ReadSlots, backup| take(slots, backup, Place::Restore);
        assert!(restore(&mut slots, "v/a/5") && restore(&mut slots, "v/a/6"));
        // No more of them than of the others, in their order; the last one waited already.
        assert!(!restore(&mut slots, "v/a/7") && !restore(&mut slots, "v/a/8"));
        assert!(!restore(&mut slots, "v/a/4"));
        take(&mut slots, "v/a/9", Place::First);
        slots.free(&Key::new("v", "1"));
        assert_eq!(slots.next().map(|key| key.name).as_deref(), Some("9"));
        slots.free(&Key::new("v", "5"));
        assert_eq!(names(&mut slots), ["7", "8", "4", "3"]);
    }

    #[test]
    fn only_what_nobody_waits_for_may_keep_its_slot() {
        let mut slots = ReadSlots::default();
        for (backup, place) in [
            ("v/a/1", Place::Last),
            ("v/a/2", Place::First),
            ("v/a/3", Place::Restore),
        ] {
            assert!(take(&mut slots, backup, place));
        }
        let now = Instant::now() + Duration::from_secs(1);
        let held = ["1", "2", "3", "4"].map(|name| slots.held(&Key::new("v", name), now));
        assert!(held[0] >= Some(Duration::from_secs(1)));
        assert_eq!(held[1..], [None, None, None]);
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
