//! What the recorder watches, and what it concludes from a record.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use super::import::KnownKeys;
use crate::controllers::records::{Identity, RecordEntry, RecordSigner, hash_of};
use crate::decision;
use crate::integrity::recording::{Identified, KeyChange, Record, RecordState};
use crate::integrity::trust::{Claim, Distrust};
use crate::kubernetes::backup;
use crate::kubernetes::crds::TrustedKey;
use crate::kubernetes::watch::Watch;
use crate::telemetry::RecordGauge;
use crate::velero::observed_backup::{ObservedBackup, Progress};
use crate::velero::packed_backup::PackedBackup;
use crate::velero::text::seconds;

impl RecordEntry {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::crds::{BackupRecord, BackupRecordSpec};

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
