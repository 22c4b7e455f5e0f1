//! Which backups are read at the same time, and which wait for that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decision::Key;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Backups whose files are read at the same time.
const MAX_READS: usize = 2;

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
    waiting: VecDeque<Key>,
    /// The same.
    are_waiting: BTreeSet<Key>,
}

/// A backup whose files are read.
#[derive(Debug)]
struct Slot {
    uid: String,
    /// Tells the task to end.
    is_over: Arc<AtomicBool>,
}

impl ReadSlots {
    /// Gives `backup` a slot, or lets it wait for one. Returns what tells when to end reading.
    pub(super) fn take(
        &mut self,
        key: &Key,
        backup: &ObservedBackup,
        place: Place,
    ) -> Option<Arc<AtomicBool>> {
        if self.taken.len() >= MAX_READS {
            self.wait(key, place);
            return None;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let slot = Slot {
            uid: backup.fields.uid.clone(),
            is_over: Arc::clone(&is_over),
        };
        self.taken.insert(key.clone(), slot);
        Some(is_over)
    }

    fn wait(&mut self, key: &Key, place: Place) {
        if !self.are_waiting.insert(key.clone()) {
            return;
        }
        match place {
            Place::First => self.waiting.push_front(key.clone()),
            Place::Last => self.waiting.push_back(key.clone()),
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
        if self.taken.len() >= MAX_READS {
            return None;
        }
        let key = self.waiting.pop_front()?;
        self.are_waiting.remove(&key);
        Some(key)
    }
}
