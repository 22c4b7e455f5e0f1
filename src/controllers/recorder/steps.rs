//! The steps of the recorder: each brings the record of one Backup further.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::annotate::{self, Annotations};
use super::ledger::time_now;
use super::observed::RecordEntry;
use super::reader::{self, Extent, Known, Recorded};
use super::stop::{Stop, Unreadable, failure};
use super::{Context, EXPIRY_PAUSE, cleanup, departed};
use crate::clock::now;
use crate::decision::{FailureClass, Key};
use crate::integrity::departure::{Departure, LastSeen};
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::origin::Unobserved;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone, RecordedReading, record_name,
};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::server_clock;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;
use crate::velero::text::single_line;

/// Most characters of a message in a record. A part of it may be a quotation from the bucket.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Makes the record of a Backup that is not complete yet.
pub(super) async fn observe(context: Arc<Context>, backup: ObservedBackup) -> Requeue {
    let created = match create_own(&context, &backup, true).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        created => created.map(drop),
    };
    told(created, "make the record")
}

/// Notes when a Backup was complete, as it is seen first. The record is made if there is none and the
/// Backup `was_running` before; one that was deleted meanwhile is not.
pub(super) async fn note_final_phase(
    context: Arc<Context>,
    backup: ObservedBackup,
    was_running: bool,
) -> Requeue {
    let noted = try_note_final_phase(&context, &backup, was_running).await;
    // Then its files are read; what failed is tried again after the backoff alone.
    let within = noted.is_ok().then_some(Duration::ZERO);
    Requeue {
        within,
        ..told(noted, "note when the backup was complete")
    }
}

async fn try_note_final_phase(
    context: &Context,
    backup: &ObservedBackup,
    was_running: bool,
) -> kube::Result<()> {
    // Whatever the reason is, it is told when the files are read.
    let clock = server_clock::read(&context.controllers.client).await;
    let seen = clock.ok().flatten().map(|clock| clock.time.as_second());
    let record = match own_record(context, backup).await? {
        Some(record) => record,
        None if was_running => create_own(context, backup, true).await?,
        None => return Ok(()),
    };
    let status = record.status.clone().unwrap_or_default();
    if status.state.is_judgement() || status.final_phase.is_some() {
        return Ok(());
    }
    let first = FinalPhase::at_first_sight(backup.phase_stored, seen);
    let status = BackupRecordStatus {
        final_phase: Some(first.into()),
        ..status
    };
    let noted = context.ledger.set_status(&record, &status).await;
    noted.map(drop)
}

/// Makes the record of a Backup. From then on, what a user writes on the Backup counts.
pub(super) async fn create_own(
    context: &Context,
    backup: &ObservedBackup,
    observed: bool,
) -> kube::Result<BackupRecord> {
    annotate::remove_unfounded(context, backup).await?;
    let uid = &backup.fields.uid;
    let location = &backup.storage_location;
    let spec = spec(backup, uid, observed);
    context.ledger.create(spec, location).await
}

/// Deletes a record that has nothing recorded.
pub(super) async fn forget(context: Arc<Context>, name: String) -> Requeue {
    told(context.ledger.delete(&name).await, "delete the record")
}

/// Opens a closed record, whose Backup is there.
pub(super) async fn reopen(context: Arc<Context>, name: String) -> Requeue {
    let opened = context.ledger.set_gone(&name, None).await;
    told(opened, "open the record again")
}

/// Closes the records of a Backup that is gone, which was seen so `last`, and deletes those whose retention is over.
pub(super) async fn end(
    context: Arc<Context>,
    key: Key,
    records: Vec<(String, RecordEntry)>,
    last: Option<LastSeen>,
) -> Requeue {
    // A watch can lag behind, and it leaves out what it has no room for.
    if records.iter().any(|(_, record)| record.gone_at.is_none()) {
        let backups = context.backups(&key.namespace);
        match backups.get_metadata_opt(&key.name).await {
            Ok(None) => {}
            Ok(Some(_)) => return again(),
            Err(error) => return told(Err(error), "see whether the Backup is gone"),
        }
    }
    let retention = context.settings.retention;
    let mut result = Ok(());
    let mut within = None;
    let mut has_lone = false;
    for (name, record) in records {
        if let Some(upload) = &record.pending_upload {
            if let Err(stop) = cleanup::remove_lone(&context, &key, upload).await {
                let why = stop.message();
                tracing::warn!(why, "cannot see whether an envelope is alone in the bucket");
                has_lone = true;
                continue;
            }
            if record.state.is_judgement() {
                result = result.and(context.ledger.end_upload(&name).await);
            }
        }
        let is_judgement = record.state.is_judgement();
        let done = match record.rest(now(), retention) {
            None if is_judgement => {
                within = Some(retention);
                departed::close(&context, &key, &name, last).await
            }
            Some(rest) if !rest.is_zero() => {
                within = Some(within.map_or(rest, |other: Duration| other.min(rest)));
                Ok(())
            }
            _ => context.ledger.delete(&name).await,
        };
        result = result.and(done);
    }
    let Requeue { retry, .. } = told(result, "close the record");
    Requeue {
        retry: retry || has_lone,
        // The others are looked for.
        within: within.filter(|within| *within <= EXPIRY_PAUSE),
    }
}

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
    /// Whether it is judged already, and only looked at again because other keys count now.
    pub(super) only_imports: bool,
    /// What lets keys count now.
    pub(super) trust: String,
    /// What was read for Restores.
    pub(super) found: Option<Box<RecordedReading>>,
}

/// Reads the files of a complete Backup and records them.
pub(super) async fn read(
    context: Arc<Context>,
    backup: ObservedBackup,
    records: Vec<(String, RecordEntry)>,
    extent: Extent,
) -> Requeue {
    // The watch can lag behind what this replica, or another leader, wrote.
    let own = match own_record(&context, &backup).await {
        Ok(own) => own,
        Err(error) => return told(Err(error), "read the record"),
    };
    let is_adopted = matches!(extent.level, Level::Adopted { .. });
    let known = own.clone().map(RecordEntry::new);
    if let Some(record) = &known
        && record.state == RecordState::Recorded
    {
        return annotate::annotate(context, backup, record.clone()).await;
    }
    // Only a user turns what is judged into what is recorded.
    let is_judged = known.is_some_and(|record| record.state.is_judgement());
    if is_judged != is_adopted && !(is_judged && extent.only_imports) {
        return Requeue::default();
    }
    let mut known = Known {
        record: own,
        reading: None,
    };
    let is_waited_for = known.unread(&extent).is_some();
    let read = reader::read(&context, &backup, &extent, &mut known).await;
    let reading = Reading {
        context,
        backup,
        records,
        own: known.record,
        level: extent.level,
        is_waited_for,
        only_imports: extent.only_imports,
        trust: extent.keys.digest.clone(),
        found: known.reading,
    };
    Box::pin(reading.conclude(read)).await
}

/// Returns the record with the uid of `backup`, as it is stored.
pub(super) async fn own_record(
    context: &Context,
    backup: &ObservedBackup,
) -> kube::Result<Option<BackupRecord>> {
    let fields = &backup.fields;
    let name = record_name(&fields.name, &fields.uid);
    context.ledger.get_of(&fields.namespace, &name).await
}

impl Reading {
    async fn conclude(self, read: Result<Recorded, Stop>) -> Requeue {
        let is_adopted = matches!(self.level, Level::Adopted { .. });
        let stop = match read {
            Ok(recorded) => return self.record(recorded).await,
            Err(stop) => stop,
        };
        match stop {
            Stop::Known(record) => self.annotate_known(*record).await,
            Stop::Imported(imported) => self.import(*imported).await,
            Stop::NotImported(not) => self.refuse_import(*not).await,
            Stop::NotKnown if self.only_imports => self.keep_judgement().await,
            Stop::Unreadable(_) if self.only_imports => again(),
            Stop::Unobserved(unobserved) if is_adopted => {
                self.end_adoption(&unobserved.to_string()).await
            }
            Stop::Unreadable(unreadable) if is_adopted => self.postpone_adoption(unreadable).await,
            Stop::Unobserved(unobserved) => self.refuse(&unobserved).await,
            Stop::Unreadable(unreadable) => self.postpone(unreadable).await,
            // Nothing makes a record of it, nor founds what it may have come with.
            Stop::NotKnown => told(
                annotate::remove_unfounded(&self.context, &self.backup).await,
                "remove annotations that no record founds",
            ),
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

    /// Completes the record and annotates the Backup.
    async fn record(&self, recorded: Recorded) -> Requeue {
        let at = time_now();
        let verified_at = at.0.to_string();
        let statement = &recorded.statement;
        let checksum = statement.tarball().map(|digest| format!("sha256:{digest}"));
        let manifest = cleanup::manifest(&recorded.written.payload);
        let adopted_by = match &statement.level {
            Level::Adopted { by } => Some(by.clone()),
            Level::Observed | Level::Late => None,
        };
        let status = BackupRecordStatus {
            state: RecordState::Recorded,
            message: recorded.written.message.as_deref().map(message),
            level: Some(statement.level.name().to_owned()),
            adopted_by: adopted_by.clone(),
            checksum: checksum.clone(),
            manifest: Some(manifest.clone()),
            files: i64::try_from(statement.manifest.files().len()).ok(),
            bytes: i64::try_from(statement.manifest.bytes()).ok(),
            location: Some(recorded.location),
            envelope: Some(recorded.written.json),
            envelope_in_bucket: recorded.written.is_in_bucket,
            recorded_at: Some(at),
            expires: self.expires(),
            synced_as: self.synced_as(&statement.backup.uid),
            ..BackupRecordStatus::default()
        };
        match self.write(&status, Some(&statement.backup.uid)).await {
            Ok(true) => {}
            Ok(false) => return again(),
            Err(error) => return told(Err(error), "write the record"),
        }
        let annotations = Annotations {
            checksum: checksum.as_deref(),
            manifest: Some(&manifest),
            verified_at: Some(&verified_at),
        };
        let retry = annotate::write(&self.context, &self.backup, annotations).await;
        let bytes = statement.manifest.bytes();
        let files = statement.manifest.files().len();
        let (reason, on_whose_word) = match &adopted_by {
            Some(by) => (EventReason::BackupAdopted, format!(" on the word of {by}")),
            None => (EventReason::BackupRecorded, String::new()),
        };
        let note =
            format!("its {files} files ({bytes} bytes) are recorded and signed{on_whose_word}");
        tracing::info!(files, bytes, adopted_by, "recorded the backup");
        self.emit(reason, &note).await;
        Requeue {
            retry,
            within: None,
        }
    }

    /// Returns when the time to live of the Backup is over.
    pub(super) fn expires(&self) -> Option<Time> {
        Timestamp::from_second(self.backup.expires?).ok().map(Time)
    }

    /// Returns the uid of the Backup, if its files have another one.
    fn synced_as(&self, uid_in_files: &str) -> Option<String> {
        let uid = &self.backup.fields.uid;
        (uid != uid_in_files).then(|| uid.clone())
    }

    /// Writes the status of the record of this uid, that of the Backup if `None`. It is made if there is
    /// none. Records of earlier Backups of the name are closed.
    ///
    /// Returns whether it is written: another record that is complete stays as it is.
    pub(super) async fn write(
        &self,
        status: &BackupRecordStatus,
        uid: Option<&str>,
    ) -> kube::Result<bool> {
        let ledger = &self.context.ledger;
        let fields = &self.backup.fields;
        // A Backup that came by sync has another uid than its files.
        let uid = uid.unwrap_or(&fields.uid);
        let is_own = uid == fields.uid;
        let name = record_name(&fields.name, uid);
        let stored = if is_own {
            self.own.clone()
        } else {
            ledger.get_of(&fields.namespace, &name).await?
        };
        let is_new = stored.is_none();
        let record = match stored {
            Some(other) if !is_own && other.known().state == RecordState::Recorded => {
                return Ok(false);
            }
            Some(stored) => stored,
            None if is_own => {
                let is_observed = self.level == Level::Observed;
                create_own(&self.context, &self.backup, is_observed).await?
            }
            None => {
                let location = &self.backup.storage_location;
                ledger
                    .create(spec(&self.backup, uid, false), location)
                    .await?
            }
        };
        let mut status = status.clone();
        let was = record.status.as_ref();
        if status.verification.is_none() {
            status.verification = was.and_then(|was| was.verification.clone());
        }
        if let Some(found) = &self.found {
            let verification = status.verification.get_or_insert_default();
            verification.reading = Some(RecordedReading::clone(found));
            verification.failure = None;
            verification.progress = None;
        }
        if let Some(verification) = &mut status.verification
            && status.state.is_judgement()
        {
            // The files were read.
            verification.failure = None;
        }
        if is_own {
            let first = was.and_then(|was| was.final_phase.clone());
            let first = first.or_else(|| is_new.then(|| self.first_sight().into()));
            status.final_phase = status.final_phase.or(first);
            if status.state != RecordState::Recorded {
                let upload = was.and_then(|was| was.pending_upload.clone());
                status.pending_upload = status.pending_upload.or(upload);
            }
        }
        ledger.set_status(&record, &status).await?;
        if !status.state.is_judgement() {
            // The files may be those of a record that is there, once they can be read.
            return Ok(true);
        }
        for (other, record) in &self.records {
            let is_earlier = *other != name && record.uid != fields.uid;
            if is_earlier && record.gone_at.is_none() {
                ledger
                    .set_gone(other, Some(gone(Departure::Replaced)))
                    .await?;
            }
        }
        Ok(true)
    }

    /// Returns when the Backup was complete, if nothing was noted before.
    fn first_sight(&self) -> FinalPhase {
        FinalPhase::at_first_sight(self.backup.phase_stored, None)
    }

    pub(super) async fn emit(&self, reason: EventReason, note: &str) {
        emit(&self.context, &self.backup, reason, note).await;
    }
}

/// Emits an Event about `backup`.
pub(super) async fn emit(
    context: &Context,
    backup: &ObservedBackup,
    reason: EventReason,
    note: &str,
) {
    let fields = &backup.fields;
    let about = ObjectReference {
        api_version: Some("velero.io/v1".to_owned()),
        kind: Some("Backup".to_owned()),
        namespace: Some(fields.namespace.clone()),
        name: Some(fields.name.clone()),
        uid: Some(fields.uid.clone()),
        ..ObjectReference::default()
    };
    context.controllers.events.emit(&about, reason, note).await;
}

/// Returns a text for people that is short and in one line, whatever it quotes.
pub(super) fn message(text: &str) -> String {
    single_line(text, MAX_MESSAGE_CHARS).into_owned()
}

/// Tries the step again later.
pub(super) const fn again() -> Requeue {
    Requeue {
        retry: true,
        within: None,
    }
}

pub(super) fn gone(how: Departure) -> Gone {
    Gone {
        at: time_now(),
        how,
    }
}

fn spec(backup: &ObservedBackup, uid: &str, observed: bool) -> BackupRecordSpec {
    BackupRecordSpec {
        namespace: backup.fields.namespace.clone(),
        backup: backup.fields.name.clone(),
        uid: uid.to_owned(),
        observed,
    }
}

/// Logs a failure to `act`, after which the step is tried again.
pub(super) fn told(result: kube::Result<()>, act: &str) -> Requeue {
    let retry = result.is_err();
    if let Err(error) = result {
        let why = lookup_error(&error).message;
        tracing::warn!(why, "cannot {act}");
    }
    Requeue {
        retry,
        within: None,
    }
}
