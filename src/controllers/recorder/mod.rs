//! The recorder: reads the files of each backup once when it is complete, signs the list of them, and
//! keeps a record.
//!
//! Everything that is written can be written again: a recorder that is killed anywhere goes on from
//! what it finds. First the envelope is put beside the backup, then the record is completed, then the
//! Backup is annotated.

mod annotate;
mod envelope;
mod ledger;
mod location;
mod observed;
mod reader;
mod signing;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tracing::Instrument as _;

use self::ledger::Ledger;
use self::observed::{RecordEntry, watch_backups, watch_records};
use self::signing::Signer;
use super::{ControllerContext, RecorderSettings};
use crate::decision::Key;
use crate::integrity::recording::{self, Step};
use crate::integrity::statement::Level;
use crate::kubernetes::watch::{Change, Watch};
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::telemetry::RecordGauges;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Backups whose files are read at the same time.
const MAX_READS: usize = 2;

/// A store that cannot be read is tried again slowly: most causes need a person.
const TIMING: Timing = Timing {
    debounce: Duration::from_millis(100),
    min_backoff: Duration::from_secs(10),
    max_backoff: Duration::from_mins(10),
    resync: None,
};

/// Order in which the backups of a list are recorded: the newest first, this much apart.
const LIST_SPACING: Duration = Duration::from_millis(1);

/// What the steps of the recorder share.
struct Context {
    controllers: Arc<ControllerContext>,
    ledger: Ledger,
    signer: Signer,
    settings: RecorderSettings,
}

/// The state of the recorder.
struct Recorder {
    context: Arc<Context>,
    backups: Watch<ObservedBackup>,
    records: Watch<RecordEntry>,
    worker: Worker<Key>,
    tasks: JoinSet<Requeue>,
    /// The Backup of each task, and whether it reads files.
    owners: HashMap<task::Id, (Key, bool)>,
    /// The backups with a step under way.
    busy: BTreeSet<Key>,
    /// Those of them that changed meanwhile.
    again: BTreeSet<Key>,
    /// The uids of the Backups that were seen before they were complete. A backup of a second may be
    /// complete before its record is seen.
    running: BTreeMap<Key, String>,
    /// The backups that wait for others to be read.
    waiting: VecDeque<Key>,
    reads: usize,
    gauges: RecordGauges,
}

/// Records backups while this replica leads. Never returns.
pub(super) async fn run(controllers: Arc<ControllerContext>) {
    let Some(settings) = &controllers.settings.recorder else {
        return std::future::pending().await;
    };
    let settings = settings.clone();
    ledger::wait_until_installed(&controllers.client).await;
    let signer = signing::wait_for_signer(&controllers).await;
    let gauges = RecordGauges::new(&controllers.metrics);
    let mut recorder = Recorder {
        backups: watch_backups(&controllers.client),
        records: watch_records(&controllers.client),
        worker: Worker::new(TIMING),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        busy: BTreeSet::new(),
        again: BTreeSet::new(),
        running: BTreeMap::new(),
        waiting: VecDeque::new(),
        reads: 0,
        gauges,
        context: Arc::new(Context {
            ledger: Ledger::new(&controllers.client),
            signer,
            controllers,
            settings,
        }),
    };
    loop {
        tokio::select! {
            change = recorder.backups.changed() => recorder.trigger_backups(&change),
            change = recorder.records.changed() => recorder.trigger_records(&change),
            key = recorder.worker.next() => recorder.start(key),
            Some(ended) = recorder.tasks.join_next_with_id() => recorder.finish(ended),
        }
    }
}

impl Recorder {
    fn trigger_backups(&mut self, change: &Change) {
        match change {
            Change::Entry(key) => {
                self.note_running(key);
                self.worker.trigger(key.clone());
            }
            Change::List(keys) => {
                for key in keys {
                    self.note_running(key);
                }
                let known = self.backups.last_known();
                let started = |key: &Key| known?.get(key)?.fields.started.clone();
                let mut keys: Vec<_> = keys.iter().map(|key| (started(key), key)).collect();
                keys.sort();
                let delays = (0..).map(|rank| LIST_SPACING * rank);
                for ((_, key), delay) in keys.into_iter().rev().zip(delays) {
                    self.worker.trigger_after(key.clone(), delay);
                }
                // Records of Backups that went away while nobody watched.
                self.trigger_all_records();
            }
            Change::Refused => {}
        }
    }

    fn note_running(&mut self, key: &Key) {
        match self.backups.last_known().and_then(|all| all.get(key)) {
            Some(backup) if backup.progress() == Progress::Running => {
                self.running.insert(key.clone(), backup.fields.uid.clone());
            }
            Some(backup) if self.running.get(key) == Some(&backup.fields.uid) => {}
            _ => {
                self.running.remove(key);
            }
        }
    }

    fn trigger_records(&mut self, change: &Change) {
        let states = self.records.last_known().into_iter().flatten();
        self.gauges
            .set(states.map(|(_, record)| record.state.as_str()));
        match change {
            Change::Entry(name) => {
                let record = self.records.last_known().and_then(|all| all.get(name));
                if let Some(key) = record.map(RecordEntry::backup) {
                    self.worker.trigger(key);
                }
            }
            Change::List(_) => self.trigger_all_records(),
            Change::Refused => {}
        }
    }

    fn trigger_all_records(&mut self) {
        for record in self
            .records
            .last_known()
            .into_iter()
            .flat_map(BTreeMap::values)
        {
            self.worker.trigger(record.backup());
        }
    }

    /// Returns the records of the Backups of this name, by the name of the record.
    fn records_of(&self, key: &Key) -> Vec<(String, RecordEntry)> {
        let all = self.records.last_known().into_iter().flatten();
        let own = all.filter(|(_, record)| record.is_of(key));
        own.map(|(name, record)| (name.name.clone(), record.clone()))
            .collect()
    }

    /// Starts the next step of a Backup, unless one is under way.
    fn start(&mut self, key: Key) {
        if self.busy.contains(&key) {
            self.again.insert(key);
            return;
        }
        // What is not known is not decided: the lists trigger again.
        let (Some(backups), Some(_)) = (self.backups.last_known(), self.records.last_known())
        else {
            return;
        };
        let context = Arc::clone(&self.context);
        let backup = backups.get(&key).cloned();
        let records = self.records_of(&key);
        let Some(backup) = backup else {
            if !records.is_empty() {
                self.spawn(key, false, steps::end(context, records));
            }
            return;
        };
        let known: Vec<_> = records.iter().map(|(_, record)| record.known()).collect();
        let step = recording::next(&backup, &known, self.running.contains_key(&key));
        let own = |uid: &str| {
            records
                .iter()
                .find(|(_, record)| record.uid == uid)
                .cloned()
        };
        match step {
            Step::Wait => {}
            Step::Observe => self.spawn(key, false, steps::observe(context, backup)),
            Step::Forget(uid) => {
                if let Some((name, _)) = own(uid) {
                    self.spawn(key, false, steps::forget(context, name));
                }
            }
            Step::Annotate(uid) => {
                if let Some((_, record)) = own(uid) {
                    self.spawn(key, false, annotate::annotate(context, backup, record));
                }
            }
            Step::Read(Level::Late) if !context.settings.records_existing => {}
            Step::Read(_) if self.reads >= MAX_READS => {
                self.busy.insert(key.clone());
                self.waiting.push_back(key);
            }
            Step::Read(level) => {
                self.reads += 1;
                self.spawn(key, true, steps::read(context, backup, records, level));
            }
        }
    }

    fn spawn(
        &mut self,
        key: Key,
        is_read: bool,
        step: impl Future<Output = Requeue> + Send + 'static,
    ) {
        self.busy.insert(key.clone());
        let span = tracing::error_span!("record", namespace = key.namespace, backup = key.name);
        let id = self.tasks.spawn(step.instrument(span)).id();
        self.owners.insert(id, (key, is_read));
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
        let Some((key, is_read)) = self.owners.remove(&id) else {
            return;
        };
        self.busy.remove(&key);
        self.worker.done(key.clone(), requeue);
        if self.again.remove(&key) {
            self.worker.trigger(key);
        }
        if is_read {
            self.reads = self.reads.saturating_sub(1);
            if let Some(next) = self.waiting.pop_front() {
                self.busy.remove(&next);
                self.worker.run_now(next);
            }
        }
    }
}
