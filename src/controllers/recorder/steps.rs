//! The steps of the recorder: each brings the record of one Backup further.

use std::sync::Arc;
use std::time::Duration;

use super::download::or_tarball;
use super::judgement::Reading;
use super::ledger::time_now;
use super::reader::{self, Extent, Known};
use super::stop::Stop;
use super::{Context, annotate, location};
use crate::controllers::records::RecordEntry;
use crate::decision::Key;
use crate::integrity::departure::Departure;
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone, record_name,
};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::{EventReason, velero_object};
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
    if let Err(Stop::Unreadable(_)) = read {
        location::close(&context, &backup);
    }
    let read = or_tarball(&context, &backup, &extent, &mut known, read).await;
    let reading = Reading {
        context,
        backup,
        records,
        own: known.record,
        level: extent.level,
        is_waited_for,
        other_keys: extent.only_imports.then(|| Arc::clone(&extent.keys)),
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

/// Emits an Event about `backup`.
pub(super) async fn emit(
    context: &Context,
    backup: &ObservedBackup,
    reason: EventReason,
    note: &str,
) {
    let fields = &backup.fields;
    let key = Key::new(&fields.namespace, &fields.name);
    let about = velero_object("Backup", &key, Some(&fields.uid));
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

pub(super) fn spec(backup: &ObservedBackup, uid: &str, observed: bool) -> BackupRecordSpec {
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
