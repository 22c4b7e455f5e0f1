//! What is done for Restores that wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Recorder;
use super::reading;
use super::slots::Place;
use super::verification::{self, Wanted};
use crate::controllers::channels::WaitingRestores;
use crate::controllers::records::RecordEntry;
use crate::decision::Key;
use crate::integrity::recording::{self, Step};
use crate::integrity::statement::Level;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// How long after a Restore the files of its backup are read, so that it is once for all that are created
/// together. Velero tries a Restore again after a second at the earliest.
const GATHERING: Duration = Duration::from_millis(400);

impl Recorder {
    /// Triggers the Backups of Restores that begin or end to wait.
    pub(super) fn trigger_waited_for(&mut self) {
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
            let records = self.records.entries();
            for record in records.last_known().into_iter().flat_map(BTreeMap::values) {
                if record.entry.is_unsettled {
                    self.worker.trigger(record.entry.backup());
                }
            }
        }
    }

    /// Returns the Restores that wait for this Backup.
    pub(super) fn restores_of(&self, key: &Key) -> Option<&WaitingRestores> {
        self.restores.as_ref()?.get(key)
    }

    /// Returns the Restores for which the files of `backup` are to be read, if they wait for nothing else:
    /// what is not judged yet is recorded first.
    pub(super) fn due_verification(
        &self,
        key: &Key,
        backup: &ObservedBackup,
        records: &[(String, RecordEntry)],
        step: &Step<'_>,
    ) -> Option<(WaitingRestores, Option<String>)> {
        let is_due = match step {
            Step::Wait | Step::Annotate(_) | Step::Declare => true,
            Step::Read(level) => {
                let can_record = self.reads_files(backup, level) && self.context.signer().is_some();
                matches!(level, Level::Adopted { .. }) || !can_record
            }
            // First it is known whether a signed list vouches for it.
            Step::Import
            | Step::TakeBack(_)
            | Step::Distrust(_)
            | Step::Observe
            | Step::NoteFinalPhase
            | Step::Forget(_) => false,
        };
        let waiting = self.restores_of(key)?;
        let known: Vec<_> = records.iter().map(|(_, record)| record).collect();
        let own = recording::find_own(&backup.fields.uid, &known).copied();
        let last = own.and_then(|record| record.reading.as_deref());
        let is_due =
            is_due && backup.progress() == Progress::Complete && reading::is_due(waiting, last);
        is_due.then(|| {
            (
                waiting.clone(),
                own.map(|record| record.identity().uid.to_owned()),
            )
        })
    }

    /// Reads the files of a Backup for Restores, or lets it wait for those of others.
    pub(super) fn start_verification(
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
}
