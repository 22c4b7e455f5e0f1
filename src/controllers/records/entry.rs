//! A record, reduced to what decides.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use k8s_openapi::jiff::Timestamp;

use crate::decision::{Key, Place, SignedLevel};
use crate::digest::Sha256;
use crate::integrity::departure::Departure;
use crate::integrity::envelope::Envelope;
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::{
    BackupRecord, BackupRecordStatus, PendingUpload, ReadingMark, RecordedReading,
};
use crate::velero::packed_texts::PackedTexts;

/// The key by which a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum RecordSigner {
    /// This cluster recorded the files.
    Own(Sha256),
    /// Another one did.
    Imported {
        key: Sha256,
        /// Whether the files were in another bucket or prefix than the one that is signed.
        is_elsewhere: bool,
    },
}

/// Whose record it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::controllers) struct Identity<'a> {
    pub(in crate::controllers) namespace: &'a str,
    /// The name of the Backup.
    pub(in crate::controllers) name: &'a str,
    pub(in crate::controllers) uid: &'a str,
    /// UID of the Backup in the cluster, if Velero made it from the bucket.
    pub(in crate::controllers) synced_as: Option<&'a str>,
}

/// A record without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) struct RecordEntry {
    /// The texts of its [`Identity`].
    identity: PackedTexts<4>,
    pub(in crate::controllers) is_observed: bool,
    pub(in crate::controllers) state: RecordState,
    /// The digests of the tarball and of what is signed. Nothing else counts.
    pub(in crate::controllers) checksum: Option<Sha256>,
    pub(in crate::controllers) manifest: Option<Sha256>,
    /// When the Backup was complete, as it was seen first.
    pub(in crate::controllers) final_phase: Option<FinalPhase>,
    pub(in crate::controllers) signer: Option<RecordSigner>,
    /// The hash of what let keys count when none vouched for the backup.
    pub(in crate::controllers) trust: Option<u64>,
    pub(in crate::controllers) level: Option<SignedLevel>,
    /// When the files were recorded.
    pub(in crate::controllers) recorded_at: Option<Timestamp>,
    /// When the Backup went away, in seconds since 1970.
    pub(in crate::controllers) gone_at: Option<i64>,
    /// How it went away before it came back.
    pub(in crate::controllers) returned: Option<Departure>,
    /// Whether its envelope is in the record only.
    pub(in crate::controllers) lacks_envelope: bool,
    /// The envelope that may be alone in the bucket.
    pub(in crate::controllers) pending_upload: Option<Box<PendingUpload>>,
    /// The last reading for Restores.
    pub(in crate::controllers) reading: Option<Box<ReadingEntry>>,
    /// Whether it says that the files are being read for Restores, or could not be read.
    pub(in crate::controllers) is_unsettled: bool,
}

impl RecordEntry {
    pub(in crate::controllers) fn new(record: BackupRecord) -> Self {
        let digest = |text: Option<String>| Sha256::from_prefixed(text.as_deref()?);
        let status: BackupRecordStatus = record.status.unwrap_or_default();
        let verification = status.verification.unwrap_or_default();
        let envelope = status.envelope.as_deref();
        let signer = match &status.imported {
            Some(imported) => Sha256::from_hex(&imported.key_id).map(|key| {
                let place = status.location.as_ref().map(Place::from);
                RecordSigner::Imported {
                    key,
                    is_elsewhere: envelope
                        .zip(place)
                        .is_some_and(|(list, place)| record::claims_elsewhere(list, &place)),
                }
            }),
            None => envelope.and_then(first_signer),
        };
        let identity = Identity {
            namespace: &record.spec.namespace,
            name: &record.spec.backup,
            uid: &record.spec.uid,
            synced_as: status.synced_as.as_deref(),
        };
        Self {
            identity: identity.pack(),
            is_observed: record.spec.observed,
            state: status.state,
            checksum: digest(status.checksum),
            manifest: digest(status.manifest),
            final_phase: status.final_phase.as_ref().map(FinalPhase::from),
            signer,
            trust: status.trust.as_deref().map(hash_of),
            level: status.level.as_deref().and_then(SignedLevel::parse),
            recorded_at: status.recorded_at.map(|time| time.0),
            gone_at: status.gone.map(|gone| gone.at.0.as_second()),
            returned: status.returned.map(|gone| gone.how),
            pending_upload: status.pending_upload.map(Box::new),
            lacks_envelope: status.envelope.is_some() && !status.envelope_in_bucket,
            reading: verification
                .reading
                .map(|reading| Box::new(ReadingEntry::new(&reading))),
            is_unsettled: verification.failure.is_some() || verification.progress.is_some(),
        }
    }

    /// Returns whose record it is.
    pub(in crate::controllers) fn identity(&self) -> Identity<'_> {
        let [namespace, name, uid, synced_as] = self.identity.unpack();
        Identity {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            uid: uid.unwrap_or_default(),
            synced_as,
        }
    }

    /// Returns the key of the Backup.
    pub(in crate::controllers) fn backup(&self) -> Key {
        let Identity {
            namespace, name, ..
        } = self.identity();
        Key::new(namespace, name)
    }

    /// Whether the record is one of a Backup of this key.
    pub(in crate::controllers) fn is_of(&self, key: &Key) -> bool {
        let Identity {
            namespace, name, ..
        } = self.identity();
        namespace == key.namespace && name == key.name
    }
}

impl Identity<'_> {
    fn pack(self) -> PackedTexts<4> {
        [
            Some(self.namespace),
            Some(self.name),
            Some(self.uid),
            self.synced_as,
        ]
        .into()
    }
}

/// What a record says of the last reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) struct ReadingEntry {
    pub(in crate::controllers) mark: ReadingMark,
    /// The hashes of the UIDs of the Restores for which it counts.
    restores: Box<[u64]>,
}

impl ReadingEntry {
    pub(in crate::controllers) fn new(reading: &RecordedReading) -> Self {
        let mut restores: Vec<_> = reading.restores.iter().map(|uid| hash_of(uid)).collect();
        restores.sort_unstable();
        Self {
            mark: reading.mark(),
            restores: restores.into_boxed_slice(),
        }
    }

    /// Whether it counts for the Restore with this UID.
    pub(in crate::controllers) fn covers(&self, uid: &str) -> bool {
        self.restores.binary_search(&hash_of(uid)).is_ok()
    }
}

/// Returns the hash of a text that is random, as a UID is, so that two do not collide.
pub(in crate::controllers) fn hash_of(uid: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(uid)
}

/// Returns the key that is said to have signed an envelope of ours, which has one signature.
fn first_signer(envelope: &str) -> Option<RecordSigner> {
    let envelope = Envelope::parse(envelope.as_bytes()).ok()?;
    envelope.key_ids().first().copied().map(RecordSigner::Own)
}
