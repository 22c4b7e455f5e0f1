//! A view of Velero's Restore (`pkg/apis/velero/v1/restore_types.go`), and which Backup it takes.

use serde::Deserialize;

use super::metadata::Metadata;
use super::text::Text;
use crate::decision::Backup;

/// The part of a Restore that we read.
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

/// The part of `spec` that we read.
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

/// The Backup that Velero takes for a Restore by schedule: of those whose phase is exactly
/// `Completed`, the one that started last (`pkg/controller/restore_controller.go`,
/// `mostRecentCompletedBackup`). One that never started counts as the oldest.
pub fn newest_completed(backups: &[Backup]) -> Option<&Backup> {
    // Velero takes the first of equals; `max_by_key` would take the last.
    backups
        .iter()
        .filter(|backup| backup.phase == "Completed")
        .rev()
        .max_by_key(|backup| backup.started.unwrap_or(i64::MIN))
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
    fn takes_the_completed_backup_that_started_last() {
        let backups = [
            backup("never-started", "Completed", None),
            backup("old", "Completed", Some(1)),
            backup("new", "Completed", Some(2)),
            backup("newer-but-partial", "PartiallyFailed", Some(3)),
        ];
        assert_eq!(newest_completed(&backups).unwrap().name, "new");
        assert_eq!(newest_completed(&backups[3..]), None);
        assert_eq!(newest_completed(&[]), None);
    }
}
