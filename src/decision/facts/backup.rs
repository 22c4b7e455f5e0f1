//! Backups as facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fact, Facts, Key, Known, Lookup};

/// A Velero Backup, as far as decisions use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The fields that decide what a restore does, as the cluster has them.
    pub fields: BackupFields,
    /// `status.startTimestamp` in seconds since 1970.
    pub started: Option<i64>,
    /// Value of the annotation [`crate::names::CHECKSUM_ANNOTATION`], not validated.
    pub checksum: Option<String>,
    /// `spec.storageLocation`, the name of its BackupStorageLocation.
    pub storage_location: String,
}

/// The fields of a Backup that decide what a restore does, as they are in a statement about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupFields {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid` in `velero-backup.json`. The sync gives the Backup another one.
    pub uid: String,
    /// `status.phase`.
    pub phase: String,
    /// The label `velero.io/schedule-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// `status.startTimestamp`, as it is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// `status.completionTimestamp`, as it is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    /// `status.formatVersion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// `spec.snapshotMoveData`.
    #[serde(default)]
    pub snapshot_move_data: bool,
}

impl BackupFields {
    /// Returns the names of the fields that differ in `other`, in the order of the Backup.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let is_equal = [
            ("metadata.namespace", self.namespace == other.namespace),
            ("metadata.name", self.name == other.name),
            ("metadata.uid", self.uid == other.uid),
            (
                "metadata.labels[velero.io/schedule-name]",
                self.schedule == other.schedule,
            ),
            (
                "spec.snapshotMoveData",
                self.snapshot_move_data == other.snapshot_move_data,
            ),
            ("status.phase", self.phase == other.phase),
            ("status.startTimestamp", self.started == other.started),
            (
                "status.completionTimestamp",
                self.completed == other.completed,
            ),
            (
                "status.formatVersion",
                self.format_version == other.format_version,
            ),
        ];
        let differing = is_equal.iter().filter(|(_, is_equal)| !is_equal);
        differing.map(|(name, _)| *name).collect()
    }
}

impl Facts {
    /// Returns the Backup `key`.
    pub fn backup(&self, key: &Key) -> Known<&Backup> {
        self.get(Lookup::Backup(key.clone()), |fact| match fact {
            Fact::Backup(backup) => Some(backup.as_ref()),
            _ => None,
        })
    }

    /// Returns the Backups of a Schedule.
    pub fn backups_of_schedule(&self, namespace: &str, schedule: &str) -> Known<&[Backup]> {
        let lookup = Lookup::BackupsOfSchedule {
            namespace: namespace.to_owned(),
            schedule: schedule.to_owned(),
        };
        self.get(lookup, |fact| match fact {
            Fact::Backups(backups) => Some(backups.as_slice()),
            _ => None,
        })
    }
}
