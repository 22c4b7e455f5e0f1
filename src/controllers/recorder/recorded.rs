//! Completes the record of a Backup whose files are signed, and annotates the Backup.

use super::annotate::{self, Annotations};
use super::judgement::Reading;
use super::ledger::time_now;
use super::reader::Recorded;
use super::reading::number;
use super::steps::{again, message, told};
use crate::digest::Sha256;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::{Level, Statement};
use crate::kubernetes::crds::BackupRecordStatus;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;

/// Returns what a record says of a `statement`, the digest of whose signed bytes is `payload`.
pub(super) fn status(statement: &Statement, payload: &Sha256) -> BackupRecordStatus {
    let adopted_by = match &statement.level {
        Level::Adopted { by } => Some(by.clone()),
        Level::Observed | Level::Late => None,
    };
    BackupRecordStatus {
        state: RecordState::Recorded,
        level: Some(statement.level.name().to_owned()),
        adopted_by,
        checksum: statement.tarball().map(|digest| digest.prefixed()),
        manifest: Some(payload.prefixed()),
        files: i64::try_from(statement.manifest.files().len()).ok(),
        bytes: Some(number(statement.manifest.bytes())),
        recorded_at: Some(time_now()),
        ..BackupRecordStatus::default()
    }
}

impl Reading {
    /// Notes that the files were read and signed.
    pub(super) async fn record(&self, recorded: Recorded) -> Requeue {
        let statement = &recorded.statement;
        let written = recorded.written;
        let status = BackupRecordStatus {
            message: written.message.as_deref().map(message),
            location: Some(recorded.location),
            envelope: Some(written.json),
            envelope_in_bucket: written.is_in_bucket,
            expires: self.expires(),
            synced_as: self.synced_as(&statement.backup.uid),
            ..status(statement, &written.payload)
        };
        let requeue = match self.complete(statement, &status).await {
            Ok(requeue) => requeue,
            Err(requeue) => return requeue,
        };
        let bytes = statement.manifest.bytes();
        let files = statement.manifest.files().len();
        let (reason, on_whose_word) = match &status.adopted_by {
            Some(by) => (EventReason::BackupAdopted, format!(" on the word of {by}")),
            None => (EventReason::BackupRecorded, String::new()),
        };
        let note =
            format!("its {files} files ({bytes} bytes) are recorded and signed{on_whose_word}");
        tracing::info!(
            files,
            bytes,
            adopted_by = status.adopted_by,
            "recorded the backup"
        );
        self.emit(reason, &note).await;
        requeue
    }

    /// Writes the record of what is signed in `statement`, and annotates the Backup. Fails with what is left to do if
    /// the record is not written.
    pub(super) async fn complete(
        &self,
        statement: &Statement,
        status: &BackupRecordStatus,
    ) -> Result<Requeue, Requeue> {
        match self.write(status, Some(&statement.backup.uid)).await {
            Ok(true) => {}
            Ok(false) => return Err(again()),
            Err(error) => return Err(told(Err(error), "write the record")),
        }
        // Nothing was read of what is imported.
        let read_at = status
            .recorded_at
            .as_ref()
            .filter(|_| status.imported.is_none());
        let verified_at = read_at.map(|at| at.0.to_string());
        let annotations = Annotations {
            checksum: status.checksum.as_deref(),
            manifest: status.manifest.as_deref(),
            verified_at: verified_at.as_deref(),
        };
        let retry = annotate::write(&self.context, &self.backup, annotations).await;
        Ok(Requeue {
            retry,
            within: None,
        })
    }
}
