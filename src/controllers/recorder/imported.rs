//! Writes down that a backup was imported, or that it was not.

use super::import::{Imported, NotImported, pause_before_look};
use super::judgement::Reading;
use super::reading::number;
use super::recorded;
use super::steps::message;
use crate::kubernetes::crds::{self, BackupRecordStatus};
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;

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
        // A key that is revoked later counts for what was recorded before, however often it changes.
        let status = BackupRecordStatus {
            recorded_at: imported.first_at.or(status.recorded_at),
            ..status
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

    /// Notes that nothing that is signed vouches for the files here, until other keys count or a list is found.
    pub(super) async fn refuse_import(&self, not: NotImported) -> Requeue {
        let status = BackupRecordStatus {
            lists_not_read: (not.not_read > 0).then(|| number(not.not_read as u64)),
            signers: not.signers.clone(),
            trust: Some(not.trust.clone()),
            ..BackupRecordStatus::default()
        };
        let Requeue { retry, .. } = self.refuse_with(&not.judgement(), status).await;
        Requeue {
            retry,
            within: Some(pause_before_look(&self.backup)),
        }
    }
}
