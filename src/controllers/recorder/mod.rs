//! The recorder: reads the files of each backup once when it is complete, signs the list of them, and
//! keeps a record. For Restores that wait, it reads them again.
//!
//! Everything that is written can be written again: a recorder that is killed anywhere goes on from
//! what it finds. First the envelope is put beside the backup, then the record is completed, then the
//! Backup is annotated.

mod adopt;
mod annotate;
mod cleanup;
mod envelope;
mod ledger;
mod location;
mod observed;
mod reader;
mod signing;
mod slots;
mod steps;
#[cfg(test)]
mod tests;
mod upload;
mod verification;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube::Api;
use kube::api::DynamicObject;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, interval};
use tracing::Instrument as _;

use self::ledger::Ledger;
use self::observed::{RecordEntry, watch_backups, watch_records};
use self::reader::Extent;
use self::signing::Signer;
use self::slots::{Place, ReadSlots};
use self::verification::Wanted;
use super::channels::{WaitingByBackup, WaitingReceiver, WaitingRestores};
use super::{ControllerContext, RecorderSettings};
use crate::clock::now;
use crate::decision::Key;
use crate::integrity::recording::{self, RecordState, Seen, Step};
use crate::integrity::statement::Level;
use crate::kubernetes::crds::name_prefix;
use crate::kubernetes::watch::{Change, Watch};
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::RecordGauges;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Steps that are under way at the same time. Each needs some KiB and asks the API server.
const MAX_STEPS: usize = 16;

/// A store that cannot be read is tried again slowly: most causes need a person.
const TIMING: Timing = Timing {
    debounce: Duration::from_millis(100),
    min_backoff: Duration::from_secs(10),
    max_backoff: Duration::from_mins(10),
    resync: None,
};

/// Pause before an envelope that could not be put into the bucket is put again. Whoever allows it can
/// restart velero-trust, which tries at once.
const UPLOAD_PAUSE: Duration = Duration::from_hours(24);

/// The changes of a second are counted together.
const GAUGE_TIMING: Timing = Timing {
    debounce: Duration::from_secs(1),
    ..TIMING
};

/// How often it is looked for closed records whose retention ends before the next time. A timer for each
/// would need as much memory as the record.
const EXPIRY_PAUSE: Duration = Duration::from_hours(1);

/// How long after a Restore the files of its backup are read, so that it is once for all that are created
/// together. Velero tries a Restore again after a second at the earliest.
const GATHERING: Duration = Duration::from_millis(400);

/// Order in which the backups of a list are recorded: the newest first, this much apart.
const LIST_SPACING: Duration = Duration::from_millis(1);

/// What the steps of the recorder share.
struct Context {
    controllers: Arc<ControllerContext>,
    ledger: Ledger,
    signer: Signer,
    settings: RecorderSettings,
}

impl Context {
    /// Returns the Backups of a namespace.
    fn backups(&self, namespace: &str) -> Api<DynamicObject> {
        let client = self.controllers.client.clone();
        Api::namespaced_with(client, namespace, &crate::kubernetes::backup::resource())
    }
}

/// What this process saw of a Backup.
#[derive(Clone, Debug, Default)]
struct Sighting {
    uid: String,
    /// A backup of a second may be complete before its record is seen.
    seen: Seen,
    /// When the API server stored the final phase, as it was first seen: later writes of Velero make
    /// it later.
    phase_stored: Option<i64>,
}

/// The state of the recorder.
struct Recorder {
    context: Arc<Context>,
    backups: Watch<ObservedBackup>,
    records: Watch<RecordEntry>,
    worker: Worker<Key>,
    tasks: JoinSet<Requeue>,
    /// The Backup of each task.
    owners: HashMap<task::Id, Key>,
    slots: ReadSlots,
    /// The backups with a step under way.
    busy: BTreeSet<Key>,
    /// Those of them that changed meanwhile.
    again: BTreeSet<Key>,
    /// What was seen of the Backups.
    sightings: BTreeMap<Key, Sighting>,
    /// When it was last tried to put the envelopes that are in their records only.
    uploads: BTreeMap<Key, Instant>,
    /// Tells which Restores wait.
    waiting: WaitingReceiver,
    /// The Restores that wait, as they were told last.
    restores: Option<WaitingByBackup>,
    /// The Backups that are read for Restores.
    verified: BTreeSet<Key>,
    gauges: RecordGauges,
    /// When the gauges are set: each time over all records.
    gauge_worker: Worker<()>,
}

/// Records backups while this replica leads, and reads their files for Restores that wait. Never returns.
pub(super) async fn run(controllers: Arc<ControllerContext>, waiting: WaitingReceiver) {
    let Some(settings) = &controllers.settings.recorder else {
        return std::future::pending().await;
    };
    let settings = settings.clone();
    ledger::wait_until_installed(&controllers.client).await;
    let signer = signing::wait_for_signer(&controllers, settings.key_type).await;
    let gauges = RecordGauges::new(&controllers.metrics);
    let mut recorder = Recorder {
        backups: watch_backups(&controllers.client),
        records: watch_records(&controllers.client),
        worker: Worker::new(TIMING),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        slots: ReadSlots::default(),
        busy: BTreeSet::new(),
        again: BTreeSet::new(),
        sightings: BTreeMap::new(),
        uploads: BTreeMap::new(),
        waiting,
        restores: None,
        verified: BTreeSet::new(),
        gauges,
        gauge_worker: Worker::new(GAUGE_TIMING),
        context: Arc::new(Context {
            ledger: Ledger::new(&controllers.client),
            signer,
            controllers,
            settings,
        }),
    };
    // What was told before counts.
    recorder.waiting.mark_changed();
    let mut expiry = interval(EXPIRY_PAUSE);
    loop {
        tokio::select! {
            _ = expiry.tick() => recorder.trigger_expiring(),
            change = recorder.backups.changed() => recorder.trigger_backups(&change),
            change = recorder.records.changed() => recorder.trigger_records(&change),
            Ok(()) = recorder.waiting.changed() => recorder.trigger_waited_for(),
            key = recorder.worker.next(), if recorder.busy.len() < MAX_STEPS => recorder.start(key),
            () = recorder.gauge_worker.next() => recorder.set_gauges(),
            Some(ended) = recorder.tasks.join_next_with_id() => recorder.finish(ended),
        }
    }
}

impl Recorder {
    fn trigger_backups(&mut self, change: &Change) {
        match change {
            Change::Entry(key) => {
                self.note(key);
                self.worker.trigger(key.clone());
            }
            Change::List(keys) => {
                for key in keys {
                    self.note(key);
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
        let started = |key: &Key| known?.get(key)?.fields.started.clone();
        let mut keys: Vec<_> = keys.iter().map(|key| (started(key), key)).collect();
        keys.sort();
        let delays = (0..).map(|rank| LIST_SPACING * rank);
        for ((_, key), delay) in keys.into_iter().rev().zip(delays) {
            self.worker.trigger_after(key.clone(), delay);
        }
    }

    /// Notes what is seen of a Backup.
    fn note(&mut self, key: &Key) {
        let Some(backup) = self.backups.last_known().and_then(|all| all.get(key)) else {
            self.sightings.remove(key);
            self.uploads.remove(key);
            return;
        };
        let uid = &backup.fields.uid;
        let seen = self.sightings.entry(key.clone()).or_default();
        if seen.uid != *uid {
            *seen = Sighting {
                uid: uid.clone(),
                ..Sighting::default()
            };
        }
        match backup.progress() {
            Progress::Running => seen.seen.was_running = true,
            Progress::Complete => seen.phase_stored = seen.phase_stored.or(backup.phase_stored),
            Progress::Over => {}
        }
    }

    fn trigger_records(&mut self, change: &Change) {
        self.gauge_worker.trigger(());
        match change {
            Change::Entry(name) => {
                let record = self.records.last_known().and_then(|all| all.get(name));
                match record.map(RecordEntry::backup) {
                    Some(key) => self.worker.trigger(key),
                    None => self.trigger_by_record(&name.name),
                }
            }
            Change::List(_) => {
                // Nothing was decided before the first list, nor about Backups without a record.
                let backups = self.backups.last_known();
                let backups = backups.into_iter().flat_map(BTreeMap::keys).cloned();
                self.trigger_newest_first(&backups.collect());
                self.trigger_all_records();
            }
            Change::Refused => {}
        }
    }

    /// Triggers the Backups of Restores that begin or end to wait.
    fn trigger_waited_for(&mut self) {
        let new = self.waiting.borrow_and_update().clone();
        let old = std::mem::replace(&mut self.restores, new);
        let is_first = old.is_none();
        let (old, new) = (
            old.unwrap_or_default(),
            self.restores.clone().unwrap_or_default(),
        );
        for key in old.keys().chain(new.keys()) {
            let (old, new) = (old.get(key), new.get(key));
            if old != new {
                // What is not wanted any more ends at once.
                let is_more = new.is_some_and(|new| !new.unread.is_empty());
                let delay = if is_more { GATHERING } else { Duration::ZERO };
                self.worker.trigger_after(key.clone(), delay);
            }
        }
        if is_first {
            let records = self.records.last_known().into_iter().flatten();
            for (_, record) in records.filter(|(_, record)| record.is_unsettled) {
                self.worker.trigger(record.backup());
            }
        }
    }

    /// Returns the Restores that wait for this Backup.
    fn restores_of(&self, key: &Key) -> Option<&WaitingRestores> {
        self.restores.as_ref()?.get(key)
    }

    fn set_gauges(&mut self) {
        let records = self.records.last_known().into_iter().flatten();
        self.gauges.set(records.map(|(_, record)| record.gauge()));
    }

    /// Triggers the Backups that a record of this name may have been about. It was deleted, and nothing
    /// else of it is known.
    fn trigger_by_record(&mut self, record: &str) {
        let backups = self.backups.last_known().into_iter().flatten();
        for (key, _) in backups {
            if record.starts_with(&name_prefix(&key.name)) {
                self.worker.trigger(key.clone());
            }
        }
    }

    /// Triggers the Backups of open records, which may have gone, and what [`trigger_expiring`] does.
    ///
    /// [`trigger_expiring`]: Self::trigger_expiring
    fn trigger_all_records(&mut self) {
        self.trigger_records_if(|rest| rest.is_none_or(|rest| rest <= EXPIRY_PAUSE));
    }

    /// Triggers the Backups of closed records whose retention ends soon.
    fn trigger_expiring(&mut self) {
        self.trigger_records_if(|rest| rest.is_some_and(|rest| rest <= EXPIRY_PAUSE));
    }

    /// Triggers the Backups of records by how long they are still kept; `None` if they are open.
    fn trigger_records_if(&mut self, is_wanted: impl Fn(Option<Duration>) -> bool) {
        let (now, retention) = (now(), self.context.settings.retention);
        let records = self.records.last_known().into_iter();
        for record in records.flat_map(BTreeMap::values) {
            if is_wanted(record.rest(now, retention)) {
                self.worker.trigger(record.backup());
            }
        }
    }

    /// Returns the records of the Backups of this name, by the name of the record.
    fn records_of(&self, key: &Key) -> Vec<(String, RecordEntry)> {
        let prefix = name_prefix(&key.name);
        let from = Key::new("", &*prefix);
        let all = self.records.last_known();
        let named = all.into_iter().flat_map(|all| all.range(&from..));
        let named = named.take_while(|(name, _)| name.name.starts_with(&prefix));
        let own = named.filter(|(_, record)| record.is_of(key));
        own.map(|(name, record)| (name.name.clone(), record.clone()))
            .collect()
    }

    /// Starts the next step of a Backup, unless one is under way.
    fn start(&mut self, key: Key) {
        if self.busy.contains(&key) {
            let backup = self.backups.last_known().and_then(|all| all.get(&key));
            let is_wanted = !self.verified.contains(&key) || self.restores_of(&key).is_some();
            self.slots.end(&key, backup.filter(|_| is_wanted));
            self.again.insert(key);
            return;
        }
        // What is not known is not decided: the lists trigger again.
        let (Some(backups), Some(_)) = (self.backups.last_known(), self.records.last_known())
        else {
            return;
        };
        let context = Arc::clone(&self.context);
        let mut backup = backups.get(&key).cloned();
        let seen = self.sightings.get(&key).cloned().unwrap_or_default();
        let records = self.records_of(&key);
        if let Some(backup) = &mut backup {
            let told = [seen.phase_stored, backup.phase_stored];
            let own = records
                .iter()
                .find(|(_, record)| record.uid == backup.fields.uid);
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
        let known: Vec<_> = records.iter().map(|(_, record)| record.known()).collect();
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
                .find(|(_, record)| record.uid == uid)
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
            Step::Declare => self.spawn(key, adopt::declare(context, backup)),
            Step::Read(level) => {
                // Who vouches for a backup without a record asks to have it judged.
                let reads_files = self.reads_files(&backup, &level);
                let is_recorded = |record: &RecordEntry| record.state == RecordState::Recorded;
                // The record of a synced Backup is looked up even if nothing may be read.
                if reads_files || records.iter().any(|(_, record)| is_recorded(record)) {
                    self.start_reading(key, backup, records, level, reads_files);
                }
            }
        }
    }

    /// Whether the files of a Backup are read to record them at this level.
    fn reads_files(&self, backup: &ObservedBackup, level: &Level) -> bool {
        let is_asked = backup.adoption.is_some();
        *level != Level::Late || is_asked || self.context.settings.records_existing
    }

    /// Returns the Restores for which the files of `backup` are to be read, if they wait for nothing else:
    /// what is not judged yet is recorded first.
    fn due_verification(
        &self,
        key: &Key,
        backup: &ObservedBackup,
        records: &[(String, RecordEntry)],
        step: &Step<'_>,
    ) -> Option<(WaitingRestores, Option<String>)> {
        let is_due = match step {
            Step::Wait | Step::Annotate(_) | Step::Declare => true,
            Step::Read(level) => {
                matches!(level, Level::Adopted { .. }) || !self.reads_files(backup, level)
            }
            Step::Observe | Step::NoteFinalPhase | Step::Forget(_) => false,
        };
        let waiting = self.restores_of(key)?;
        let known: Vec<_> = records.iter().map(|(_, record)| record.known()).collect();
        let own = recording::find_own(&backup.fields.uid, &known).map(|record| record.uid);
        let own = records.iter().find(|(_, record)| Some(&*record.uid) == own);
        let own = own.map(|(_, record)| record);
        let last = own.and_then(|record| record.reading.as_ref());
        let is_due = is_due
            && backup.progress() == Progress::Complete
            && verification::is_due(waiting, last);
        is_due.then(|| (waiting.clone(), own.map(|record| record.uid.clone())))
    }

    /// Reads the files of a Backup for Restores, or lets it wait for those of others.
    fn start_verification(
        &mut self,
        key: Key,
        (waiting, record): (WaitingRestores, Option<String>),
        backup: &ObservedBackup,
    ) {
        let Some(is_over) = self.take_slot(&key, backup, Place::Restore) else {
            return;
        };
        self.verified.insert(key.clone());
        let wanted = Wanted {
            backup: backup.clone(),
            record,
            waiting,
            is_over,
        };
        let context = Arc::clone(&self.context);
        self.spawn(key, verification::verify(context, wanted));
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
            let annotations = (&record.checksum, &record.manifest);
            record.lacks_envelope && annotations == (&backup.checksum, &backup.manifest)
        };
        if let Some((name, _)) = records.iter().find(lacks_envelope) {
            let since_try = self.uploads.get(&key).map(Instant::elapsed);
            match since_try.and_then(|since| UPLOAD_PAUSE.checked_sub(since)) {
                Some(rest) => self.worker.trigger_after(key.clone(), rest),
                None => return self.start_upload(key, name.clone(), backup),
            }
        } else {
            self.uploads.remove(&key);
        }
        records.retain(|(_, record)| record.gone_at.is_some());
        if records.is_empty() {
            self.worker.done(key, Requeue::default());
        } else {
            self.end_records(key, records);
        }
    }

    /// Closes or deletes these records, or lets that wait if a store has to be asked about an envelope.
    fn end_records(&mut self, key: Key, records: Vec<(String, RecordEntry)>) {
        if records.is_empty() {
            return;
        }
        let mut uploads = records.iter();
        let upload = uploads.find_map(|(_, record)| record.pending_upload.as_ref());
        if let Some(upload) = upload
            && self
                .slots
                .take(&key, "", &upload.location.name, Place::Last)
                .is_none()
        {
            return;
        }
        let context = Arc::clone(&self.context);
        self.spawn(key.clone(), steps::end(context, key, records));
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
            record.state == RecordState::Unreadable && record.uid == backup.fields.uid
        };
        let is_waited_for = self.restores_of(&key).is_some();
        let place = match () {
            () if is_waited_for => Place::Restore,
            // A store that cannot be read does not hold up those that can.
            () if level != Level::Late && !records.iter().any(was_tried) => Place::First,
            () => Place::Last,
        };
        let Some(is_over) = self.take_slot(&key, &backup, place) else {
            return;
        };
        self.uploads.insert(key.clone(), Instant::now());
        let extent = Extent {
            level,
            reads_files,
            is_waited_for,
            is_over,
        };
        let context = Arc::clone(&self.context);
        self.spawn(key, steps::read(context, backup, records, extent));
    }

    /// Takes a slot to read the files of `backup`, or lets it wait.
    fn take_slot(
        &mut self,
        key: &Key,
        backup: &ObservedBackup,
        place: Place,
    ) -> Option<Arc<AtomicBool>> {
        let location = &backup.storage_location;
        self.slots.take(key, &backup.fields.uid, location, place)
    }

    fn spawn(&mut self, key: Key, step: impl Future<Output = Requeue> + Send + 'static) {
        self.busy.insert(key.clone());
        let span = tracing::error_span!("record", namespace = key.namespace, backup = key.name);
        let id = self.tasks.spawn(step.instrument(span)).id();
        self.owners.insert(id, key);
    }

    fn finish(&mut self, ended: Result<(task::Id, Requeue), JoinError>) {
        let (id, requeue) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a step of the recorder panicked");
            (
                error.id(),
                Requeue {
                    retry: true,
                    within: None,
                },
            )
        });
        let Some(key) = self.owners.remove(&id) else {
            return;
        };
        self.busy.remove(&key);
        self.verified.remove(&key);
        let mut requeue = requeue;
        if requeue.retry && self.restores_of(&key).is_some() {
            let within = requeue.within.unwrap_or(verification::MAX_PAUSE);
            requeue.within = Some(within.min(verification::MAX_PAUSE));
        }
        if requeue.retry
            && let Some(seen) = self.sightings.get_mut(&key)
        {
            seen.seen.has_noted = false;
        }
        self.slots.free(&key);
        self.worker.done(key.clone(), requeue);
        if self.again.remove(&key) {
            self.worker.trigger(key);
        }
        // What waits may have nothing to be read any more.
        while let Some(next) = self.slots.next() {
            self.start(next);
        }
    }
}
