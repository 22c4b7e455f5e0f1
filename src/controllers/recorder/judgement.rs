//! What follows from reading the files of a Backup: they are recorded, or the record says why not.

use std::sync::Arc;

use super::Context;
use super::annotate;
use super::import::SharedKeys;
use super::ledger::time_now;
use super::reader::Recorded;
use super::steps::{again, emit, message, told};
use super::stop::{Stop, Unreadable, failure};
use crate::controllers::records::RecordEntry;
use crate::decision::FailureClass;
use crate::integrity::origin::Unobserved;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus, RecordedReading};
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// A Backup whose files are read, and its records.
pub(super) struct Reading {
    pub(super) context: Arc<Context>,
    pub(super) backup: ObservedBackup,
    /// All records of its name, as the watch knows them.
    pub(super) records: Vec<(String, RecordEntry)>,
    /// Its own record as it was stored before the files were read.
    pub(super) own: Option<BackupRecord>,
    pub(super) level: Level,
    /// Whether a Restore waits for a reading of its files.
    pub(super) is_waited_for: bool,
    /// The keys that count now, if it is judged already and only looked at again because of them.
    pub(super) other_keys: Option<SharedKeys>,
    /// What was read for Restores.
    pub(super) found: Option<Box<RecordedReading>>,
}

impl Reading {
    pub(super) async fn conclude(self, read: Result<Recorded, Stop>) -> Requeue {
        let is_adopted = matches!(self.level, Level::Adopted { .. });
        let stop = match read {
            Ok(recorded) => return self.record(recorded).await,
            Err(stop) => stop,
        };
        match stop {
            Stop::Known(record) => self.annotate_known(*record).await,
            Stop::Imported(imported) => self.import(*imported).await,
            Stop::Tarball(tarball) => self.record_tarball(*tarball).await,
            Stop::NotImported(not) => self.refuse_import(*not).await,
            Stop::Unreadable(_) if self.other_keys.is_some() => again(),
            Stop::Unobserved(unobserved) if is_adopted => {
                self.end_adoption(&unobserved.to_string()).await
            }
            Stop::Unreadable(unreadable) if is_adopted => self.postpone_adoption(unreadable).await,
            Stop::Unobserved(unobserved) => self.refuse(&unobserved).await,
            Stop::Unreadable(unreadable) => self.postpone(unreadable).await,
            Stop::NotKnown => match self.other_keys.clone() {
                Some(keys) => self.judge_again(&keys).await,
                // Nothing makes a record of it, nor founds what it may have come with.
                None => told(
                    annotate::remove_unfounded(&self.context, &self.backup).await,
                    "remove annotations that no record founds",
                ),
            },
            Stop::NoKey => Requeue::default(),
            Stop::Changed => again(),
        }
    }

    /// Annotates a Backup that Velero made from the bucket with what the record of its files says. The
    /// record tells first which Backup that is.
    async fn annotate_known(self, record: BackupRecord) -> Requeue {
        let uid = &self.backup.fields.uid;
        if self.backup.adoption.is_some() {
            // It came with the Backup, before its record was known to be its own.
            let ended = annotate::end_adoption(&self.context, &self.backup).await;
            if ended.is_err() {
                return told(ended, "remove the annotation of the user");
            }
        }
        if let Err(error) = self.context.ledger.link(&record, uid).await {
            return told(Err(error), "note the synced Backup in the record");
        }
        annotate::annotate(self.context, self.backup, RecordEntry::new(record)).await
    }

    /// Notes that the files are not known to be Velero's. That stays.
    async fn refuse(&self, unobserved: &Unobserved) -> Requeue {
        self.refuse_with(unobserved, BackupRecordStatus::default())
            .await
    }

    /// As [`Self::refuse`], where the record says what is in `status` besides.
    pub(super) async fn refuse_with(
        &self,
        unobserved: &Unobserved,
        status: BackupRecordStatus,
    ) -> Requeue {
        let message = message(&unobserved.to_string());
        let status = BackupRecordStatus {
            state: RecordState::Unobserved,
            reason: Some(unobserved.reason().to_owned()),
            message: Some(message.clone()),
            ..status
        };
        let was = self.own.as_ref().and_then(|own| own.status.as_ref());
        let is_known = was.is_some_and(|was| was.message == status.message);
        let written = self.write(&status, None).await;
        if written.is_ok() && !is_known {
            let note = format!("its files are not recorded: {message}");
            tracing::warn!(reason = unobserved.reason(), "{note}");
            self.emit(EventReason::BackupUnobserved, &note).await;
        }
        told(written.map(drop), "write the record")
    }

    /// Notes that the files cannot be read, if that is news, and tries again later.
    async fn postpone(&self, unreadable: Unreadable) -> Requeue {
        let was = self.own.as_ref().and_then(|record| record.status.as_ref());
        let mut verification = was.and_then(|was| was.verification.clone());
        let is_read = self.found.is_some();
        let is_failure_new = self.is_waited_for && !is_read && {
            let known = verification.get_or_insert_default();
            let new = failure(known.failure.as_ref(), &unreadable, time_now());
            let is_new = new.is_some();
            known.failure = new.or_else(|| known.failure.take());
            is_new
        };
        let Unreadable {
            reason,
            message: text,
            class,
            ..
        } = unreadable;
        let message = message(&text);
        let was = was.filter(|was| was.state == RecordState::Unreadable);
        let is_same_reason = was.is_some_and(|was| was.reason.as_deref() == Some(reason));
        let is_same_message =
            was.is_some_and(|was| was.message.as_ref() == Some(&message)) && is_same_reason;
        // A store that fails in many ways by turns is no news with each of them.
        let is_known = is_same_message || class == FailureClass::Passing && was.is_some();
        if is_known && !is_failure_new && !is_read {
            return again();
        }
        let status = match was.filter(|_| is_known) {
            Some(was) => BackupRecordStatus {
                verification,
                ..was.clone()
            },
            None => BackupRecordStatus {
                state: RecordState::Unreadable,
                reason: Some(reason.to_owned()),
                message: Some(message.clone()),
                verification,
                ..BackupRecordStatus::default()
            },
        };
        if let Err(error) = self.write(&status, None).await {
            return told(Err(error), "write the record");
        }
        if !is_same_reason && !is_known {
            let note = format!("its files cannot be recorded: {message}");
            tracing::warn!(reason, "{note}");
            self.emit(EventReason::BackupUnreadable, &note).await;
        }
        again()
    }

    pub(super) async fn emit(&self, reason: EventReason, note: &str) {
        emit(&self.context, &self.backup, reason, note).await;
    }
}
