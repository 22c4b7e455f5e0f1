//! The steps of the recorder: each brings the record of one Backup further.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;

use super::annotate::{self, Annotations};
use super::observed::RecordEntry;
use super::reader::{self, Outcome, Recorded};
use super::{Context, ledger};
use crate::clock::now;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{BackupRecordSpec, BackupRecordStatus, Gone};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// Makes the record of a Backup that is not complete yet.
pub(super) async fn observe(context: Arc<Context>, backup: ObservedBackup) -> Requeue {
    let created = context.ledger.create(spec(&backup, true)).await;
    told(created.map(drop), "make the record")
}

/// Deletes a record that has nothing recorded.
pub(super) async fn forget(context: Arc<Context>, name: String) -> Requeue {
    told(context.ledger.delete(&name).await, "delete the record")
}

/// Closes the records of Backups that are gone, and deletes them after the retention.
pub(super) async fn end(context: Arc<Context>, records: Vec<(String, RecordEntry)>) -> Requeue {
    let retention = context.settings.retention;
    let mut result = Ok(());
    let mut within = None;
    for (name, record) in records {
        let done = match (record.state, record.gone_at) {
            (RecordState::Pending | RecordState::Unreadable, _) => {
                context.ledger.delete(&name).await
            }
            (_, None) => {
                let gone = gone("Deleted");
                within = Some(retention);
                context.ledger.set_gone(&name, Some(gone)).await
            }
            (_, Some(at)) => {
                let age = u64::try_from(now().saturating_sub(at)).unwrap_or_default();
                match retention.checked_sub(Duration::from_secs(age)) {
                    Some(rest) if !rest.is_zero() => {
                        within = Some(within.map_or(rest, |other: Duration| other.min(rest)));
                        Ok(())
                    }
                    _ => context.ledger.delete(&name).await,
                }
            }
        };
        result = result.and(done);
    }
    Requeue {
        within,
        ..told(result, "close the record")
    }
}

/// Reads the files of a complete Backup and records them.
pub(super) async fn read(
    context: Arc<Context>,
    backup: ObservedBackup,
    records: Vec<(String, RecordEntry)>,
    level: Level,
) -> Requeue {
    let is_observed = level == Level::Observed;
    match reader::read(&context, &backup, &records, level).await {
        Outcome::Recorded(recorded) => record(&context, &backup, &records, *recorded).await,
        Outcome::Known(uid) => {
            let known = records.iter().find(|(_, record)| record.uid == uid);
            let Some((name, record)) = known else {
                return Requeue::default();
            };
            if record.gone_at.is_some()
                && let Err(error) = context.ledger.set_gone(name, None).await
            {
                return told(Err(error), "open the record again");
            }
            annotate::annotate(Arc::clone(&context), backup, record.clone()).await
        }
        Outcome::Unobserved(unobserved) => {
            let status = BackupRecordStatus {
                state: RecordState::Unobserved,
                reason: Some(unobserved.reason().to_owned()),
                message: Some(unobserved.to_string()),
                ..BackupRecordStatus::default()
            };
            let written = write(&context, &backup, &records, is_observed, &status).await;
            if written.is_ok() {
                let note = format!("its files are not recorded: {unobserved}");
                tracing::warn!(reason = unobserved.reason(), "{note}");
                emit(&context, &backup, EventReason::BackupUnobserved, &note).await;
            }
            told(written, "write the record")
        }
        Outcome::Unreadable { reason, message } => {
            let status = BackupRecordStatus {
                state: RecordState::Unreadable,
                reason: Some(reason.to_owned()),
                message: Some(message.clone()),
                ..BackupRecordStatus::default()
            };
            let was = current(&context, &backup).await;
            let is_new = was.as_ref() != Some(&status);
            if is_new {
                tracing::warn!(reason, "its files cannot be recorded: {message}");
                let note = format!("its files cannot be recorded: {message}");
                emit(&context, &backup, EventReason::BackupUnreadable, &note).await;
                if let Err(error) = write(&context, &backup, &records, is_observed, &status).await {
                    return told(Err(error), "write the record");
                }
            }
            Requeue {
                retry: true,
                within: None,
            }
        }
        Outcome::Changed => Requeue {
            retry: true,
            within: None,
        },
    }
}

/// Completes the record and annotates the Backup.
async fn record(
    context: &Arc<Context>,
    backup: &ObservedBackup,
    records: &[(String, RecordEntry)],
    recorded: Recorded,
) -> Requeue {
    let at = ledger::time_now();
    let verified_at = at.0.to_string();
    let statement = &recorded.statement;
    let is_observed = statement.level == Level::Observed;
    let checksum = statement.tarball().map(|digest| format!("sha256:{digest}"));
    let manifest = format!("sha256:{}", recorded.written.payload);
    let status = BackupRecordStatus {
        state: RecordState::Recorded,
        reason: None,
        message: recorded.written.message,
        level: Some(statement.level.name().to_owned()),
        checksum: checksum.clone(),
        manifest: Some(manifest.clone()),
        files: i64::try_from(statement.manifest.files().len()).ok(),
        bytes: i64::try_from(statement.manifest.bytes()).ok(),
        location: Some(recorded.location),
        envelope: Some(recorded.written.json),
        envelope_in_bucket: recorded.written.is_in_bucket,
        recorded_at: Some(at),
        gone: None,
    };
    if let Err(error) = write(context, backup, records, is_observed, &status).await {
        return told(Err(error), "write the record");
    }
    let annotations = Annotations {
        checksum: checksum.as_deref(),
        manifest: Some(&manifest),
        verified_at: Some(&verified_at),
    };
    let retry = annotate::write(context, backup, annotations).await;
    let bytes = statement.manifest.bytes();
    let files = statement.manifest.files().len();
    let note = format!("its {files} files ({bytes} bytes) are recorded and signed");
    tracing::info!(files, bytes, "recorded the backup");
    emit(context, backup, EventReason::BackupRecorded, &note).await;
    Requeue {
        retry,
        within: None,
    }
}

/// Writes the status of the record of `backup`, which is made if there is none. Records of earlier
/// Backups of the name are closed.
async fn write(
    context: &Context,
    backup: &ObservedBackup,
    records: &[(String, RecordEntry)],
    is_observed: bool,
    status: &BackupRecordStatus,
) -> kube::Result<()> {
    let name = context.ledger.create(spec(backup, is_observed)).await?;
    context.ledger.set_status(&name, status).await?;
    for (other, record) in records {
        if *other != name && record.gone_at.is_none() {
            context
                .ledger
                .set_gone(other, Some(gone("Replaced")))
                .await?;
        }
    }
    Ok(())
}

/// Returns the status of the record of `backup` as it is stored.
async fn current(context: &Context, backup: &ObservedBackup) -> Option<BackupRecordStatus> {
    let name = ledger::record_name(&backup.fields.name, &backup.fields.uid);
    context.ledger.get(&name).await.ok()??.status
}

fn gone(how: &str) -> Gone {
    Gone {
        at: ledger::time_now(),
        how: how.to_owned(),
    }
}

fn spec(backup: &ObservedBackup, observed: bool) -> BackupRecordSpec {
    BackupRecordSpec {
        namespace: backup.fields.namespace.clone(),
        backup: backup.fields.name.clone(),
        uid: backup.fields.uid.clone(),
        observed,
    }
}

async fn emit(context: &Context, backup: &ObservedBackup, reason: EventReason, note: &str) {
    let about = ObjectReference {
        api_version: Some("velero.io/v1".to_owned()),
        kind: Some("Backup".to_owned()),
        namespace: Some(backup.fields.namespace.clone()),
        name: Some(backup.fields.name.clone()),
        uid: Some(backup.fields.uid.clone()),
        ..ObjectReference::default()
    };
    context.controllers.events.emit(&about, reason, note).await;
}

/// Logs a failure to `act`, after which the step is tried again.
fn told(result: kube::Result<()>, act: &str) -> Requeue {
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
