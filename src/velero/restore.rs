//! A view of Velero's Restore (`pkg/apis/velero/v1/restore_types.go`), and which Backup it takes.

use serde::Deserialize;

use super::metadata::Metadata;
use super::text::Text;
use crate::decision::Backup;

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
}

/// The fields of `spec` that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreSpec<'a> {
    /// The Backup to restore.
    #[serde(borrow)]
    pub backup_name: Option<Text<'a>>,
    /// The Schedule whose newest completed Backup is restored.
    #[serde(borrow)]
    pub schedule_name: Option<Text<'a>>,
}

/// Returns the Backups from which Velero picks one for a Restore by schedule: the most recently
/// started ones whose phase is exactly `Completed` (`pkg/controller/restore_controller.go`,
/// `mostRecentCompletedBackup`). Velero's sort is not stable, so it may pick any of several that
/// started in the same second. A Backup that never started counts as the oldest.
pub fn newest_completed(backups: &[Backup]) -> Vec<&Backup> {
    let completed = || backups.iter().filter(|backup| backup.phase == "Completed");
    let newest = completed().map(|backup| backup.started).max();
    completed()
        .filter(|backup| Some(backup.started) == newest)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(name: &str, phase: &str, started: Option<i64>) -> Backup {
        Backup {
            name: name.into(),
            phase: phase.into(),
            started,
            checksum: None,
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
        let newest = |backups| {
            let newest = newest_completed(backups).into_iter();
            newest
                .map(|backup| backup.name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(newest(&backups), ["new", "of-the-same-second"]);
        assert_eq!(newest(&backups[..1]), ["never-started"]);
        assert!(newest(&backups[4..]).is_empty() && newest(&[]).is_empty());
    }
}
