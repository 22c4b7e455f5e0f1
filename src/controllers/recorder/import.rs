//! Imports a backup that came by sync: makes its record from the signed list beside it, if a TrustedKey vouches
//! for that here. None of the files is read but velero-backup.json.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Context;
use super::location::OpenLocation;
use super::reader::find_record;
use super::stop::Stop;
use crate::bucket::{Artifact, Store};
use crate::clock;
use crate::decision::{FailureClass, Key, TrustedKey};
use crate::digest::Sha256;
use crate::integrity::envelope::{Envelope, MAX_BYTES};
use crate::integrity::files::{self, Role};
use crate::integrity::import::{self, ImportError, Importable, Synced};
use crate::integrity::origin::Unobserved;
use crate::integrity::public_key::PublicKey;
use crate::integrity::recording;
use crate::integrity::statement::Statement;
use crate::integrity::trust::Trust;
use crate::kubernetes::crds::{BackupRecord, RecordedLocation, RecordedSigner};
use crate::velero::backup_fields::{BackupFields, MAX_DOCUMENT_BYTES};
use crate::velero::observed_backup::ObservedBackup;
use crate::velero::text::seconds;

/// Most signed lists beside a backup that are looked at. Each cluster of a bucket has one.
pub(super) const MAX_LISTS: usize = 16;

/// The TrustedKeys as the watch knows them.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    pub(super) keys: Vec<TrustedKey>,
    /// Those that can be read.
    pub(super) trust: Trust,
    /// Tells whether they let others count than before.
    pub(super) digest: String,
}

impl KnownKeys {
    pub(super) fn new(keys: Vec<TrustedKey>) -> Self {
        let trust = Trust::new(&keys);
        Self {
            digest: trust.digest(),
            keys,
            trust,
        }
    }
}

/// What is signed of a backup, and counts here.
pub(super) struct Imported {
    pub(super) statement: Statement,
    /// The digest of the signed bytes.
    pub(super) payload: Sha256,
    /// The envelope, as it is in the bucket.
    pub(super) envelope: String,
    /// `metadata.name` of the TrustedKey.
    pub(super) trusted: String,
    pub(super) key: Sha256,
    pub(super) location: RecordedLocation,
    /// Where the files were when they were signed, if that was another place.
    pub(super) was_at: Option<String>,
    /// Since when this cluster had a record of the same before, if it had.
    pub(super) first_at: Option<Time>,
}

/// Why a backup that came by sync is not imported.
pub(super) struct NotImported {
    pub(super) uid: String,
    /// What the signed list that says most lacks; `None` if there is none.
    pub(super) why: Option<ImportError>,
    pub(super) signers: Vec<RecordedSigner>,
    /// How many lists were not looked at.
    pub(super) not_read: usize,
    /// The digest of the keys that were asked.
    pub(super) trust: String,
}

impl NotImported {
    /// Returns it as a judgement.
    pub(super) fn judgement(&self) -> Unobserved {
        let uid = self.uid.clone();
        match &self.why {
            Some(error) => Unobserved::NotImported {
                uid,
                reason: error.reason(),
                why: error.to_string(),
            },
            None => Unobserved::Synced(uid),
        }
    }
}

/// Looks for what is signed about `backup`, if it came by sync. Fails with [`Stop::Known`] if there is a record of
/// its files, with [`Stop::Imported`] if there is one to be made, and with [`Stop::NotImported`] if nothing that
/// is signed vouches for it here. Returns velero-backup.json if the Backup was made in this cluster.
pub(super) async fn find(
    context: &Context,
    backup: &ObservedBackup,
    location: &OpenLocation,
    keys: &KnownKeys,
) -> Result<Option<Vec<u8>>, Stop> {
    let name = &backup.fields.name;
    let store = &location.store;
    let document = store
        .read_small(name, files::BACKUP, MAX_DOCUMENT_BYTES as u64)
        .await?;
    // What is wrong with it is told when all files are looked at.
    let Some(bytes) = document else {
        return Ok(None);
    };
    let Ok(document) = BackupFields::from_document(&bytes) else {
        return Ok(Some(bytes));
    };
    if document.uid == backup.fields.uid {
        return Ok(Some(bytes));
    }
    let closed = find_record(context, backup, &document, false).await?;
    let search = Search {
        context,
        backup,
        location,
        document: &document,
        keys,
        recorded: closed.as_ref().and_then(recorded_before),
    };
    Err(search.run().await?)
}

/// A search for a signed list that vouches for a backup.
struct Search<'a> {
    context: &'a Context,
    backup: &'a ObservedBackup,
    location: &'a OpenLocation,
    document: &'a BackupFields,
    keys: &'a KnownKeys,
    /// The digest of the signed bytes of which this cluster had a record before, and since when.
    recorded: Option<(Sha256, Time)>,
}

impl Search<'_> {
    async fn run(&self) -> Result<Stop, Stop> {
        let name = &self.backup.fields.name;
        let store = &self.location.store;
        // Most backups of a location are signed by one key. Then this is the last request.
        let guess = self.likely_key();
        if let Some(guess) = guess
            && let Ok(Some(bytes)) = store
                .read_small(name, &files::envelope(&guess.to_string()), MAX_BYTES as u64)
                .await
            && let Ok(found) = self.judge(&bytes)
        {
            return Ok(self.imported(found, &bytes));
        }
        let listing = store.list(name).await?;
        let mut lists: Vec<_> = listing
            .artifacts
            .iter()
            .filter(|artifact| files::role(name, &artifact.name) == Role::Envelope)
            .collect();
        lists.sort_by_key(|artifact| !self.is_trusted(artifact));
        let not_read = lists.len().saturating_sub(MAX_LISTS);
        let mut why: Option<ImportError> = None;
        let mut signers = Vec::new();
        for artifact in lists.into_iter().take(MAX_LISTS) {
            let is_needed = self.is_trusted(artifact);
            let Some(bytes) = read_list(store, name, artifact, is_needed).await? else {
                continue;
            };
            match self.judge(&bytes) {
                Ok(found) => return Ok(self.imported(found, &bytes)),
                Err(error) => {
                    if why
                        .as_ref()
                        .is_none_or(|last| last.weight() < error.weight())
                    {
                        why = Some(error);
                    }
                    signers.extend(self::signers(&bytes));
                }
            }
        }
        signers.truncate(MAX_LISTS);
        Ok(Stop::NotImported(Box::new(NotImported {
            uid: self.document.uid.clone(),
            why,
            signers,
            not_read,
            trust: self.keys.digest.clone(),
        })))
    }

    /// Returns the key that signed the last backup of the location, or one that may have.
    fn likely_key(&self) -> Option<Sha256> {
        let last = self.context.imports.last_key(&self.place());
        let trusted = self.keys.trust.public_keys();
        let own = self.context.signer().map(|signer| signer.key.public().id());
        let is_there = |id: &Sha256| trusted.iter().any(|key| key.id() == *id);
        let other = || {
            trusted
                .iter()
                .map(|key| key.id())
                .find(|id| Some(*id) != own)
        };
        last.filter(is_there).or_else(other)
    }

    fn place(&self) -> Key {
        Key::new(&self.backup.fields.namespace, &self.backup.storage_location)
    }

    fn is_trusted(&self, artifact: &Artifact) -> bool {
        let mut keys = self.keys.trust.public_keys().into_iter();
        keys.any(|key| files::envelope(&key.id().to_string()) == artifact.name)
    }

    fn judge(&self, envelope: &[u8]) -> Result<Importable<'_>, ImportError> {
        let synced = Synced {
            backup: &self.backup.fields,
            document: self.document,
            location: &self.backup.storage_location,
            place: &self.location.signed,
            recorded: self
                .recorded
                .as_ref()
                .map(|(payload, at)| (*payload, at.0.as_second())),
        };
        import::judge(envelope, &self.keys.trust, &synced)
    }

    fn imported(&self, found: Importable<'_>, envelope: &[u8]) -> Stop {
        self.context.imports.note(self.place(), found.key);
        let location = &found.statement.location;
        let was_at = found.is_elsewhere.then(|| {
            format!(
                "bucket {} with prefix \"{}\"",
                location.bucket, location.prefix
            )
        });
        let before = self.recorded.as_ref();
        let before = before.filter(|(payload, _)| *payload == found.payload);
        Stop::Imported(Box::new(Imported {
            was_at,
            first_at: before.map(|(_, at)| at.clone()),
            payload: found.payload,
            // It was read as JSON, which is UTF-8.
            envelope: String::from_utf8_lossy(envelope).into_owned(),
            trusted: found.trusted.name.clone(),
            key: found.key,
            location: self.location.recorded(),
            statement: found.statement,
        }))
    }
}

/// Reads the signed list in `artifact`; `None` if it is none of ours, or if it may not be read and is not needed:
/// another cluster may have put it with rights of its own.
pub(super) async fn read_list(
    store: &Store,
    name: &str,
    artifact: &Artifact,
    is_needed: bool,
) -> Result<Option<Vec<u8>>, Stop> {
    let read = store.read_small(name, &artifact.name, MAX_BYTES as u64);
    match read.await.map_err(Stop::from) {
        Err(Stop::Unreadable(unreadable))
            if unreadable.class == FailureClass::Lasting && !is_needed =>
        {
            Ok(None)
        }
        read => read,
    }
}

/// Returns how long to wait before looking again for a signed list beside `backup`.
pub(super) fn pause_before_look(backup: &ObservedBackup) -> Duration {
    let completed = backup.fields.completed.as_deref().and_then(seconds);
    recording::pause_before_look(completed, clock::now())
}

/// Returns of which signed bytes `record`, which does not count now, was made here, and when.
fn recorded_before(record: &BackupRecord) -> Option<(Sha256, Time)> {
    let status = record.status.as_ref()?;
    let payload = Sha256::from_prefixed(status.manifest.as_deref()?)?;
    Some((payload, status.recorded_at.clone()?))
}

/// Returns the keys that are said to have signed `envelope`, with those that it tells and that did.
fn signers(envelope: &[u8]) -> Vec<RecordedSigner> {
    let Ok(envelope) = Envelope::parse(envelope) else {
        return Vec::new();
    };
    let told = Statement::parse(envelope.payload())
        .ok()
        .and_then(|statement| statement.public_key)
        .and_then(|pem| Some((PublicKey::from_pem(&pem).ok()?, pem)))
        .filter(|(key, _)| envelope.verify(&[key]).is_ok());
    let ids = envelope.key_ids().into_iter().map(|id| RecordedSigner {
        key_id: id.to_string(),
        public_key: told
            .as_ref()
            .filter(|(key, _)| key.id() == id)
            .map(|(_, pem)| pem.clone()),
    });
    ids.collect()
}

/// Which key signed what was imported last from a location.
#[derive(Debug, Default)]
pub(super) struct LastKeys(std::sync::Mutex<std::collections::BTreeMap<Key, Sha256>>);

impl LastKeys {
    fn last_key(&self, location: &Key) -> Option<Sha256> {
        let keys = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        keys.get(location).copied()
    }

    fn note(&self, location: Key, key: Sha256) {
        let mut keys = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        keys.insert(location, key);
    }
}

/// The keys that are known, shared with the steps.
pub(super) type SharedKeys = Arc<KnownKeys>;
