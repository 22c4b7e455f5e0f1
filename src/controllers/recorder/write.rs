//! Writes the status of a record, which is made if there is none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::judgement::Reading;
use super::steps::{create_own, gone, spec};
use crate::integrity::departure::Departure;
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{BackupRecordStatus, RecordedReading, record_name};

impl Reading {
    /// Returns when the time to live of the Backup is over.
    pub(super) fn expires(&self) -> Option<Time> {
        Timestamp::from_second(self.backup.expires?).ok().map(Time)
    }

    /// Returns the uid of the Backup, if its files have another one.
    pub(super) fn synced_as(&self, uid_in_files: &str) -> Option<String> {
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
            let is_earlier = *other != name && record.identity().uid != fields.uid;
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
}
