//! A Backup as it is kept in memory.

use super::backup_fields::BackupFields;
use super::observed_backup::{Adoption, ObservedBackup};
use super::packed_texts::PackedTexts;
use crate::digest::DigestText;

/// The texts of a Backup that are kept together.
const TEXTS: usize = 9;

/// An [`ObservedBackup`] with its texts in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedBackup {
    texts: PackedTexts<TEXTS>,
    snapshot_move_data: bool,
    is_deleted: bool,
    checksum: Option<DigestText>,
    manifest: Option<DigestText>,
    adoption: Option<Box<Adoption>>,
    created: Option<i64>,
    phase_stored: Option<i64>,
    expires: Option<i64>,
}

impl From<ObservedBackup> for PackedBackup {
    fn from(backup: ObservedBackup) -> Self {
        let ObservedBackup {
            fields,
            storage_location,
            is_deleted,
            checksum,
            manifest,
            adoption,
            created,
            phase_stored,
            expires,
        } = backup;
        let texts: [Option<&str>; TEXTS] = [
            Some(&fields.namespace),
            Some(&fields.name),
            Some(&fields.uid),
            Some(&fields.phase),
            fields.schedule.as_deref(),
            fields.started.as_deref(),
            fields.completed.as_deref(),
            fields.format_version.as_deref(),
            Some(&storage_location),
        ];
        Self {
            texts: texts.into(),
            snapshot_move_data: fields.snapshot_move_data,
            is_deleted,
            checksum,
            manifest,
            adoption: adoption.map(Box::new),
            created,
            phase_stored,
            expires,
        }
    }
}

impl PackedBackup {
    /// Returns the Backup.
    pub fn unpack(&self) -> ObservedBackup {
        let [
            namespace,
            name,
            uid,
            phase,
            schedule,
            started,
            completed,
            format_version,
            storage_location,
        ] = self.texts.unpack().map(|text| text.map(str::to_owned));
        ObservedBackup {
            fields: BackupFields {
                namespace: namespace.unwrap_or_default(),
                name: name.unwrap_or_default(),
                uid: uid.unwrap_or_default(),
                phase: phase.unwrap_or_default(),
                schedule,
                started,
                completed,
                format_version,
                snapshot_move_data: self.snapshot_move_data,
            },
            storage_location: storage_location.unwrap_or_default(),
            is_deleted: self.is_deleted,
            checksum: self.checksum,
            manifest: self.manifest,
            adoption: self.adoption.as_deref().cloned(),
            created: self.created,
            phase_stored: self.phase_stored,
            expires: self.expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn observed(backup: &Value) -> ObservedBackup {
        ObservedBackup::from_json(&backup.to_string()).unwrap()
    }

    #[test]
    fn a_backup_is_the_same_after_it_was_packed() {
        let whole = json!({
            "metadata": {
                "namespace": "velero", "name": "é", "uid": "u",
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"velero.io/schedule-name": "daily"},
                "annotations": {
                    "velero-trust.io/checksum": "c", "velero-trust.io/manifest": "m",
                    "velero-trust.io/adopt": "jane", "velero-trust.io/declared-checksum": "d",
                },
                "managedFields": [{
                    "time": "2026-01-01T00:02:00Z", "fieldsV1": {"f:status": {"f:phase": {}}},
                }],
            },
            "spec": {"storageLocation": "default", "snapshotMoveData": true},
            "status": {
                "phase": "Completed", "formatVersion": "1.1.0", "expiration": "2026-02-01T00:00:00Z",
                "startTimestamp": "2026-01-01T00:00:01Z", "completionTimestamp": "2026-01-01T00:01:00Z",
            },
        });
        let mut without = whole.clone();
        without["metadata"]["labels"] = json!({"velero.io/schedule-name": ""});
        without["status"] = json!({"phase": "New", "completionTimestamp": ""});
        for backup in [whole, without, json!({})] {
            let observed = observed(&backup);
            let packed = PackedBackup::from(observed.clone());
            assert_eq!(packed.unpack(), observed);
        }
    }
}
