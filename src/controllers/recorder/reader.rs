//! Reads and signs the files of one backup.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Context;
use super::download::check_same;
use super::envelope::{self, WrittenEnvelope};
use super::import::{self, SharedKeys};
use super::location::OpenLocation;
use super::reading::{Beginning, Found, add_list, is_due, lists};
use super::signing::check_signs;
use super::stop::Stop;
use super::{adopt, cleanup, location};
use crate::bucket::{self, Artifact, Listing, Store};
use crate::controllers::channels::WaitingRestores;
use crate::controllers::records::ReadingEntry;
use crate::decision::Key;
use crate::digest::{Hasher, Sha256};
use crate::integrity::envelope::Envelope;
use crate::integrity::files::{self, Role};
use crate::integrity::final_phase::MAX_AHEAD_SECONDS;
use crate::integrity::manifest::{File, Manifest, ManifestError};
use crate::integrity::origin::{self, Listed, Unobserved};
use crate::integrity::recording::RecordState;
use crate::integrity::statement::{Level, Statement};
use crate::kubernetes::crds::{BackupRecord, RecordedLocation, RecordedReading, record_name};
use crate::kubernetes::pod_volume_backups;
use crate::kubernetes::server_clock::{self, ClockReading};
use crate::velero::backup_fields::{BackupFields, DocumentError, MAX_DOCUMENT_BYTES};
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// A signed backup.
pub(super) struct Recorded {
    pub(super) statement: Statement,
    pub(super) written: WrittenEnvelope,
    pub(super) location: RecordedLocation,
}

/// How far to read.
pub(super) struct Extent {
    pub(super) level: Level,
    /// Whether files are read, not only looked up among the records.
    pub(super) reads_files: bool,
    /// Whether the backup is judged already, and only looked at again because other keys count now.
    pub(super) only_imports: bool,
    /// The keys that count.
    pub(super) keys: SharedKeys,
    /// The Restores that wait for the backup, all before anything is read.
    pub(super) waiting: Option<WaitingRestores>,
    /// Set when the Backup is no longer one to read.
    pub(super) is_over: Arc<AtomicBool>,
}

/// What is known of a Backup besides what is signed, however far reading it goes.
pub(super) struct Known {
    /// Its own record as it was stored last.
    pub(super) record: Option<BackupRecord>,
    /// What was read, if a Restore waits for that.
    pub(super) reading: Option<Box<RecordedReading>>,
}

impl Known {
    /// Returns the Restores that wait for a reading.
    pub(super) fn unread<'a>(&self, extent: &'a Extent) -> Option<&'a WaitingRestores> {
        let status = self
            .record
            .as_ref()
            .and_then(|record| record.status.as_ref());
        let verification = status.and_then(|status| status.verification.as_ref());
        let last = verification.and_then(|verification| verification.reading.as_ref());
        let last = last.map(ReadingEntry::new);
        let waiting = extent.waiting.as_ref();
        waiting.filter(|waiting| is_due(waiting, last.as_ref()))
    }
}

/// Reads and signs the files of `backup`, and adds to what is `known` of it.
pub(super) async fn read(
    context: &Context,
    backup: &ObservedBackup,
    extent: &Extent,
    known: &mut Known,
) -> Result<Recorded, Stop> {
    let beginning = known.unread(extent).map(Beginning::now);
    let name = &backup.fields.name;
    let is_adopted = matches!(extent.level, Level::Adopted { .. });
    if is_adopted {
        check_adoption(context, backup).await?;
    }
    let location = location::open_kept(context, backup).await?;
    let store = &location.store;
    let document = find_signed(context, backup, extent, &location).await?;
    let asked_at = Instant::now();
    let listing = store.list(name).await?;
    if signed_artifacts(name, &listing).is_empty() {
        remove_lone(&location, name, known, &listing).await?;
        let nothing = |it: Beginning| it.end(&location, name, &listing, Found::default());
        known.reading = beginning.map(nothing).map(Box::new);
        return Err(Stop::no_files(name, &location.name));
    }
    let (document, file) = read_document(store, name, &listing, document).await?;
    if document.uid != backup.fields.uid {
        find_record(context, backup, &document, is_adopted).await?;
    }
    if !extent.reads_files {
        return Err(Stop::NotKnown);
    }
    let signer = context.signer().ok_or(Stop::NoKey)?;
    let mut level = extent.level.clone();
    if is_adopted {
        origin::check_name(&backup.fields, &document)?;
    } else {
        origin::check_document(&backup.fields, &document)?;
        let completed = completion(context, backup, listing.store_time, asked_at).await?;
        let listed: Vec<_> = listing.artifacts.iter().map(listed).collect();
        origin::check_times(name, &listed, completed)?;
        let read_at = listing.store_time.map(Timestamp::as_millisecond);
        if !origin::is_read_in_time(completed, read_at) {
            level = Level::Late;
        }
    }
    let key = Key::new(&backup.fields.namespace, name);
    let pod_volumes = pod_volume_backups::of(&context.controllers.client, &key).await?;
    let mut statement = Statement {
        manifest: Manifest::new(name, without_digests(name, &listing))?,
        cluster: signer.cluster.clone(),
        backup: document,
        location: location.signed.clone(),
        pod_volumes,
        level,
        public_key: Some(signer.key.public_pem()),
    };
    let before = envelope::signed_before(&signer, store, name, &listing).await?;
    let mut hashed = None;
    match before {
        // A user vouches for the bytes as they are, not as they were.
        Some(before) if !is_adopted && is_same(&before, &statement, &file) => statement = before,
        before => {
            // To read all files may take hours.
            check_signs(context, &signer).await?;
            let files = hash_files(context, store, &listing, &statement, file, extent).await?;
            statement.manifest = Manifest::new(name, files)?;
            hashed = Some(statement.manifest.files().to_vec());
            if is_adopted {
                statement = adopt::agreed(store, &listing, statement, before, extent).await?;
                // It may have taken hours.
                check_adoption(context, backup).await?;
            }
        }
    }
    if let Some(tarball) = statement.tarball() {
        check_same(known.record.as_ref(), tarball)?;
    }
    let again = store.list(name).await?;
    if signed_artifacts(name, &again) != signed_artifacts(name, &listing) {
        return Err(Stop::Changed);
    }
    location::check_unchanged(context, &location).await?;
    if let (Some(beginning), Some(files)) = (beginning, hashed)
        && let Ok(lists) = lists(context, &location, name, &again, &files, &[]).await
    {
        let found = Found {
            files,
            unread: Vec::new(),
            lists,
        };
        known.reading = Some(Box::new(beginning.end(&location, name, &again, found)));
    }
    let record = &mut known.record;
    let written = envelope::write(
        context, &signer, &location, backup, &statement, &again, record,
    )
    .await?;
    if let Some(reading) = &mut known.reading
        && written.is_in_bucket
    {
        let files = statement.manifest.files();
        add_list(&mut reading.lists, &written.json, name, files);
    }
    Ok(Recorded {
        statement,
        written,
        location: location.recorded(),
    })
}

/// Takes the envelope away that was being put. Velero keeps a Backup whose directory has any file.
async fn remove_lone(
    location: &OpenLocation,
    name: &str,
    known: &Known,
    listing: &Listing,
) -> Result<(), Stop> {
    let status = known.record.as_ref();
    let status = status.and_then(|record| record.status.as_ref());
    let upload = status.and_then(|status| status.pending_upload.as_ref());
    if let Some(upload) = upload.filter(|upload| upload.location == location.recorded()) {
        cleanup::remove_own(&location.store, name, upload, listing).await?;
    }
    Ok(())
}

/// Looks for what is signed of a Backup that was not seen before it was complete, and may have come by sync. Returns
/// its velero-backup.json, if that was read.
async fn find_signed(
    context: &Context,
    backup: &ObservedBackup,
    extent: &Extent,
    location: &OpenLocation,
) -> Result<Option<Vec<u8>>, Stop> {
    if extent.level != Level::Late {
        return Ok(None);
    }
    match import::find(context, backup, location, &extent.keys).await {
        // It is not judged, so that it is looked at again once it may be.
        Err(Stop::NotImported(_) | Stop::Unobserved(_))
            if !extent.reads_files && !extent.only_imports =>
        {
            Err(Stop::NotKnown)
        }
        Ok(_) if extent.only_imports => Err(Stop::NotKnown),
        found => found,
    }
}

/// Looks for the record with the uid in the files of `backup`, which has another one: Velero made it from
/// the bucket. Fails with [`Stop::Known`] if they are recorded. Returns one that does not count.
pub(super) async fn find_record(
    context: &Context,
    backup: &ObservedBackup,
    document: &BackupFields,
    is_adopted: bool,
) -> Result<Option<BackupRecord>, Stop> {
    let name = record_name(&backup.fields.name, &document.uid);
    let found = context.ledger.get(&name).await;
    let found = found.map_err(|error| Stop::unanswered("RecordUnreadable", &error))?;
    let Some(record) = found else {
        return Ok(None);
    };
    let namespace = &record.spec.namespace;
    if *namespace != backup.fields.namespace {
        // Records are not read in another namespace, nor replaced, whatever they say.
        return Err(Unobserved::OtherNamespace(namespace.clone()).into());
    }
    if record.known().state != RecordState::Recorded {
        return Ok(Some(record));
    }
    let envelope = record
        .status
        .as_ref()
        .and_then(|status| status.envelope.as_deref());
    let envelope = envelope.and_then(|json| Envelope::parse(json.as_bytes()).ok());
    let signed = envelope.and_then(|envelope| Statement::parse(envelope.payload()).ok());
    let message = || format!("the envelope in BackupRecord {name} cannot be read");
    let signed = signed.ok_or_else(|| Stop::unreadable("RecordUnreadable", message()))?;
    if !is_adopted {
        origin::check_synced(&backup.fields, &signed.backup)?;
    }
    Err(Stop::Known(Box::new(record)))
}

/// Whether `signed`, which this key signed before it was ended, says the same as `expected`, of
/// whose files only the sizes and `document` were read.
fn is_same(signed: &Statement, expected: &Statement, document: &File) -> bool {
    let sizes = |statement: &Statement| -> Vec<(String, u64)> {
        let files = statement.manifest.files().iter();
        files.map(|file| (file.name.clone(), file.size)).collect()
    };
    signed.manifest.file(&document.name) == Some(document)
        && sizes(signed) == sizes(expected)
        && (&signed.cluster, &signed.backup) == (&expected.cluster, &expected.backup)
        && (&signed.location, signed.pod_volumes) == (&expected.location, expected.pod_volumes)
}

/// Fails unless `backup` is still there and complete.
pub(super) async fn check_present(context: &Context, backup: &ObservedBackup) -> Result<(), Stop> {
    present(context, backup).await.map(drop)
}

/// Fails unless the user who vouches for `backup` still does, in the same location.
///
/// Its record is there, and before that was made, the annotations with which the Backup came were
/// removed. The watch may show those yet. What is stored was admitted by the policy.
pub(super) async fn check_adoption(context: &Context, backup: &ObservedBackup) -> Result<(), Stop> {
    let found = present(context, backup).await?;
    let vouched =
        |backup: &ObservedBackup| (backup.adoption.clone(), backup.storage_location.clone());
    if vouched(&found) == vouched(backup) {
        Ok(())
    } else {
        Err(Stop::Changed)
    }
}

/// Returns `backup` as it is stored, if it is still there and complete.
async fn present(context: &Context, backup: &ObservedBackup) -> Result<ObservedBackup, Stop> {
    let BackupFields {
        namespace, name, ..
    } = &backup.fields;
    let found = context.backups(namespace).get_opt(name).await;
    let found = found.map_err(|error| Stop::unanswered("BackupUnreadable", &error))?;
    let text = found.and_then(|found| serde_json::to_string(&found).ok());
    let found = text.and_then(|text| ObservedBackup::from_json(&text));
    let is_it = |found: &ObservedBackup| {
        found.fields.uid == backup.fields.uid && found.progress() == Progress::Complete
    };
    found.filter(is_it).ok_or(Stop::Changed)
}

/// Returns when the API server stored the final phase, by the clock of the store, in milliseconds
/// since 1970; `None` if the Backup does not tell. `store_time` is the time of that clock in the answer to
/// what was asked at `asked_at`.
///
/// The time for which either server takes to answer makes the result later, never earlier: a slow
/// server makes no file look as if it was written after the completion.
pub(super) async fn completion(
    context: &Context,
    backup: &ObservedBackup,
    store_time: Option<Timestamp>,
    asked_at: Instant,
) -> Result<Option<i64>, Stop> {
    let Some(stored) = backup.phase_stored else {
        return Ok(None);
    };
    let untold = |who: &str| {
        Stop::unreadable(
            "ClockUnknown",
            format!("{who} does not tell its time: its answers have no header `Date`"),
        )
    };
    let store = store_time.ok_or_else(|| untold("the store"))?;
    let server = server_clock::read(&context.controllers.client).await;
    let server = server.map_err(|error| Stop::unanswered("ClockUnknown", &error))?;
    let ClockReading { time, at } = server.ok_or_else(|| untold("the API server"))?;
    // Whoever may write the Backup may write this time too.
    if stored > time.as_second().saturating_add(MAX_AHEAD_SECONDS) {
        return Ok(None);
    }
    let between = at.saturating_duration_since(asked_at).as_millis();
    let between = i64::try_from(between).unwrap_or(i64::MAX);
    let ahead = store.as_millisecond().saturating_sub(time.as_millisecond());
    // The API server keeps whole seconds.
    let stored = stored.saturating_mul(1000).saturating_add(999);
    Ok(Some(stored.saturating_add(ahead).saturating_add(between)))
}

/// Reads velero-backup.json, unless it is `known`, and its digest from the same bytes.
async fn read_document(
    store: &Store,
    name: &str,
    listing: &Listing,
    known: Option<Vec<u8>>,
) -> Result<(BackupFields, File), Stop> {
    let missing = || ManifestError::Missing(files::BACKUP.to_owned());
    let artifact = listing.get(files::BACKUP).ok_or_else(missing)?;
    let length = usize::try_from(artifact.size).unwrap_or(usize::MAX);
    if length > MAX_DOCUMENT_BYTES {
        return Err(Unobserved::from(DocumentError::TooLong(length)).into());
    }
    let bytes = match known.filter(|known| known.len() == length) {
        Some(known) => known,
        None => {
            store
                .read(name, artifact)
                .await?
                .bytes(artifact.size)
                .await?
        }
    };
    let file = File {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: Sha256::of(&bytes),
    };
    let fields = BackupFields::from_document(&bytes).map_err(Unobserved::from)?;
    Ok((fields, file))
}

fn listed(artifact: &Artifact) -> Listed<'_> {
    Listed {
        name: &artifact.name,
        modified: artifact.last_modified.as_millisecond(),
    }
}

/// Returns the files that are signed, as they are listed.
pub(super) fn signed_artifacts<'a>(backup: &str, listing: &'a Listing) -> Vec<&'a Artifact> {
    let is_signed = |artifact: &&Artifact| files::role(backup, &artifact.name) != Role::Envelope;
    listing.artifacts.iter().filter(is_signed).collect()
}

/// Returns the files with their sizes, and an empty digest.
fn without_digests(name: &str, listing: &Listing) -> Vec<File> {
    let artifacts = signed_artifacts(name, listing).into_iter();
    let files = artifacts.map(|artifact| File {
        name: artifact.name.clone(),
        size: artifact.size,
        sha256: Sha256::of(b""),
    });
    files.collect()
}

/// Reads every file once, but the `document` that was read already.
async fn hash_files(
    context: &Context,
    store: &Store,
    listing: &Listing,
    statement: &Statement,
    document: File,
    extent: &Extent,
) -> Result<Vec<File>, Stop> {
    let name = &statement.backup.name;
    context
        .controllers
        .metrics
        .backup_bytes_read
        .inc_by(document.size);
    let mut artifacts = signed_artifacts(name, listing);
    artifacts.retain(|artifact| artifact.name != files::BACKUP);
    let mut files = vec![document];
    files.extend(hash(context, store, name, &artifacts, &extent.is_over, |_| ()).await?);
    Ok(files)
}

/// Reads these files of the backup `name` once, until `is_over`. `on_piece` is called with the number of
/// bytes of each piece.
pub(super) async fn hash(
    context: &Context,
    store: &Store,
    name: &str,
    artifacts: &[&Artifact],
    is_over: &AtomicBool,
    on_piece: impl Fn(u64),
) -> Result<Vec<File>, Stop> {
    let mut files = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let reading = store.read(name, artifact).await?;
        files.push(File {
            name: artifact.name.clone(),
            size: artifact.size,
            sha256: digest(context, reading, is_over, &on_piece).await?,
        });
    }
    Ok(files)
}

/// Reads a file once, until `is_over`. `on_piece` is called with the number of bytes of each piece.
pub(super) async fn digest(
    context: &Context,
    mut reading: bucket::Reading,
    is_over: &AtomicBool,
    on_piece: impl Fn(u64),
) -> Result<Sha256, Stop> {
    let read = &context.controllers.metrics.backup_bytes_read;
    let mut hasher = Hasher::default();
    while let Some(piece) = reading.next().await? {
        if is_over.load(Ordering::Relaxed) {
            return Err(Stop::Changed);
        }
        hasher.update(&piece);
        read.inc_by(piece.len() as u64);
        on_piece(piece.len() as u64);
    }
    Ok(hasher.finish())
}
