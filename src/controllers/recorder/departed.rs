//! What becomes of the records of Backups that go away, and that come back.

use std::sync::Arc;
use std::time::Duration;

use super::reader::check_adoption;
use super::steps::{again, emit, gone, told};
use super::{Context, EXPIRY_PAUSE, annotate, cleanup};
use crate::clock::now;
use crate::controllers::records::RecordEntry;
use crate::decision::Key;
use crate::integrity::departure::{LastSeen, departure};
use crate::integrity::record::claimed;
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::BackupRecordStatus;
use crate::kubernetes::events::{EventReason, velero_object};
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

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
                close(&context, &key, &name, last).await
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

/// Closes the record `name` of the Backup `key`, which was seen so `last`, and tells of one that nobody wanted to go.
async fn close(
    context: &Context,
    key: &Key,
    name: &str,
    last: Option<LastSeen>,
) -> kube::Result<()> {
    let Some(mut record) = context.ledger.get(name).await? else {
        return Ok(());
    };
    let status = record.status.clone().unwrap_or_default();
    let expires = status.expires.as_ref().map(|time| time.0.as_second());
    let how = departure(last, expires, now());
    let is_loss = how.is_loss() && status.state == RecordState::Recorded;
    if is_loss {
        let signed = claimed(&record.clone().into());
        let schedule = signed.and_then(|signed| signed.backup.schedule);
        let ledger = &context.ledger;
        record = ledger.set_lost_from(record, schedule.as_deref()).await?;
    }
    let status = BackupRecordStatus {
        gone: Some(gone(how)),
        ..status
    };
    let stored = context.ledger.set_status(&record, &status).await?;
    if !is_loss {
        return Ok(());
    }
    context.controllers.metrics.backups_lost.inc();
    let note = match last {
        Some(_) => {
            "it went away, and nobody asked the Velero of this cluster to delete it: that of another cluster of the \
             bucket did, or somebody deleted its files, or the object, which Velero then syncs anew"
        }
        None => "it went away while nobody of velero-trust watched",
    };
    tracing::warn!(namespace = key.namespace, backup = key.name, "{note}");
    let about = velero_object("Backup", key, Some(&stored.spec.uid));
    let reason = EventReason::BackupVanished;
    context.controllers.events.emit(&about, reason, note).await;
    Ok(())
}

/// Notes in the record `name` that a user wants the Backup, which came back.
pub(super) async fn take_back(
    context: Arc<Context>,
    backup: ObservedBackup,
    name: String,
) -> Requeue {
    if check_adoption(&context, &backup).await.is_err() {
        return again();
    }
    if let Err(error) = context.ledger.take_back(&name).await {
        return told(Err(error), "write the record");
    }
    let by = backup.adoption.as_ref().map(|adoption| adoption.by.clone());
    let by = by.unwrap_or_default();
    let note = format!("it was deleted here and came back; {by} wants it");
    tracing::info!(by, "took a backup back that was deleted");
    emit(&context, &backup, EventReason::BackupAdopted, &note).await;
    let ended = annotate::end_adoption(&context, &backup).await;
    told(ended, "remove the annotation of the user")
}
