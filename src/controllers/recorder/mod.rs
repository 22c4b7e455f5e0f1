//! The recorder: reads the files of each backup once when it is complete, signs the list of them, and
//! keeps a record. For Restores that wait, it reads them again.
//!
//! Everything that is written can be written again: a recorder that is killed anywhere goes on from
//! what it finds. First the envelope is put beside the backup, then the record is completed, then the
//! Backup is annotated.

mod adopt;
mod annotate;
mod cleanup;
mod departed;
mod dispatch;
mod distrusted;
mod download;
mod envelope;
mod import;
mod imported;
mod judgement;
mod ledger;
mod location;
mod observed;
mod pace;
mod reader;
mod reading;
mod recorded;
mod sightings;
mod signing;
mod slots;
mod steps;
mod stop;
#[cfg(test)]
mod tests;
mod triggers;
mod upload;
mod verification;
mod waiting;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::Api;
use kube::api::DynamicObject;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, interval};
use tracing::Instrument as _;

use self::import::{LastKeys, SharedKeys};
use self::ledger::Ledger;
use self::observed::{watch_backups, watch_keys};
use self::pace::Pace;
use self::sightings::Sightings;
use self::signing::Signer;
use self::slots::ReadSlots;
use super::channels::{ReadingTroubleSender, WaitingByBackup, WaitingReceiver};
use super::records::RecordWatch;
use super::{ControllerContext, RecorderSettings};
use crate::bucket::{self, Locations, OpenStores};
use crate::decision::{Key, TrustedKey};
use crate::integrity::departure::LastSeen;
use crate::kubernetes::watch::Watch;
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::RecordGauges;
use crate::velero::packed_backup::PackedBackup;

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

/// How long a bucket stays open from which nothing is read.
const IDLE_STORE: Duration = Duration::from_secs(10);

/// The changes of a second are counted together.
const GAUGE_TIMING: Timing = Timing {
    debounce: Duration::from_secs(1),
    ..TIMING
};

/// Each pause has its own time.
const PAUSE_TIMING: Timing = Timing {
    debounce: Duration::ZERO,
    ..TIMING
};

/// How often it is looked for closed records whose retention ends before the next time. A timer for each
/// would need as much memory as the record.
const EXPIRY_PAUSE: Duration = Duration::from_hours(1);

/// Order in which the backups of a list are recorded: the newest first, this much apart.
const LIST_SPACING: Duration = Duration::from_millis(1);

/// What the steps of the recorder share.
struct Context {
    controllers: Arc<ControllerContext>,
    ledger: Ledger,
    /// What signs, while it is known. Nothing but signing waits for it.
    signer: RwLock<Option<Arc<Signer>>>,
    /// By which keys backups were imported.
    imports: LastKeys,
    /// The buckets that are being read.
    stores: OpenStores,
    settings: RecorderSettings,
}

impl Context {
    /// Returns the Backups of a namespace.
    fn backups(&self, namespace: &str) -> Api<DynamicObject> {
        let client = self.controllers.client.clone();
        Api::namespaced_with(client, namespace, &crate::kubernetes::backup::resource())
    }

    /// Returns what signs, if it is known.
    fn signer(&self) -> Option<Arc<Signer>> {
        let signer = self.signer.read().unwrap_or_else(PoisonError::into_inner);
        signer.clone()
    }

    /// Signs with another key, or with none until it is known.
    fn set_signer(&self, signer: Option<Signer>) {
        let mut known = self.signer.write().unwrap_or_else(PoisonError::into_inner);
        *known = signer.map(Arc::new);
    }
}

/// The state of the recorder.
struct Recorder {
    context: Arc<Context>,
    backups: Watch<Box<PackedBackup>>,
    records: RecordWatch,
    keys: Watch<TrustedKey>,
    /// The keys as they were last known; none before the first list.
    known_keys: Option<SharedKeys>,
    worker: Worker<Key>,
    tasks: JoinSet<Requeue>,
    /// The Backup of each task.
    owners: HashMap<task::Id, Key>,
    slots: ReadSlots,
    pace: Pace,
    /// The backups that were read and keep their slots for a pause.
    pauses: Worker<Key>,
    /// The backups with a step under way.
    busy: BTreeSet<Key>,
    /// Those of them that changed meanwhile.
    again: BTreeSet<Key>,
    /// What was seen of the Backups.
    sightings: Sightings,
    /// What was seen of the Backups that went away since, while they were watched.
    departures: BTreeMap<Key, LastSeen>,
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
pub(super) async fn run(
    controllers: Arc<ControllerContext>,
    records: RecordWatch,
    waiting: WaitingReceiver,
    trouble: ReadingTroubleSender,
) {
    let Some(settings) = &controllers.settings.recorder else {
        return std::future::pending().await;
    };
    let signer = || signing::wait_for_signer(&controllers, settings.key_type);
    Box::pin(record(
        &controllers,
        settings.clone(),
        records,
        waiting,
        trouble,
        signer,
    ))
    .await;
}

/// Records backups with the key of `signer`, and without it does what needs no key. Once the use of the key has
/// ended, asks for another one. Never returns.
async fn record<S: Future<Output = Signer>>(
    controllers: &Arc<ControllerContext>,
    settings: RecorderSettings,
    records: RecordWatch,
    waiting: WaitingReceiver,
    trouble: ReadingTroubleSender,
    signer: impl Fn() -> S,
) {
    ledger::wait_until_installed(&controllers.client).await;
    let gauges = RecordGauges::new(&controllers.metrics);
    let locations = Locations {
        client: controllers.client.clone(),
        denied: settings.denied.clone(),
        proxies: controllers.settings.proxies.clone(),
        timing: bucket::Timing::default(),
    };
    let mut recorder = Recorder {
        backups: watch_backups(&controllers.client),
        records,
        keys: watch_keys(&controllers.client),
        known_keys: None,
        worker: Worker::new(TIMING),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        slots: ReadSlots::default(),
        pace: Pace::default(),
        pauses: Worker::new(PAUSE_TIMING),
        busy: BTreeSet::new(),
        again: BTreeSet::new(),
        sightings: Sightings::default(),
        departures: BTreeMap::new(),
        uploads: BTreeMap::new(),
        waiting,
        restores: None,
        verified: BTreeSet::new(),
        gauges,
        gauge_worker: Worker::new(GAUGE_TIMING),
        context: Arc::new(Context {
            ledger: Ledger::new(&controllers.client, trouble),
            signer: RwLock::new(None),
            imports: LastKeys::default(),
            stores: OpenStores::new(locations, IDLE_STORE),
            controllers: Arc::clone(controllers),
            settings,
        }),
    };
    // What was told before counts.
    recorder.waiting.mark_changed();
    let mut expiry = interval(EXPIRY_PAUSE);
    let mut next_signer = pin!(signer());
    loop {
        tokio::select! {
            found = &mut next_signer, if recorder.context.signer().is_none() => {
                // It looks for nothing before it is asked again.
                next_signer.set(signer());
                recorder.begin_to_sign(found);
            }
            _ = expiry.tick() => recorder.trigger_expiring(),
            change = recorder.backups.changed() => recorder.trigger_backups(&change),
            change = recorder.records.changed() => recorder.trigger_records(change),
            change = recorder.keys.changed() => recorder.trigger_keys(&change),
            Ok(()) = recorder.waiting.changed() => recorder.trigger_waited_for(),
            key = recorder.worker.next(), if recorder.busy.len() < MAX_STEPS => recorder.start(key),
            key = recorder.pauses.next() => recorder.end_pause(key),
            () = recorder.gauge_worker.next() => recorder.set_gauges(),
            Some(ended) = recorder.tasks.join_next_with_id() => recorder.finish(ended),
        }
    }
}

impl Recorder {
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
        self.leave_slot(&key);
        self.worker.done(key.clone(), requeue);
        if self.again.remove(&key) {
            self.worker.trigger(key);
        }
        self.start_waiting();
    }

    /// Frees the slot of a backup, after a pause while Velero syncs.
    fn leave_slot(&mut self, key: &Key) {
        let now = Instant::now();
        let held = self.slots.held(key, now);
        match held.and_then(|held| self.pace.pause(held, now)) {
            Some(pause) => self.pauses.trigger_after(key.clone(), pause),
            None => self.slots.free(key),
        }
    }

    fn end_pause(&mut self, key: Key) {
        // Otherwise the slot may be one that was taken since.
        if !self.busy.contains(&key) {
            self.slots.free(&key);
        }
        self.pauses.done(key, Requeue::default());
        self.start_waiting();
    }

    /// Starts what waits for a slot that is free now.
    fn start_waiting(&mut self) {
        // What waits may have nothing to be read any more.
        while let Some(next) = self.slots.next() {
            self.start(next);
        }
    }
}
