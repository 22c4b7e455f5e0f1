//! What the recorder watches: the Backups and its own records.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use super::import::KnownKeys;
use super::reading::{ReadingEntry, hash_of};
use crate::decision::{self, Key, Place, SignedLevel};
use crate::digest::Sha256;
use crate::integrity::departure::Departure;
use crate::integrity::envelope::Envelope;
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::record;
use crate::integrity::recording::{Identified, KeyChange, Record, RecordState};
use crate::integrity::trust::{Claim, Distrust};
use crate::kubernetes::backup;
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus, PendingUpload, TrustedKey};
use crate::kubernetes::watch::Watch;
use crate::telemetry::RecordGauge;
use crate::velero::observed_backup::{ObservedBackup, Progress};
use crate::velero::packed_backup::PackedBackup;
use crate::velero::packed_texts::PackedTexts;
use crate::velero::text::seconds;

/// Most records that are kept in memory. Each has some hundred bytes, and 8 for each Restore of the last
/// reading.
const MAX_RECORDS: usize = 20_000;

/// The key by which a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordSigner {
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
pub(super) struct Identity<'a> {
    pub(super) namespace: &'a str,
    /// The name of the Backup.
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    /// UID of the Backup in the cluster, if Velero made it from the bucket.
    pub(super) synced_as: Option<&'a str>,
}

/// A record without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordEntry {
    /// The texts of its [`Identity`].
    identity: PackedTexts<4>,
    pub(super) is_observed: bool,
    pub(super) state: RecordState,
    /// The digests of the tarball and of what is signed. Nothing else counts.
    pub(super) checksum: Option<Sha256>,
    pub(super) manifest: Option<Sha256>,
    /// When the Backup was complete, as it was seen first.
    pub(super) final_phase: Option<FinalPhase>,
    pub(super) signer: Option<RecordSigner>,
    /// The hash of what let keys count when none vouched for the backup.
    pub(super) trust: Option<u64>,
    pub(super) level: Option<SignedLevel>,
    /// When the files were recorded.
    pub(super) recorded_at: Option<Timestamp>,
    /// When the Backup went away, in seconds since 1970.
    pub(super) gone_at: Option<i64>,
    /// How it went away before it came back.
    pub(super) returned: Option<Departure>,
    /// Whether its envelope is in the record only.
    pub(super) lacks_envelope: bool,
    /// The envelope that may be alone in the bucket.
    pub(super) pending_upload: Option<Box<PendingUpload>>,
    /// The last reading for Restores.
    pub(super) reading: Option<Box<ReadingEntry>>,
    /// Whether it says that the files are being read for Restores, or could not be read.
    pub(super) is_unsettled: bool,
}

impl RecordEntry {
    pub(super) fn new(record: BackupRecord) -> Self {
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
    pub(super) fn identity(&self) -> Identity<'_> {
        let [namespace, name, uid, synced_as] = self.identity.unpack();
        Identity {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            uid: uid.unwrap_or_default(),
            synced_as,
        }
    }

    /// Returns the key of the Backup.
    pub(super) fn backup(&self) -> Key {
        let Identity {
            namespace, name, ..
        } = self.identity();
        Key::new(namespace, name)
    }

    /// Whether the record is one of a Backup of this key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        let Identity {
            namespace, name, ..
        } = self.identity();
        namespace == key.namespace && name == key.name
    }

    /// Returns how long the closed record is still kept `now`, in seconds since 1970; `None` if it is
    /// open. One that says nothing is not kept.
    pub(super) fn rest(&self, now: i64, retention: Duration) -> Option<Duration> {
        let retention = if self.state.is_judgement() {
            retention
        } else {
            Duration::ZERO
        };
        let age = now.saturating_sub(self.gone_at?);
        let age = Duration::from_secs(u64::try_from(age).unwrap_or_default());
        Some(retention.saturating_sub(age))
    }

    /// Whether the record is closed although its Backup is there: a watch lagged behind, or the
    /// Backup came back.
    pub(super) fn is_closed_in_error(&self, backup: &ObservedBackup) -> bool {
        let backup_uid = backup.fields.uid.as_str();
        let Identity { uid, synced_as, .. } = self.identity();
        let is_its_own = uid == backup_uid || synced_as == Some(backup_uid);
        self.gone_at.is_some() && is_its_own && backup.progress() == Progress::Complete
    }

    /// Returns what is measured.
    pub(super) fn gauge(&self) -> RecordGauge<'_> {
        RecordGauge {
            namespace: self.identity().namespace,
            state: self.state.as_str(),
            recorded_at: self.recorded_at.map(Timestamp::as_second),
        }
    }

    /// Returns why the key by which it counts does not count for `backup` any more.
    ///
    /// What was recorded in this cluster stays open until its key is revoked: a TrustedKey that is deleted comes back
    /// with the next sync of Git.
    pub(super) fn distrust(&self, backup: &ObservedBackup, keys: &KnownKeys) -> Option<Distrust> {
        let signer = self
            .signer
            .filter(|_| self.state == RecordState::Recorded)?;
        let Identity {
            namespace, name, ..
        } = self.identity();
        let claim = Claim {
            namespace: Some(namespace),
            location: Some(&backup.storage_location),
            backup: name,
            level: self.level,
            completed: backup.fields.completed.as_deref().and_then(seconds),
            recorded_at: self.recorded_at.map(Timestamp::as_second),
            is_elsewhere: matches!(
                signer,
                RecordSigner::Imported {
                    is_elsewhere: true,
                    ..
                }
            ),
        };
        match signer {
            RecordSigner::Imported { key, .. } => keys.trust.check(key, &claim).err(),
            RecordSigner::Own(key) => {
                let why = keys.trust.check(key, &claim).err();
                why.filter(|why| matches!(why, Distrust::Revoked(_)))
            }
        }
    }

    /// Whether the signed list of another cluster may still come.
    pub(super) fn awaits_list(&self) -> bool {
        self.state == RecordState::Unobserved && self.trust.is_some() && self.signer.is_none()
    }

    /// Returns what decides the next step of `backup`, with these keys. `is_look_due` says whether it is time to look
    /// again for a signed list.
    pub(super) fn known(
        &self,
        backup: &ObservedBackup,
        keys: &KnownKeys,
        is_look_due: bool,
    ) -> Record<'_> {
        let is_other = |trust| trust != hash_of(&keys.digest);
        let change = if self.trust.is_some_and(is_other) {
            KeyChange::Others
        } else if self.distrust(backup, keys).is_some() {
            KeyChange::Distrusted
        } else if is_look_due && self.awaits_list() {
            KeyChange::LookDue
        } else {
            KeyChange::Nothing
        };
        let Identity { uid, synced_as, .. } = self.identity();
        Record {
            uid,
            state: self.state,
            is_observed: self.is_observed,
            has_final_phase: self.final_phase.is_some(),
            has_pending_upload: self.pending_upload.is_some(),
            checksum: self.checksum,
            manifest: self.manifest,
            synced_as,
            keys: change,
            returned: self.returned,
        }
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

/// Returns the key that is said to have signed an envelope of ours, which has one signature.
fn first_signer(envelope: &str) -> Option<RecordSigner> {
    let envelope = Envelope::parse(envelope.as_bytes()).ok()?;
    envelope.key_ids().first().copied().map(RecordSigner::Own)
}

impl Identified for &RecordEntry {
    fn uid(&self) -> &str {
        self.identity().uid
    }

    fn state(&self) -> RecordState {
        self.state
    }

    fn synced_as(&self) -> Option<&str> {
        self.identity().synced_as
    }
}

/// Watches all Backups. Velero writes their progress every few seconds, which changes no entry. Each has a box, because
/// the nodes of a tree are half empty.
pub(super) fn watch_backups(client: &Client) -> Watch<Box<PackedBackup>> {
    let all = Api::<DynamicObject>::all_with(client.clone(), &backup::resource());
    Watch::of_text(all, Config::default(), "Backups", |text| {
        Some(Box::new(ObservedBackup::from_json(text)?.into()))
    })
}

/// Watches the keys that count.
pub(super) fn watch_keys(client: &Client) -> Watch<decision::TrustedKey> {
    let all = Api::<TrustedKey>::all(client.clone());
    Watch::new(all, Config::default(), "TrustedKeys", |key| {
        Some(key.into())
    })
}

/// Watches all records, each in a box.
pub(super) fn watch_records(client: &Client) -> Watch<Box<RecordEntry>> {
    let all = Api::<BackupRecord>::all(client.clone());
    let subject = "BackupRecords";
    Watch::new(all, Config::default(), subject, |record| {
        Some(Box::new(RecordEntry::new(record)))
    })
    .with_max_per_namespace(MAX_RECORDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::crds::BackupRecordSpec;

    #[test]
    fn a_closed_record_is_kept_for_the_retention_if_it_says_something() {
        let hours = |hours| Some(Duration::from_hours(hours));
        let spec = BackupRecordSpec {
            namespace: "velero".to_owned(),
            backup: "b".to_owned(),
            uid: "u".to_owned(),
            observed: true,
        };
        let rest = |state, gone_at| {
            let mut entry = RecordEntry::new(BackupRecord::new("b.u", spec.clone()));
            entry.state = state;
            entry.gone_at = gone_at;
            entry.rest(10 * 3600, Duration::from_hours(4))
        };
        for state in [RecordState::Recorded, RecordState::Declared] {
            assert_eq!(rest(state, None), None);
            assert_eq!(rest(state, Some(9 * 3600)), hours(3));
            assert_eq!(rest(state, Some(3600)), hours(0));
            // A clock that was ahead.
            assert_eq!(rest(state, Some(11 * 3600)), hours(4));
        }
        assert_eq!(rest(RecordState::Pending, None), None);
        assert_eq!(rest(RecordState::Unreadable, Some(9 * 3600)), hours(0));
    }
}
