//! Starts the next step of a Backup.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;

use super::import::{KnownKeys, pause_before_look};
use super::reader::Extent;
use super::slots::Place;
use super::{
    Recorder, UPLOAD_PAUSE, adopt, annotate, departed, distrusted, steps, upload, verification,
};
use crate::controllers::records::RecordEntry;
use crate::decision::Key;
use crate::integrity::recording::{self, RecordState, Seen, Step};
use crate::integrity::statement::Level;
use crate::kubernetes::crds::name_prefix;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::{ObservedBackup, Progress};

impl Recorder {
    /// Returns the records of the Backups of this name, by the name of the record.
    fn records_of(&self, key: &Key) -> Vec<(String, RecordEntry)> {
        let prefix = name_prefix(&key.name);
        let from = Key::new("", &*prefix);
        let all = self.records.entries();
        let named = all
            .last_known()
            .into_iter()
            .flat_map(|all| all.range(&from..));
        let named = named.take_while(|(name, _)| name.name.starts_with(&prefix));
        let own = named.filter(|(_, record)| record.entry.is_of(key));
        own.map(|(name, record)| (name.name.clone(), record.entry.clone()))
            .collect()
    }

    /// Starts the next step of a Backup, unless one is under way.
    pub(super) fn start(&mut self, key: Key) {
        if self.busy.contains(&key) {
            let backup = self.backups.last_known().and_then(|all| all.get(&key));
            let is_wanted = !self.verified.contains(&key) || self.restores_of(&key).is_some();
            let backup = backup.filter(|_| is_wanted);
            let backup = backup.map(|backup| backup.unpack());
            self.slots.end(&key, backup.as_ref());
            self.again.insert(key);
            return;
        }
        // What is not known is not decided: the lists trigger again.
        let (Some(backups), true, Some(keys)) = (
            self.backups.last_known(),
            self.records.entries().last_known().is_some(),
            self.known_keys.clone(),
        ) else {
            return;
        };
        let context = Arc::clone(&self.context);
        let mut backup = backups.get(&key).map(|backup| backup.unpack());
        let seen = self.sightings.get(&key).cloned().unwrap_or_default();
        let records = self.records_of(&key);
        if let Some(backup) = &mut backup {
            let told = [seen.phase_stored, backup.phase_stored];
            let own = records
                .iter()
                .find(|(_, record)| record.identity().uid == backup.fields.uid);
            let first = own.and_then(|(_, record)| record.final_phase);
            let first = first.unwrap_or_default();
            backup.phase_stored = first.completed(told.into_iter().flatten().min());
        }
        let Some(backup) = backup else {
            self.end_records(key, records);
            return;
        };
        let closed = records
            .iter()
            .find(|(_, record)| record.is_closed_in_error(&backup));
        if let Some((name, _)) = closed.cloned() {
            self.spawn(key, steps::reopen(context, name));
            return;
        }
        let is_look_due = self.time_to_look(&key, &backup).is_zero();
        let known = records
            .iter()
            .map(|(_, record)| record.known(&backup, &keys, is_look_due));
        let known: Vec<_> = known.collect();
        let step = recording::next(&backup, &known, seen.seen);
        if let Some(wanted) = self.due_verification(&key, &backup, &records, &step) {
            return self.start_verification(key, wanted, &backup);
        }
        let mut unsettled = records.iter().filter(|(_, record)| record.is_unsettled);
        if self.restores.is_some()
            && self.restores_of(&key).is_none()
            && let Some((name, _)) = unsettled.next()
        {
            self.spawn(key, verification::settle(context, name.clone()));
            return;
        }
        let own = |uid: &str| {
            records
                .iter()
                .find(|(_, record)| record.identity().uid == uid)
                .cloned()
        };
        match step {
            Step::Wait => self.settle(key, backup, records),
            Step::Observe => self.spawn(key, steps::observe(context, backup)),
            Step::NoteFinalPhase => {
                let was_running = seen.seen.was_running;
                if let Some(seen) = self.sightings.get_mut(&key) {
                    seen.seen.has_noted = true;
                }
                self.spawn(key, steps::note_final_phase(context, backup, was_running));
            }
            Step::Forget(uid) => {
                if let Some((name, _)) = own(uid) {
                    self.spawn(key, steps::forget(context, name));
                }
            }
            Step::Annotate(uid) => {
                if let Some((_, record)) = own(uid) {
                    self.spawn(key, annotate::annotate(context, backup, record));
                }
            }
            Step::Distrust(uid) => {
                if let Some((name, record)) = own(uid)
                    && let Some(why) = record.distrust(&backup, &keys)
                {
                    self.spawn(key, distrusted::distrust(context, backup, name, why, keys));
                }
            }
            Step::TakeBack(uid) => {
                if let Some((name, _)) = own(uid) {
                    self.spawn(key, departed::take_back(context, backup, name));
                }
            }
            Step::Import => self.start_reading(key, backup, records, Level::Late, false),
            Step::Declare => self.spawn(key, adopt::declare(context, backup)),
            Step::Read(level) => self.start_recording(key, backup, records, level, &keys),
        }
    }

    /// Reads the files of a Backup, unless there is nothing to gain from that.
    fn start_recording(
        &mut self,
        key: Key,
        backup: ObservedBackup,
        records: Vec<(String, RecordEntry)>,
        level: Level,
        keys: &KnownKeys,
    ) {
        // Who vouches for a backup without a record asks to have it judged.
        let reads_files = self.reads_files(&backup, &level);
        let can_record = reads_files && self.context.signer().is_some();
        // The record of a synced Backup is looked up even if nothing may be read.
        let is_recorded = |(_, record): &(_, RecordEntry)| record.state == RecordState::Recorded;
        if can_record || self.can_import(keys) || records.iter().any(is_recorded) {
            self.start_reading(key, backup, records, level, reads_files);
        }
    }

    /// Whether a key of another cluster may have signed backups.
    fn can_import(&self, keys: &KnownKeys) -> bool {
        let signer = self.context.signer();
        let own = signer.as_ref().map(|signer| &signer.name);
        keys.keys.iter().any(|key| Some(&key.name) != own)
    }

    /// Whether the files of a Backup are read to record them at this level.
    pub(super) fn reads_files(&self, backup: &ObservedBackup, level: &Level) -> bool {
        let is_asked = backup.adoption.is_some();
        *level != Level::Late || is_asked || self.context.settings.records_existing
    }

    /// Does what is left to do about a Backup that needs no step.
    fn settle(
        &mut self,
        key: Key,
        backup: ObservedBackup,
        mut records: Vec<(String, RecordEntry)>,
    ) {
        if backup.progress() == Progress::Complete
            && let Some(sighting) = self.sightings.get_mut(&key)
        {
            // Its record may be deleted. Then it is judged anew, but no later time counts.
            sighting.seen = Seen::default();
            sighting.phase_stored = backup.phase_stored;
        }
        let lacks_envelope = |(_, record): &&(String, RecordEntry)| {
            record.lacks_envelope
                && recording::is_annotated(&backup, record.checksum, record.manifest)
        };
        let mut lacking = records.iter().filter(|_| self.context.signer().is_some());
        if let Some((name, _)) = lacking.find(lacks_envelope) {
            let since_try = self.uploads.get(&key).map(Instant::elapsed);
            match since_try.and_then(|since| UPLOAD_PAUSE.checked_sub(since)) {
                Some(rest) => self.worker.trigger_after(key.clone(), rest),
                None => return self.start_upload(key, name.clone(), backup),
            }
        } else {
            self.uploads.remove(&key);
        }
        let awaits_list = records.iter().any(|(_, record)| record.awaits_list());
        let look = awaits_list.then(|| self.time_to_look(&key, &backup));
        records.retain(|(_, record)| record.gone_at.is_some());
        if records.is_empty() {
            let requeue = Requeue {
                retry: false,
                within: look,
            };
            self.worker.done(key, requeue);
        } else {
            self.end_records(key, records);
        }
    }

    /// Returns the time until it is looked again for a signed list beside the backup. A process that just began waits as
    /// long as one that just looked.
    fn time_to_look(&mut self, key: &Key, backup: &ObservedBackup) -> Duration {
        let Some(sighting) = self.sightings.get_mut(key) else {
            return Duration::MAX;
        };
        let now = Instant::now();
        let next = sighting.next_look;
        let next = next.unwrap_or_else(|| now + pause_before_look(backup));
        sighting.next_look = Some(next);
        next.saturating_duration_since(now)
    }

    /// Closes or deletes these records, or lets that wait if a store has to be asked about an envelope.
    fn end_records(&mut self, key: Key, records: Vec<(String, RecordEntry)>) {
        if records.is_empty() {
            return;
        }
        let last = self.departures.get(&key).copied();
        if records.iter().all(|(_, record)| record.gone_at.is_some()) {
            self.departures.remove(&key);
        }
        let mut uploads = records.iter();
        let upload = uploads.find_map(|(_, record)| record.pending_upload.as_deref());
        if let Some(upload) = upload
            && self
                .slots
                .take(&key, "", &upload.location.name, Place::Last)
                .is_none()
        {
            return;
        }
        let context = Arc::clone(&self.context);
        self.spawn(key.clone(), departed::end(context, key, records, last));
    }

    /// Puts the envelope of this record into the bucket, or lets it wait for others to be read.
    fn start_upload(&mut self, key: Key, record: String, backup: ObservedBackup) {
        if self.take_slot(&key, &backup, Place::Last).is_none() {
            return;
        }
        self.uploads.insert(key.clone(), Instant::now());
        let context = Arc::clone(&self.context);
        self.spawn(key, upload::upload(context, record, backup));
    }

    /// Reads the files of a Backup, or lets it wait for others.
    fn start_reading(
        &mut self,
        key: Key,
        backup: ObservedBackup,
        records: Vec<(String, RecordEntry)>,
        level: Level,
        reads_files: bool,
    ) {
        let was_tried = |(_, record): &(String, RecordEntry)| {
            record.state == RecordState::Unreadable && record.identity().uid == backup.fields.uid
        };
        let waiting = self.restores_of(&key).cloned();
        let place = match () {
            () if waiting.is_some() => Place::Restore,
            // A store that cannot be read does not hold up those that can.
            () if level != Level::Late && !records.iter().any(was_tried) => Place::First,
            () => Place::Last,
        };
        let Some(is_over) = self.take_slot(&key, &backup, place) else {
            return;
        };
        self.uploads.insert(key.clone(), Instant::now());
        if let Some(sighting) = self.sightings.get_mut(&key) {
            sighting.next_look = Some(Instant::now() + pause_before_look(&backup));
        }
        let Some(keys) = self.known_keys.clone() else {
            return;
        };
        let judged = |(_, record): &(String, RecordEntry)| {
            record.identity().uid == backup.fields.uid && record.state == RecordState::Unobserved
        };
        let extent = Extent {
            only_imports: level == Level::Late && records.iter().any(judged),
            keys,
            level,
            reads_files,
            waiting,
            is_over,
        };
        let context = Arc::clone(&self.context);
        self.spawn(key, steps::read(context, backup, records, extent));
    }

    /// Takes a slot to read the files of `backup`, or lets it wait.
    pub(super) fn take_slot(
        &mut self,
        key: &Key,
        backup: &ObservedBackup,
        place: Place,
    ) -> Option<Arc<AtomicBool>> {
        let location = &backup.storage_location;
        self.slots.take(key, &backup.fields.uid, location, place)
    }
}
