//! Closes a record when the key that signed it stops counting, and opens it again when the key counts again.

use std::sync::Arc;

use super::Context;
use super::annotate;
use super::import::{KnownKeys, SharedKeys};
use super::judgement::Reading;
use super::steps::{emit, message, told};
use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::integrity::trust::Distrust;
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus};
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

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

impl Reading {
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
