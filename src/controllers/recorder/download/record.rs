//! Records the tarball of a backup alone.

use super::super::Context;
use super::super::annotate::{self, Annotations};
use super::super::judgement::Reading;
use super::super::ledger::time_now;
use super::super::reader::{Extent, Known, Recorded, check_adoption, check_present, completion};
use super::super::reading::{Beginning, number};
use super::super::steps::{again, message, told};
use super::super::stop::{Stop, Unreadable};
use super::{Tarball, read};
use crate::digest::Sha256;
use crate::integrity::origin::{self, Listed, Unobserved};
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus};
use crate::kubernetes::events::EventReason;
use crate::kubernetes::worker::Requeue;
use crate::velero::observed_backup::ObservedBackup;

/// The level of a record of a tarball. It is none of a statement, for there is none.
const TARBALL_ONLY: &str = "tarballOnly";

/// The tarball of a backup, and why nothing else of it was read.
pub(in crate::controllers::recorder) struct TarballRecord {
    tarball: Tarball,
    unreadable: Unreadable,
}

/// Returns what was `read`. Where velero-trust has no rights to the bucket, the tarball of a backup that it saw before
/// that was complete, or for which a user vouches, is read by a URL of Velero's instead ([`Stop::Tarball`]).
///
/// Of others nobody knows whether they were made here: the uid is in velero-backup.json, for which Velero signs no URL.
pub(in crate::controllers::recorder) async fn or_tarball(
    context: &Context,
    backup: &ObservedBackup,
    extent: &Extent,
    known: &mut Known,
    read: Result<Recorded, Stop>,
) -> Result<Recorded, Stop> {
    let is_wanted = context.settings.download_requests
        && extent.reads_files
        && !extent.only_imports
        && extent.level != Level::Late;
    let unreadable = match read {
        Err(Stop::Unreadable(unreadable)) if is_wanted && unreadable.lacks_rights => unreadable,
        read => return read,
    };
    let beginning = known.unread(extent).map(Beginning::now);
    match try_read(context, backup, extent, known).await {
        Ok(tarball) => {
            let reading = beginning.map(|it| it.end_with(&tarball.location.signed, &tarball.file));
            known.reading = reading.map(Box::new);
            Err(Stop::Tarball(Box::new(TarballRecord {
                tarball,
                unreadable,
            })))
        }
        Err(Stop::Unreadable(other)) => Err(Stop::Unreadable(unreadable.nor(&other))),
        Err(stop) => Err(stop),
    }
}

async fn try_read(
    context: &Context,
    backup: &ObservedBackup,
    extent: &Extent,
    known: &Known,
) -> Result<Tarball, Stop> {
    let is_adopted = matches!(extent.level, Level::Adopted { .. });
    if is_adopted {
        check_adoption(context, backup).await?;
    }
    let tarball = read(context, backup, &extent.is_over).await?;
    if is_adopted {
        // It may have taken hours.
        check_adoption(context, backup).await?;
    } else {
        check_present(context, backup).await?;
        check_time(context, backup, &tarball).await?;
    }
    check_same(known.record.as_ref(), tarball.file.sha256)?;
    Ok(tarball)
}

/// Fails if the tarball was written after the Backup was complete.
async fn check_time(
    context: &Context,
    backup: &ObservedBackup,
    tarball: &Tarball,
) -> Result<(), Stop> {
    let completed = completion(context, backup, tarball.store_time, tarball.asked_at).await?;
    let untold = || {
        let why = "the store does not tell when the tarball was written: its answer has no header `Last-Modified`";
        Stop::unreadable("ClockUnknown", why.to_owned())
    };
    let modified = tarball.modified.ok_or_else(untold)?.as_millisecond();
    let name = &tarball.file.name;
    let listed = [Listed { name, modified }];
    Ok(origin::check_times(
        &backup.fields.name,
        &listed,
        completed,
    )?)
}

/// Fails if another tarball than the one with this digest was recorded before. Nobody would know of the change once
/// the older record is replaced.
pub(in crate::controllers::recorder) fn check_same(
    own: Option<&BackupRecord>,
    tarball: Sha256,
) -> Result<(), Unobserved> {
    let status = own.and_then(|own| own.status.as_ref());
    let status = status.filter(|status| status.state == RecordState::TarballOnly);
    let recorded = status.and_then(|status| status.checksum.as_ref());
    match recorded.filter(|recorded| **recorded != tarball.prefixed()) {
        Some(recorded) => Err(Unobserved::OtherTarball(recorded.clone())),
        None => Ok(()),
    }
}

impl Reading {
    /// Completes the record with the tarball alone, and annotates the Backup with its checksum.
    pub(in crate::controllers::recorder) async fn record_tarball(
        &self,
        TarballRecord {
            tarball,
            unreadable,
        }: TarballRecord,
    ) -> Requeue {
        let at = time_now();
        let verified_at = at.0.to_string();
        let checksum = tarball.file.sha256.prefixed();
        let adopted_by = match &self.level {
            Level::Adopted { by } => Some(by.clone()),
            Level::Observed | Level::Late => None,
        };
        let status = BackupRecordStatus {
            state: RecordState::TarballOnly,
            reason: Some(unreadable.reason.to_owned()),
            message: Some(message(&unreadable.message)),
            level: Some(TARBALL_ONLY.to_owned()),
            adopted_by: adopted_by.clone(),
            checksum: Some(checksum.clone()),
            files: Some(1),
            bytes: Some(number(tarball.file.size)),
            location: Some(tarball.location.recorded()),
            recorded_at: Some(at),
            expires: self.expires(),
            ..BackupRecordStatus::default()
        };
        match self.write(&status, None).await {
            Ok(true) => {}
            Ok(false) => return again(),
            Err(error) => return told(Err(error), "write the record"),
        }
        let annotations = Annotations {
            checksum: Some(&checksum),
            manifest: None,
            verified_at: Some(&verified_at),
        };
        let retry = annotate::write(&self.context, &self.backup, annotations).await;
        let bytes = tarball.file.size;
        let on_whose_word = adopted_by.map(|by| format!(" on the word of {by}"));
        let note = format!(
            "only its tarball ({bytes} bytes) is recorded{}, and nothing is signed: Velero may read the bucket, and \
             velero-trust may not: {}",
            on_whose_word.unwrap_or_default(),
            message(&unreadable.message)
        );
        tracing::warn!(reason = unreadable.reason, "{note}");
        self.emit(EventReason::BackupTarballOnly, &note).await;
        Requeue {
            retry,
            within: None,
        }
    }
}
