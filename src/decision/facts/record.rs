//! Records of backups, as facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Departure, Fact, Facts, Key, Known, Lookup, Place, Reading, ReadingFailure};

/// How far the recording of a backup is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
pub enum RecordState {
    /// The backup is not complete yet, or its files are being read.
    #[default]
    Pending,
    /// The files are recorded and signed.
    Recorded,
    /// The files are not known to be those that Velero wrote here. They are not signed.
    Unobserved,
    /// The files could not be read; they are tried again.
    Unreadable,
    /// A person told the checksum of the tarball. Nothing was read, and nothing is signed.
    Declared,
    /// velero-trust may not read the bucket, and Velero may: only the tarball was read, by a URL that Velero signed.
    /// Nothing is signed.
    TarballOnly,
}

impl RecordState {
    /// Whether the files are judged. That stays.
    pub const fn is_judgement(self) -> bool {
        matches!(
            self,
            Self::Recorded | Self::Unobserved | Self::Declared | Self::TarballOnly
        )
    }

    /// Returns the name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Recorded => "Recorded",
            Self::Unobserved => "Unobserved",
            Self::Unreadable => "Unreadable",
            Self::Declared => "Declared",
            Self::TarballOnly => "TarballOnly",
        }
    }
}

/// A record of a backup, as far as decisions use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupRecord {
    /// `metadata.name`.
    pub name: String,
    /// The namespace and name of the Backup.
    pub backup: Key,
    /// The uid of the Backup, as it is in `velero-backup.json`.
    pub uid: String,
    /// How far the recording is.
    pub state: RecordState,
    /// Why it is in this state, as one word.
    pub reason: Option<String>,
    /// Why it is in this state, for people.
    pub message: Option<String>,
    /// SHA-256 of the tarball, as in the annotation of the Backup.
    pub checksum: Option<String>,
    /// SHA-256 of what is signed, as in the annotation of the Backup.
    pub manifest: Option<String>,
    /// Who vouches for the files.
    pub level: Option<String>,
    /// The user who vouches for them, if they are adopted or declared.
    pub adopted_by: Option<String>,
    /// The signed statement as a DSSE envelope.
    pub envelope: Option<String>,
    /// The uid of the Backup in the cluster, if Velero made it from the bucket.
    pub synced_as: Option<String>,
    /// The name of the BackupStorageLocation in which the files were recorded.
    pub location: Option<String>,
    /// Where that was then.
    pub place: Option<Place>,
    /// How the Backup went away, if it did.
    pub gone: Option<Departure>,
    /// How it went away before it came back, if it did.
    pub returned: Option<Departure>,
    /// The TrustedKey by which the record was made from the signed list beside the backup, if it was.
    pub imported_by: Option<String>,
    /// What let keys count when they did not vouch for the backup ([`digest`]); `None` if none was asked.
    ///
    /// [`digest`]: crate::integrity::trust::Trust::digest
    pub trust: Option<String>,
    /// When they were recorded in this cluster, in seconds since 1970.
    pub recorded_at: Option<i64>,
    /// Whether velero-trust saw the Backup before it was complete.
    pub is_observed: bool,
    /// What was found when the files were last read for a Restore.
    pub reading: Option<Reading>,
    /// Why they cannot be read for a Restore that waits.
    pub reading_failure: Option<ReadingFailure>,
}

impl BackupRecord {
    /// Whether the files were recorded and signed, and the Backup, in `namespace`, went away without anybody
    /// wanting it.
    pub fn is_lost_in(&self, namespace: &str) -> bool {
        let is_signed = self.state == RecordState::Recorded;
        let is_lost = self.gone.is_some_and(Departure::is_loss);
        self.backup.namespace == namespace && is_signed && is_lost
    }

    /// Whether the files are recorded and signed, and were in `location` in `namespace` then.
    pub fn is_signed_in(&self, namespace: &str, location: &str) -> bool {
        let place = (self.backup.namespace.as_str(), self.location.as_deref());
        self.state == RecordState::Recorded && place == (namespace, Some(location))
    }
}

impl Facts {
    /// Returns the records of `backup` whose Backup has `uid`; none where the kind is not installed.
    pub fn records(&self, backup: &Key, uid: &str) -> Known<&[BackupRecord]> {
        let lookup = Lookup::Records {
            backup: backup.clone(),
            uid: uid.to_owned(),
        };
        self.get(lookup, |fact| match fact {
            Fact::Records(records) => Some(records.as_slice()),
            _ => None,
        })
    }

    /// Returns the records of backups of a Schedule that went away without anybody wanting it; none where the
    /// kind is not installed.
    pub fn lost_backups(&self, namespace: &str, schedule: &str) -> Known<&[BackupRecord]> {
        let lookup = Lookup::LostBackups {
            namespace: namespace.to_owned(),
            schedule: schedule.to_owned(),
        };
        self.get(lookup, |fact| match fact {
            Fact::Records(records) => Some(records.as_slice()),
            _ => None,
        })
    }

    /// Returns whether files of backups of `location` in `namespace` are recorded and signed; none where the
    /// kind is not installed.
    pub fn has_signed_backups(&self, namespace: &str, location: &str) -> Known<bool> {
        let lookup = Lookup::SignedBackups {
            namespace: namespace.to_owned(),
            location: location.to_owned(),
        };
        let has = self.get(lookup, |fact| match fact {
            Fact::SignedBackups(has) => Some(has),
            _ => None,
        });
        has.map(Option::<&bool>::copied)
    }
}
