//! Writes down that a backup was imported, that it was not, and that the key of one does not count any more.

use std::sync::Arc;

use super::Context;
use super::annotate;
use super::import::{Imported, KnownKeys, NotImported, SharedKeys};
use super::judgement::Reading;
use super::reading::number;
use super::recorded;
use super::steps::{emit, message, told};
use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::integrity::trust::Distrust;
use crate::kubernetes::crds::{self, BackupRecord, BackupRecordStatus};
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

impl Reading {
    /// Makes the record from what is signed, and annotates the Backup.
    pub(super) async fn import(&self, imported: Imported) -> Requeue {
        let statement = &imported.statement;
        let was_at = imported
            .was_at
            .map(|place| format!("its files were in {place} when they were signed"));
        let status = BackupRecordStatus {
            message: was_at.as_deref().map(message),
            location: Some(imported.location),
            envelope: Some(imported.envelope),
            envelope_in_bucket: true,
            imported: Some(crds::Imported {
                key: imported.trusted.clone(),
                key_id: imported.key.to_string(),
            }),
            expires: self.expires(),
            synced_as: Some(self.backup.fields.uid.clone()),
            ..recorded::status(statement, &imported.payload)
        };
        let requeue = match self.complete(statement, &status).await {
            Ok(requeue) => requeue,
            Err(requeue) => return requeue,
        };
        let (key, level) = (&imported.trusted, statement.level.name());
        let elsewhere = was_at
            .map(|was_at| format!("; {was_at}"))
            .unwrap_or_default();
        let note = format!(
            "it came by sync, and TrustedKey {key} vouches for its files, which were recorded in another cluster \
             ({level}){elsewhere}"
        );
        tracing::info!(key, level, "imported the record of the backup");
        self.emit(EventReason::BackupImported, &note).await;
        requeue
    }

    /// Notes that nothing that is signed vouches for the files here, until other keys count.
    pub(super) async fn refuse_import(&self, not: NotImported) -> Requeue {
        let status = BackupRecordStatus {
            lists_not_read: (not.not_read > 0).then(|| number(not.not_read as u64)),
            signers: not.signers.clone(),
            trust: Some(not.trust.clone()),
            ..BackupRecordStatus::default()
        };
        self.refuse_with(&not.judgement(), status).await
    }

    /// Opens the record again if what is signed in it counts with the keys of now. Otherwise keeps what was judged.
    pub(super) async fn judge_again(&self, keys: &KnownKeys) -> Requeue {
        let was = self.own.as_ref().and_then(|own| own.status.clone());
        let was = was.unwrap_or_default();
        let opens = |own: &BackupRecord| record::open(&own.clone().into(), &keys.trust).is_ok();
        let status = if self.own.as_ref().is_some_and(opens) {
            BackupRecordStatus {
                state: RecordState::Recorded,
                reason: None,
                message: None,
                trust: None,
                ..was
            }
        } else {
            BackupRecordStatus {
                trust: Some(keys.digest.clone()),
                ..was
            }
        };
        let written = self.write(&status, None).await;
        told(written.map(drop), "write the record")
    }
}

/// Closes the record `name`, whose key does not count any more with these `keys`. What it says is kept, should the key
/// count again.
pub(super) async fn distrust(
    context: Arc<Context>,
    backup: ObservedBackup,
    name: String,
    why: Distrust,
    keys: SharedKeys,
) -> Requeue {
    let closed = async {
        let Some(record) = context.ledger.get(&name).await? else {
            return Ok(());
        };
        let status = record.status.clone().unwrap_or_default();
        if status.state != RecordState::Recorded {
            return Ok(());
        }
        let text = message(&why.to_string());
        let status = BackupRecordStatus {
            state: RecordState::Unobserved,
            reason: Some(why.reason().to_owned()),
            message: Some(text.clone()),
            trust: Some(keys.digest.clone()),
            ..status
        };
        // The annotations go first: nothing else tells later that they have to.
        annotate::remove(&context, &backup).await?;
        context.ledger.set_status(&record, &status).await?;
        let note = format!("its record does not count any more: {text}");
        tracing::warn!(reason = why.reason(), "{note}");
        emit(&context, &backup, EventReason::BackupUnobserved, &note).await;
        Ok(())
    };
    told(closed.await, "close the record")
}
