//! What becomes of the records of Backups that go away, and that come back.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;

use super::Context;
use super::annotate;
use super::reader::check_adoption;
use super::steps::{again, emit, gone, told};
use crate::clock::now;
use crate::decision::Key;
use crate::integrity::departure::{LastSeen, departure};
use crate::integrity::record::claimed;
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::BackupRecordStatus;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// Closes the record `name` of the Backup `key`, which was seen so `last`, and tells of one that nobody wanted to go.
pub(super) async fn close(
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
            "it went away, and nobody asked Velero to delete it: somebody deleted its files, or the object, which Velero \
             then syncs anew"
        }
        None => "it went away while nobody of velero-trust watched",
    };
    tracing::warn!(namespace = key.namespace, backup = key.name, "{note}");
    let about = ObjectReference {
        api_version: Some("velero.io/v1".to_owned()),
        kind: Some("Backup".to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(stored.spec.uid.clone()),
        ..ObjectReference::default()
    };
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
