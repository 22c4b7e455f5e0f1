//! Signs a statement and puts its envelope beside the backup.

use std::time::Duration;

use tokio::time::sleep;

use super::Context;
use super::location::OpenLocation;
use super::reader::check_present;
use super::signing::{Signer, check_signs};
use super::steps;
use super::stop::Stop;
use crate::bucket::{Listing, Store};
use crate::digest::Sha256;
use crate::integrity::envelope::{Envelope, MAX_BYTES};
use crate::integrity::files;
use crate::integrity::manifest::shown;
use crate::integrity::statement::{Level, Statement};
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus, PendingUpload};
use crate::velero::observed_backup::ObservedBackup;

/// Pauses before an upload that failed is tried again. All files were read for it.
const PUT_PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];

/// A signed statement.
pub(super) struct WrittenEnvelope {
    /// The digest of what is signed.
    pub(super) payload: Sha256,
    /// The envelope.
    pub(super) json: String,
    pub(super) is_in_bucket: bool,
    /// Why it is not in the bucket.
    pub(super) message: Option<String>,
}

/// What is in the bucket under the name of our envelope.
enum Existing {
    Nothing,
    /// An envelope that our key signed.
    Ours(Box<Envelope>),
    /// Somebody else's file.
    Foreign,
}

/// Returns what this key signed about the backup `name`, which was just listed, before the record was
/// complete.
pub(super) async fn signed_before(
    signer: &Signer,
    store: &Store,
    name: &str,
    listing: &Listing,
) -> Result<Option<Statement>, Stop> {
    let file = files::envelope(&signer.key.public().id().to_string());
    match existing(signer, store, name, &file, listing).await? {
        Existing::Ours(envelope) => Ok(Statement::parse(envelope.payload()).ok()),
        Existing::Nothing | Existing::Foreign => Ok(None),
    }
}

/// Signs `statement` and puts the envelope into the directory of `backup`, which was just listed. Before,
/// that is noted in `record`, which is made if there is none.
pub(super) async fn write(
    context: &Context,
    signer: &Signer,
    location: &OpenLocation,
    backup: &ObservedBackup,
    statement: &Statement,
    listing: &Listing,
    record: &mut Option<BackupRecord>,
) -> Result<WrittenEnvelope, Stop> {
    let name = &backup.fields.name;
    let key = &signer.key;
    let failed = |message: String| Stop::unreadable("SigningFailed", message);
    let payload = statement
        .to_bytes()
        .map_err(|error| failed(error.to_string()))?;
    let digest = Sha256::of(&payload);
    let file = files::envelope(&key.public().id().to_string());
    let existing = existing(signer, &location.store, name, &file, listing).await?;
    let kept = match &existing {
        // Two leaders sign the same, with other signatures.
        Existing::Ours(envelope) if envelope.payload() == payload => Some(envelope),
        _ => None,
    };
    let is_kept = kept.is_some();
    let envelope = if let Some(envelope) = kept {
        Envelope::clone(envelope)
    } else {
        check_signs(context, signer).await?;
        let envelope = key.sign(payload);
        envelope.map_err(|error| failed(error.to_string()))?
    };
    let json = envelope
        .to_json()
        .map_err(|error| failed(error.to_string()))?;
    let message = match existing {
        _ if is_kept => None,
        _ if location.is_read_only => Some("the location is ReadOnly".to_owned()),
        Existing::Foreign => Some(format!("somebody else's file is named {}", shown(&file))),
        Existing::Nothing | Existing::Ours(_) => {
            let upload = PendingUpload {
                location: location.recorded(),
                file: file.clone(),
                manifest: digest.prefixed(),
            };
            let is_observed = statement.level == Level::Observed;
            note(context, backup, is_observed, upload, record).await?;
            put(context, &location.store, backup, &file, &json).await?
        }
    };
    Ok(WrittenEnvelope {
        payload: digest,
        json,
        is_in_bucket: message.is_none(),
        message: message.map(|why| format!("the envelope is not in the bucket: {why}")),
    })
}

/// Notes in `record` what is put, so that it is taken away if this is not finished.
async fn note(
    context: &Context,
    backup: &ObservedBackup,
    is_observed: bool,
    upload: PendingUpload,
    record: &mut Option<BackupRecord>,
) -> Result<(), Stop> {
    let noted = async {
        let stored = match record.clone() {
            Some(stored) => stored,
            None => steps::create_own(context, backup, is_observed).await?,
        };
        let status = stored.status.clone().unwrap_or_default();
        if status.pending_upload.as_ref() == Some(&upload) {
            return Ok(stored);
        }
        let status = BackupRecordStatus {
            pending_upload: Some(upload),
            ..status
        };
        context.ledger.set_status(&stored, &status).await
    };
    match noted.await {
        Ok(stored) => {
            *record = Some(stored);
            Ok(())
        }
        // Somebody else made it, or judges.
        Err(kube::Error::Api(status)) if status.code == 409 => Err(Stop::Changed),
        Err(error) => Err(Stop::unanswered("RecordUnwritable", &error)),
    }
}

async fn existing(
    signer: &Signer,
    store: &Store,
    name: &str,
    file: &str,
    listing: &Listing,
) -> Result<Existing, Stop> {
    let Some(artifact) = listing.get(file) else {
        return Ok(Existing::Nothing);
    };
    if artifact.size > MAX_BYTES as u64 {
        return Ok(Existing::Foreign);
    }
    let bytes = store
        .read(name, artifact)
        .await?
        .bytes(artifact.size)
        .await?;
    let envelope = Envelope::parse(&bytes).ok();
    let ours = envelope.filter(|envelope| envelope.verify(&[signer.key.public()]).is_ok());
    Ok(ours.map_or(Existing::Foreign, |envelope| {
        Existing::Ours(Box::new(envelope))
    }))
}

/// Puts the envelope, only while the backup is there. Returns why it could not be put, so that the
/// files are not read again and again for that.
///
/// A lone file of ours would keep a Backup alive whose files are gone. Velero marks the Backup before
/// it lists the files that it deletes: as long as the Backup is not marked after the upload, Velero
/// finds the envelope.
async fn put(
    context: &Context,
    store: &Store,
    backup: &ObservedBackup,
    file: &str,
    json: &str,
) -> Result<Option<String>, Stop> {
    let name = &backup.fields.name;
    let mut pauses = PUT_PAUSES.into_iter();
    loop {
        check_present(context, backup).await?;
        if !store.exists(name, files::BACKUP).await? {
            return Err(Stop::Changed);
        }
        let put = store.put(name, file, json.as_bytes().to_vec()).await;
        // An upload whose answer was lost may have arrived.
        let is_present = match check_present(context, backup).await {
            Err(Stop::Changed) => false,
            checked => {
                checked?;
                store.exists(name, files::BACKUP).await?
            }
        };
        if !is_present {
            store.delete(name, file).await?;
            return Err(Stop::Changed);
        }
        let Err(error) = put else {
            return Ok(None);
        };
        match pauses.next().filter(|_| error.may_pass()) {
            Some(pause) => sleep(pause).await,
            None => return Ok(Some(error.with_fix())),
        }
    }
}
