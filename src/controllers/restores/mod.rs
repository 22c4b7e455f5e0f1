//! Follows the Restores of all namespaces: what the gate lets wait is told to the recorder, and Velero is
//! asked to try it again as soon as it need not wait any more.
//!
//! It decides nothing. The decision is that of the webhook, made with the same facts, and when Velero tries
//! the Restore again, the webhook makes it anew.

mod aftermath;
mod evaluation;
mod observed;
mod progress;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use self::aftermath::Fate;
use self::evaluation::Evaluation;
use self::observed::{ObservedRestore, Stage, watch_restores};
use self::waiting::{News, WaitingRestore, by_backup, has_room, poll_pause};
use super::ControllerContext;
use super::channels::{ReadingTroubleReceiver, WaitingByBackup};
use super::records::{Identity, RecordChange, RecordEntries, RecordEntry, RecordWatch};
use crate::decision::{Key, RestoresMode};
use crate::kubernetes::events::{EventReason, velero_object};
use crate::kubernetes::watch::{Change, Watch};
use crate::kubernetes::worker::{Requeue, Timing, Worker};

/// Restores that are looked at at the same time.
const MAX_EVALUATIONS: usize = 8;

/// Restores of which something is told at the same time.
const MAX_TOLD: usize = 4;

const TIMING: Timing = Timing {
    debounce: Duration::from_millis(100),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(15),
    resync: None,
};

/// How a task ended.
enum Ended {
    /// A Restore was looked at.
    Evaluated(Evaluation),
    /// Something was told.
    Told,
}

/// What was last known of a Restore.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    uid: String,
    stage: Stage,
}

struct Reconciler {
    context: Arc<ControllerContext>,
    restores: Watch<ObservedRestore>,
    records: RecordWatch,
    sender: watch::Sender<Option<WaitingByBackup>>,
    /// Why nothing is read for any of them.
    trouble: ReadingTroubleReceiver,
    /// All Restores; `None` before the first list.
    known: Option<BTreeMap<Key, Known>>,
    waiting: BTreeMap<Key, WaitingRestore>,
    /// Whether some that wait have no place in `waiting`.
    has_left_out: bool,
    worker: Worker<Key>,
    tasks: JoinSet<Ended>,
    /// The Restore with its uid at which each task looks.
    evaluated: HashMap<task::Id, (Key, String)>,
    /// One for each task that tells something.
    permits: Arc<Semaphore>,
}

/// Takes the gauge back when this replica does not lead any more.
struct GaugeGuard(Arc<ControllerContext>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.metrics.restores_waiting.set(0);
    }
}

/// Follows the Restores while this replica leads, and sends which ones wait. Never returns.
pub(super) async fn run(
    context: Arc<ControllerContext>,
    records: RecordWatch,
    sender: watch::Sender<Option<WaitingByBackup>>,
    trouble: ReadingTroubleReceiver,
) {
    let _guard = GaugeGuard(Arc::clone(&context));
    let mut reconciler = Reconciler {
        restores: watch_restores(&context.client),
        records,
        sender,
        trouble,
        known: None,
        waiting: BTreeMap::new(),
        has_left_out: false,
        worker: Worker::new(TIMING),
        tasks: JoinSet::new(),
        evaluated: HashMap::new(),
        permits: Arc::new(Semaphore::new(MAX_TOLD)),
        context,
    };
    loop {
        tokio::select! {
            change = reconciler.restores.changed() => reconciler.follow(&change),
            change = reconciler.records.changed() => reconciler.trigger_by_records(change),
            Ok(()) = reconciler.trouble.changed() => reconciler.trigger_all(),
            key = reconciler.worker.next(), if reconciler.evaluated.len() < MAX_EVALUATIONS => {
                reconciler.start(key);
            }
            Some(ended) = reconciler.tasks.join_next_with_id() => reconciler.end(ended),
        }
    }
}

impl Reconciler {
    fn follow(&mut self, change: &Change) {
        match change {
            Change::Entry(key) => self.follow_one(key, false),
            Change::List(keys) => {
                let is_first = self.known.is_none();
                self.known.get_or_insert_default();
                for key in keys {
                    self.follow_one(key, is_first);
                }
            }
            Change::Refused => {}
        }
        self.publish();
    }

    fn follow_one(&mut self, key: &Key, is_first_list: bool) {
        if self.context.policy.restores_mode(&key.namespace) == RestoresMode::Off {
            return;
        }
        let now = self.restores.last_known().and_then(|all| all.get(key));
        let now = now.cloned();
        let Some(known) = &mut self.known else {
            return;
        };
        let Some(now) = now else {
            known.remove(key);
            self.end_waiting(key);
            return;
        };
        let new = Known {
            uid: now.uid.clone(),
            stage: now.stage,
        };
        let before = known.insert(key.clone(), new);
        let before = before.filter(|before| before.uid == now.uid);
        if now.stage == Stage::Waiting && !now.is_deleted {
            self.begin_waiting(key, &now.uid);
        } else {
            self.end_waiting(key);
        }
        if is_first_list {
            return;
        }
        for fate in fates(before.map(|before| before.stage), &now) {
            self.tell(key, &now.uid, fate);
        }
    }

    fn begin_waiting(&mut self, key: &Key, uid: &str) {
        let is_there = self.waiting.get(key).is_some_and(|one| one.uid == uid);
        if !is_there {
            if !self.waiting.contains_key(key) && !has_room(&self.waiting, &key.namespace) {
                if !std::mem::replace(&mut self.has_left_out, true) {
                    let namespace = &key.namespace;
                    tracing::warn!(namespace, "too many Restores wait; others are left out");
                }
                return;
            }
            let new = WaitingRestore::new(uid, Instant::now());
            self.waiting.insert(key.clone(), new);
        }
        self.worker.trigger(key.clone());
    }

    fn end_waiting(&mut self, key: &Key) {
        if self.waiting.remove(key).is_none() || !std::mem::take(&mut self.has_left_out) {
            return;
        }
        let all = self.restores.last_known().into_iter().flatten();
        let left_out = all.filter(|(key, restore)| {
            restore.stage == Stage::Waiting
                && !restore.is_deleted
                && !self.waiting.contains_key(*key)
                && self.context.policy.restores_mode(&key.namespace) != RestoresMode::Off
        });
        let left_out: Vec<_> = left_out
            .map(|(key, restore)| (key.clone(), restore.uid.clone()))
            .collect();
        for (key, uid) in left_out {
            self.begin_waiting(&key, &uid);
        }
    }

    fn tell(&mut self, key: &Key, uid: &str, fate: Fate) {
        let (context, permits) = (Arc::clone(&self.context), Arc::clone(&self.permits));
        let (key, uid) = (key.clone(), uid.to_owned());
        self.tasks.spawn(async move {
            let _permit = permits.acquire().await;
            aftermath::tell(&context, &key, &uid, fate).await;
            Ended::Told
        });
    }

    /// Triggers the Restores whose record changed.
    fn trigger_by_records(&mut self, change: RecordChange) {
        let RecordChange::Entry { before, now } = change else {
            return self.trigger_all();
        };
        let Some(backup) = now.or(before).map(|record| record.entry.backup()) else {
            return;
        };
        for (key, restore) in &self.waiting {
            if key.namespace == backup.namespace && restore.waits_for(&backup.name) {
                self.worker.trigger(key.clone());
            }
        }
    }

    fn trigger_all(&mut self) {
        for key in self.waiting.keys() {
            self.worker.trigger(key.clone());
        }
    }

    fn start(&mut self, key: Key) {
        let Some(restore) = self.waiting.get_mut(&key) else {
            self.worker.done(key, Requeue::default());
            return;
        };
        let records = self.records.entries();
        let marks: Vec<_> = records_of(&records, &key.namespace, restore)
            .filter_map(|(_, record)| Some(record.reading.as_ref()?.mark))
            .collect();
        drop(records);
        restore.marks = marks;
        let may_nudge = restore.until_nudge(Instant::now()).is_zero();
        let (context, uid) = (Arc::clone(&self.context), restore.uid.clone());
        let about = (key.clone(), uid.clone());
        let task = self.tasks.spawn(async move {
            let evaluation = evaluation::evaluate(&context, &key, &uid, may_nudge).await;
            Ended::Evaluated(evaluation)
        });
        self.evaluated.insert(task.id(), about);
    }

    fn end(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let (id, evaluation) = match ended {
            Ok((id, Ended::Evaluated(evaluation))) => (id, evaluation),
            Ok((_, Ended::Told)) => return,
            Err(error) => {
                tracing::error!(%error, "a task about a Restore panicked");
                (error.id(), Evaluation::Unknown(error.to_string()))
            }
        };
        if let Some((key, uid)) = self.evaluated.remove(&id) {
            self.finish(key, &uid, evaluation);
        }
    }

    fn finish(&mut self, key: Key, uid: &str, evaluation: Evaluation) {
        let pause = poll_pause(self.waiting.len());
        let restore = self.waiting.get_mut(&key).filter(|one| one.uid == uid);
        let Some(restore) = restore else {
            self.worker.done(key, Requeue::default());
            return;
        };
        let now = Instant::now();
        let requeue = match evaluation {
            // The watch tells.
            Evaluation::Gone => Requeue::default(),
            Evaluation::Unknown(why) => {
                let (namespace, name) = (&key.namespace, &key.name);
                tracing::debug!(namespace, restore = name, why, "cannot look at a Restore");
                restore.was_held = true;
                restore.decisions.get_or_insert_default();
                Requeue {
                    retry: true,
                    within: None,
                }
            }
            Evaluation::Known {
                decisions,
                is_nudged,
            } => {
                if is_nudged {
                    restore.note_nudge(now);
                }
                let waits = restore.decide(decisions);
                let trouble = *self.trouble.borrow_and_update();
                let news = restore.news(now, trouble);
                let within = if waits {
                    pause
                } else {
                    restore.until_nudge(now).max(TIMING.debounce)
                };
                if let Some(news) = news {
                    self.tell_waiting(&key, uid, news);
                }
                Requeue {
                    retry: false,
                    within: Some(within),
                }
            }
        };
        self.worker.done(key, requeue);
        self.publish();
    }

    /// Tells what a Restore waits for, and how far that is.
    fn tell_waiting(&mut self, key: &Key, uid: &str, news: News) {
        let context = Arc::clone(&self.context);
        let about = velero_object("Restore", key, Some(uid));
        let entries = self.records.entries();
        let restore = self.waiting.get(key).into_iter();
        let records: Vec<_> = restore
            .flat_map(|restore| records_of(&entries, &key.namespace, restore))
            .map(|(name, _)| name.to_owned())
            .collect();
        self.tasks.spawn(async move {
            let progress = progress::read(&context.client, &records).await;
            if news.is_repeated && progress.is_none() {
                return Ended::Told;
            }
            let progress = progress.map_or_else(String::new, |progress| format!(" ({progress})"));
            let note = format!("it waits: {}{progress}", news.message);
            context
                .events
                .emit(&about, EventReason::RestoreWaiting, &note)
                .await;
            Ended::Told
        });
    }

    /// Tells the recorder who waits, once all that were there at the beginning were looked at.
    fn publish(&self) {
        let waits = self.waiting.values().filter(|restore| restore.is_held());
        let count = i64::try_from(waits.count()).unwrap_or(i64::MAX);
        self.context.metrics.restores_waiting.set(count);
        let is_complete = self.waiting.values().all(|one| one.decisions.is_some());
        let is_begun = self.sender.borrow().is_some();
        if self.known.is_none() || !is_begun && !is_complete {
            return;
        }
        let new = Some(by_backup(&self.waiting));
        self.sender.send_if_modified(|told| {
            let is_new = *told != new;
            *told = new;
            is_new
        });
    }
}

/// Returns the records of the Backups from which Velero may restore, with their names. The Restore is in `namespace`.
fn records_of<'a>(
    all: &'a RecordEntries<'_>,
    namespace: &'a str,
    restore: &'a WaitingRestore,
) -> impl Iterator<Item = (&'a str, &'a RecordEntry)> {
    let all = all.last_known().into_iter().flatten();
    let all = all.map(|(name, record)| (name.name.as_str(), &record.entry));
    all.filter(move |(_, record)| {
        let Identity {
            namespace: its,
            name,
            ..
        } = record.identity();
        its == namespace && restore.waits_for(name)
    })
}

/// Returns what is told of a Restore that was in the stage `before`, or was not there.
fn fates(before: Option<Stage>, now: &ObservedRestore) -> Vec<Fate> {
    let ran = |stage: Stage| matches!(stage, Stage::Running | Stage::Over);
    let mut fates = Vec::new();
    if now.stage == Stage::Refused && before != Some(Stage::Refused) {
        fates.push(Fate::Refused);
    }
    if ran(now.stage) && !before.is_some_and(ran) {
        fates.push(Fate::Begun);
    }
    if now.stage == Stage::Over && before != Some(Stage::Over) && now.is_judged {
        fates.push(Fate::Read);
    }
    fates
}
