//! Which Backups the recorder looks at again after a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::import::KnownKeys;
use super::sightings::Sighting;
use super::signing::Signer;
use super::{EXPIRY_PAUSE, LIST_SPACING, Recorder};
use crate::clock::now;
use crate::controllers::records::{RecordChange, hash_of};
use crate::decision::{Key, KeyState};
use crate::integrity::departure::LastSeen;
use crate::kubernetes::watch::Change;
use crate::velero::observed_backup::Progress;

impl Recorder {
    pub(super) fn trigger_backups(&mut self, change: &Change) {
        match change {
            Change::Entry(key) => {
                self.note(key, true);
                self.worker.trigger(key.clone());
            }
            Change::List(keys) => {
                for key in keys {
                    self.note(key, false);
                }
                self.trigger_newest_first(keys);
                // Records of Backups that went away while nobody watched.
                self.trigger_all_records();
            }
            Change::Refused => {}
        }
    }

    fn trigger_newest_first(&mut self, keys: &BTreeSet<Key>) {
        let known = self.backups.last_known();
        let started = |key: &Key| known?.get(key)?.unpack().fields.started;
        let mut keys: Vec<_> = keys.iter().map(|key| (started(key), key)).collect();
        keys.sort();
        let delays = (0..).map(|rank| LIST_SPACING * rank);
        for ((_, key), delay) in keys.into_iter().rev().zip(delays) {
            self.worker.trigger_after(key.clone(), delay);
        }
    }

    fn trigger_all_backups(&mut self) {
        let backups = self.backups.last_known();
        let backups = backups.into_iter().flat_map(BTreeMap::keys).cloned();
        self.trigger_newest_first(&backups.collect());
    }

    /// Triggers what waited for the key that signs.
    pub(super) fn begin_to_sign(&mut self, signer: Signer) {
        self.context.set_signer(Some(signer));
        self.trigger_all_backups();
    }

    /// Ends the use of the key that signs if its TrustedKey says so: its Secret may have another one.
    fn check_signer(&self, keys: &KnownKeys) {
        let Some(signer) = self.context.signer() else {
            return;
        };
        let mut keys = keys.keys.iter();
        let ended = keys.find(|key| key.name == signer.name && key.state != KeyState::Active);
        if let Some(ended) = ended {
            let (key, state) = (&ended.name, ended.state.as_str());
            tracing::info!(key, state, "the key signs no more; looking for another one");
            self.context.set_signer(None);
        }
    }

    /// Notes what is seen of a Backup. Every change of it `is_seen`, or some of them may have been missed.
    fn note(&mut self, key: &Key, is_seen: bool) {
        let Some(backup) = self.backups.last_known().and_then(|all| all.get(key)) else {
            let last = self.sightings.remove(key).unwrap_or_default();
            self.uploads.remove(key);
            if last.is_being_deleted {
                self.departures.insert(key.clone(), LastSeen::Deleting);
            } else if is_seen {
                self.departures.insert(key.clone(), LastSeen::Present);
            }
            return;
        };
        let backup = backup.unpack();
        self.departures.remove(key);
        let uid = hash_of(&backup.fields.uid);
        let is_new = self.sightings.get(key).is_none();
        if is_new && is_seen && backup.progress() == Progress::Complete {
            self.pace.note_synced(Instant::now());
        }
        let seen = self.sightings.get_or_default(key);
        if seen.uid != uid {
            *seen = Sighting {
                uid,
                ..Sighting::default()
            };
        }
        seen.is_being_deleted = backup.is_being_deleted();
        match backup.progress() {
            Progress::Running => seen.seen.was_running = true,
            Progress::Complete => seen.phase_stored = seen.phase_stored.or(backup.phase_stored),
            Progress::Over => {}
        }
    }

    pub(super) fn trigger_records(&mut self, change: RecordChange) {
        self.gauge_worker.trigger(());
        match change {
            RecordChange::Entry { before, now } => {
                let [before, now] = [&before, &now].map(|one| one.as_ref().map(|one| &one.entry));
                if before != now
                    && let Some(record) = now.or(before)
                {
                    self.worker.trigger(record.backup());
                }
            }
            RecordChange::Any => {
                // Nothing was decided before the first list, nor about Backups without a record.
                self.trigger_all_backups();
                self.trigger_all_records();
            }
        }
    }

    /// Triggers what other keys may vouch for, or do not vouch for any more.
    pub(super) fn trigger_keys(&mut self, change: &Change) {
        let known = self.keys.last_known();
        let keys = match (change, known) {
            // Backups of this cluster are recorded all the same.
            (Change::Refused, None) => KnownKeys::default(),
            (_, None) => return,
            (_, Some(known)) => KnownKeys::new(known.values().cloned().collect()),
        };
        let last = self.known_keys.as_ref();
        if last.is_some_and(|last| last.digest == keys.digest) {
            return;
        }
        self.check_signer(&keys);
        self.known_keys = Some(Arc::new(keys));
        self.trigger_all_backups();
    }

    pub(super) fn set_gauges(&mut self) {
        let records = self.records.entries();
        let records = records.last_known().into_iter().flat_map(BTreeMap::values);
        self.gauges.set(records.map(|record| record.entry.gauge()));
    }

    /// Triggers the Backups of open records, which may have gone, and what [`trigger_expiring`] does.
    ///
    /// [`trigger_expiring`]: Self::trigger_expiring
    fn trigger_all_records(&mut self) {
        self.trigger_records_if(|rest| rest.is_none_or(|rest| rest <= EXPIRY_PAUSE));
    }

    /// Triggers the Backups of closed records whose retention ends soon.
    pub(super) fn trigger_expiring(&mut self) {
        self.trigger_records_if(|rest| rest.is_some_and(|rest| rest <= EXPIRY_PAUSE));
    }

    /// Triggers the Backups of records by how long they are still kept; `None` if they are open.
    fn trigger_records_if(&mut self, is_wanted: impl Fn(Option<Duration>) -> bool) {
        let (now, retention) = (now(), self.context.settings.retention);
        let records = self.records.entries();
        for record in records.last_known().into_iter().flat_map(BTreeMap::values) {
            if is_wanted(record.entry.rest(now, retention)) {
                self.worker.trigger(record.entry.backup());
            }
        }
    }
}
