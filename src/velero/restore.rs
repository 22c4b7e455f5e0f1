//! A view of Velero's Restore (`pkg/apis/velero/v1/restore_types.go`), and which Backup it takes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;

use super::lenient::{Reported, null_is_default, reported};
use super::list::{List, bounded_map};
use super::metadata::Metadata;
use super::text::{Text, or_empty};
use crate::decision::Backup;

/// Label that Velero puts on everything that it restores, with the name of the Restore, after all
/// changes that the Restore asks for (`pkg/restore/restore.go`, `addRestoreLabels`).
pub const RESTORE_LABEL: &str = "velero.io/restore-name";

/// Most namespaces in a list or the mapping of a Restore. Who restores more names none, which means
/// all.
pub const MAX_NAMESPACES: usize = 4096;

/// The fields of a Restore that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Restore<'a> {
    /// `metadata`.
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    /// `spec`.
    #[serde(borrow)]
    pub spec: RestoreSpec<'a>,
    /// `status`.
    #[serde(borrow, deserialize_with = "reported")]
    pub status: RestoreStatus<'a>,
}

/// The fields of `spec` that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreSpec<'a> {
    /// The Backup to restore.
    #[serde(borrow)]
    pub backup_name: Option<Text<'a>>,
    /// The Schedule whose newest completed Backup is restored.
    #[serde(borrow)]
    pub schedule_name: Option<Text<'a>>,
    /// The namespaces of the backup that are restored, or patterns of them; all if there are none.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub included_namespaces: List<Text<'a>, MAX_NAMESPACES>,
    /// The namespaces of the backup that are not restored, or patterns of them.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub excluded_namespaces: List<Text<'a>, MAX_NAMESPACES>,
    /// The namespaces into which namespaces of the backup are restored; each that is not named, into
    /// the one of its own name.
    #[serde(borrow, deserialize_with = "bounded_map::<_, MAX_NAMESPACES>")]
    pub namespace_mapping: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

/// The fields of `status` that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestoreStatus<'a> {
    /// How far Velero is. Absent before Velero has seen the Restore.
    #[serde(borrow, deserialize_with = "reported")]
    pub phase: Option<Text<'a>>,
}

impl<'de> Reported<'de> for RestoreStatus<'de> {
    fn of_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(map))
    }
}

impl Restore<'_> {
    /// Whether Velero will run the Restore: it runs those without a phase or in the phase `New`,
    /// also if they ran before (`pkg/controller/restore_controller.go`, `Reconcile`).
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase(), "" | "New")
    }

    /// Returns `status.phase`, or the empty string.
    pub fn phase(&self) -> &str {
        or_empty(self.status.phase.as_ref())
    }

    /// Returns `spec.backupName`, or the empty string.
    pub fn backup_name(&self) -> &str {
        or_empty(self.spec.backup_name.as_ref())
    }

    /// Returns `spec.scheduleName`, or the empty string.
    pub fn schedule_name(&self) -> &str {
        or_empty(self.spec.schedule_name.as_ref())
    }
}

/// Returns the Backups from which Velero picks one for a Restore by schedule: the most recently
/// started ones whose phase is exactly `Completed` (`pkg/controller/restore_controller.go`,
/// `mostRecentCompletedBackup`). Velero's sort is not stable, so it may pick any of several that
/// started in the same second. A Backup that never started counts as the oldest.
pub fn newest_completed(backups: &[Backup]) -> Vec<&Backup> {
    let completed = || {
        backups
            .iter()
            .filter(|backup| backup.fields.phase == "Completed")
    };
    let newest = completed().map(|backup| backup.started).max();
    completed()
        .filter(|backup| Some(backup.started) == newest)
        .collect()
}

/// Removes the Backups that [`newest_completed`] leaves out, so that of a long list only candidates
/// are held.
pub fn keep_newest_completed(backups: &mut Vec<Backup>) {
    backups.retain(|backup| backup.fields.phase == "Completed");
    let newest = backups.iter().map(|backup| backup.started).max();
    backups.retain(|backup| Some(backup.started) == newest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::BackupFields;

    fn backup(name: &str, phase: &str, started: Option<i64>) -> Backup {
        Backup {
            fields: BackupFields {
                name: name.into(),
                phase: phase.into(),
                ..BackupFields::default()
            },
            started,
            checksum: None,
            storage_location: String::new(),
        }
    }

    #[test]
    fn takes_the_completed_backups_that_started_last() {
        let backups = [
            backup("never-started", "Completed", None),
            backup("old", "Completed", Some(1)),
            backup("new", "Completed", Some(2)),
            backup("of-the-same-second", "Completed", Some(2)),
            backup("newer-but-partial", "PartiallyFailed", Some(3)),
        ];
        let newest = |backups: &[Backup]| {
            let mut kept = backups.to_vec();
            keep_newest_completed(&mut kept);
            let newest = newest_completed(backups);
            assert_eq!(kept.iter().collect::<Vec<_>>(), newest);
            let newest = newest.into_iter();
            newest
                .map(|backup| backup.fields.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(newest(&backups), ["new", "of-the-same-second"]);
        assert_eq!(newest(&backups[..1]), ["never-started"]);
        assert!(newest(&backups[4..]).is_empty() && newest(&[]).is_empty());
    }
}
