//! Backups as facts.

use super::{Fact, Facts, Key, Known, Lookup};

/// The fields of a Velero Backup that decisions use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// `metadata.name`.
    pub name: String,
    /// `status.phase`; empty until Velero sets it.
    pub phase: String,
    /// `status.startTimestamp` in seconds since 1970.
    pub started: Option<i64>,
    /// Value of the annotation [`crate::names::CHECKSUM_ANNOTATION`], not validated.
    pub checksum: Option<String>,
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
