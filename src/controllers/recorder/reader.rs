//! Reads and signs the files of one backup.

use k8s_openapi::jiff::Timestamp;

use super::Context;
use super::envelope::{self, WrittenEnvelope};
use super::location;
use super::observed::RecordEntry;
use crate::bucket::{self, Artifact, ErrorKind, Listing, Store};
use crate::integrity::digest::{Hasher, Sha256};
use crate::integrity::files::{self, Role};
use crate::integrity::manifest::{File, Manifest, ManifestError};
use crate::integrity::origin::{self, Listed, Unobserved};
use crate::integrity::pod_volumes::PodVolumes;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::{Level, Statement};
use crate::kubernetes::crds::RecordedLocation;
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::{pod_volume_backups, server_clock};
use crate::velero::backup_fields::{BackupFields, DocumentError, MAX_DOCUMENT_BYTES};
use crate::velero::observed_backup::ObservedBackup;

/// What came of reading.
pub(super) enum Outcome {
    /// The files are read and signed.
    Recorded(Box<Recorded>),
    /// They are those of the record with this uid, by what velero-backup.json says.
    Known(String),
    /// They are not known to be those that Velero wrote here.
    Unobserved(Unobserved),
    /// They could not be read.
    Unreadable {
        reason: &'static str,
        message: String,
    },
    /// They changed meanwhile, or are gone.
    Changed,
}

/// A signed backup.
pub(super) struct Recorded {
    pub(super) statement: Statement,
    pub(super) written: WrittenEnvelope,
    pub(super) location: RecordedLocation,
}

/// Why reading ended early.
pub(super) enum Stop {
    Unobserved(Unobserved),
    Unreadable {
        reason: &'static str,
        message: String,
    },
    Known(String),
    Changed,
}

impl From<Unobserved> for Stop {
    fn from(unobserved: Unobserved) -> Self {
        Self::Unobserved(unobserved)
    }
}

impl From<ManifestError> for Stop {
    fn from(error: ManifestError) -> Self {
        Self::Unobserved(error.into())
    }
}

impl From<bucket::Error> for Stop {
    fn from(error: bucket::Error) -> Self {
        if matches!(error.kind, ErrorKind::Changed) {
            return Self::Changed;
        }
        Self::Unreadable {
            reason: "BucketUnreadable",
            message: error.with_fix(),
        }
    }
}

impl Stop {
    pub(super) const fn unreadable(reason: &'static str, message: String) -> Self {
        Self::Unreadable { reason, message }
    }
}

/// Reads and signs the files of `backup`, of whose name `records` are.
pub(super) async fn read(
    context: &Context,
    backup: &ObservedBackup,
    records: &[(String, RecordEntry)],
    level: Level,
) -> Outcome {
    match try_read(context, backup, records, level).await {
        Ok(recorded) => Outcome::Recorded(Box::new(recorded)),
        Err(Stop::Unobserved(unobserved)) => Outcome::Unobserved(unobserved),
        Err(Stop::Unreadable { reason, message }) => Outcome::Unreadable { reason, message },
        Err(Stop::Known(uid)) => Outcome::Known(uid),
        Err(Stop::Changed) => Outcome::Changed,
    }
}

async fn try_read(
    context: &Context,
    backup: &ObservedBackup,
    records: &[(String, RecordEntry)],
    level: Level,
) -> Result<Recorded, Stop> {
    let name = &backup.fields.name;
    let location = location::open(context, backup).await?;
    let store = &location.store;
    let asked_at = Timestamp::now();
    let listing = store.list(name).await?;
    let completed = completion(context, backup, &listing, asked_at).await;
    let document = read_document(store, name, &listing).await?;
    // A synced Backup has another uid than its files. They are known if a record has theirs.
    let is_its_record =
        |record: &RecordEntry| record.uid == document.uid && record.state == RecordState::Recorded;
    if document.uid != backup.fields.uid && records.iter().any(|(_, record)| is_its_record(record))
    {
        return Err(Stop::Known(document.uid));
    }
    origin::check_document(&backup.fields, &document)?;
    let listed: Vec<_> = listing.artifacts.iter().map(listed).collect();
    origin::check_times(name, &listed, completed)?;
    let files = hash_files(context, store, name, &listing).await?;
    let again = store.list(name).await?;
    if signed_artifacts(name, &again) != signed_artifacts(name, &listing) {
        return Err(Stop::Changed);
    }
    let pod_volumes = pod_volume_backups::of(&context.controllers.client, &backup.fields).await;
    let pod_volumes = pod_volumes.map_err(|error| {
        Stop::unreadable("PodVolumeBackupsUnreadable", lookup_error(&error).message)
    })?;
    let statement = Statement {
        manifest: Manifest::new(name, files)?,
        cluster: context.signer.cluster.clone(),
        backup: document,
        location: location.signed.clone(),
        pod_volumes: PodVolumes::new(&pod_volumes),
        level,
    };
    let written = envelope::write(context, &location, name, &statement, &again).await?;
    Ok(Recorded {
        statement,
        written,
        location: RecordedLocation {
            name: location.name,
            bucket: location.signed.bucket,
            prefix: location.signed.prefix,
        },
    })
}

/// Returns when the API server stored the final phase, by the clock of the store, in milliseconds
/// since 1970. `listing` is the answer to what was asked at `asked_at` by our own clock.
async fn completion(
    context: &Context,
    backup: &ObservedBackup,
    listing: &Listing,
    asked_at: Timestamp,
) -> Option<i64> {
    // The API server keeps whole seconds.
    let stored = backup
        .phase_stored?
        .saturating_mul(1000)
        .saturating_add(999);
    let store = listing.store_time?.as_millisecond() - asked_at.as_millisecond();
    let server = server_clock::offset_millis(&context.controllers.client).await?;
    Some(stored.saturating_add(store).saturating_sub(server))
}

async fn read_document(store: &Store, name: &str, listing: &Listing) -> Result<BackupFields, Stop> {
    let missing = || ManifestError::Missing(files::BACKUP.to_owned());
    let artifact = listing.get(files::BACKUP).ok_or_else(missing)?;
    let length = usize::try_from(artifact.size).unwrap_or(usize::MAX);
    if length > MAX_DOCUMENT_BYTES {
        return Err(Unobserved::from(DocumentError::TooLong(length)).into());
    }
    let bytes = store
        .read(name, artifact)
        .await?
        .bytes(artifact.size)
        .await?;
    Ok(BackupFields::from_document(&bytes).map_err(Unobserved::from)?)
}

fn listed(artifact: &Artifact) -> Listed<'_> {
    Listed {
        name: &artifact.name,
        modified: artifact.last_modified.as_millisecond(),
    }
}

/// Returns the files that are signed, as they are listed.
fn signed_artifacts<'a>(backup: &str, listing: &'a Listing) -> Vec<&'a Artifact> {
    let is_signed = |artifact: &&Artifact| files::role(backup, &artifact.name) != Role::Envelope;
    listing.artifacts.iter().filter(is_signed).collect()
}

/// Reads every file once.
async fn hash_files(
    context: &Context,
    store: &Store,
    name: &str,
    listing: &Listing,
) -> Result<Vec<File>, Stop> {
    let artifacts = signed_artifacts(name, listing);
    // Nothing is read of a directory that holds no backup.
    let without_digests = artifacts.iter().map(|artifact| File {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: Sha256::of(b""),
    });
    Manifest::new(name, without_digests.collect())?;
    let mut files = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let mut reading = store.read(name, artifact).await?;
        let mut hasher = Hasher::default();
        while let Some(piece) = reading.next().await? {
            hasher.update(&piece);
            context
                .controllers
                .metrics
                .backup_bytes_read
                .inc_by(piece.len() as u64);
        }
        files.push(File {
            name: artifact.name.clone(),
            size: artifact.size,
            sha256: hasher.finish(),
        });
    }
    Ok(files)
}
