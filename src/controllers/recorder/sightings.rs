//! What this process saw of the Backups.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use tokio::time::Instant;

use crate::decision::Key;
use crate::integrity::recording::Seen;

/// What this process saw of a Backup.
#[derive(Clone, Debug, Default)]
pub(super) struct Sighting {
    /// The hash of its UID.
    pub(super) uid: u64,
    /// A backup of a second may be complete before its record is seen.
    pub(super) seen: Seen,
    /// When the API server stored the final phase, as it was first seen: later writes of Velero make
    /// it later.
    pub(super) phase_stored: Option<i64>,
    /// Whether Velero was deleting it.
    pub(super) is_being_deleted: bool,
    /// When a signed list beside it is looked for again.
    pub(super) next_look: Option<Instant>,
}

/// What was seen of each Backup, by the hash of its key: a key needs three times as much memory as what was seen.
/// The hashes are others in each process, so that nobody can choose two keys of one hash.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    hasher: RandomState,
    by_hash: BTreeMap<u64, Sighting>,
}

impl Sightings {
    fn hash(&self, backup: &Key) -> u64 {
        self.hasher.hash_one(backup)
    }

    pub(super) fn get(&self, backup: &Key) -> Option<&Sighting> {
        self.by_hash.get(&self.hash(backup))
    }

    pub(super) fn get_mut(&mut self, backup: &Key) -> Option<&mut Sighting> {
        self.by_hash.get_mut(&self.hash(backup))
    }

    /// Returns what was seen of a Backup, which is nothing if it is new.
    pub(super) fn get_or_default(&mut self, backup: &Key) -> &mut Sighting {
        self.by_hash.entry(self.hash(backup)).or_default()
    }

    pub(super) fn remove(&mut self, backup: &Key) -> Option<Sighting> {
        self.by_hash.remove(&self.hash(backup))
    }
}
