//! The files of a backup in its bucket, and what belongs to them in the cluster, as facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fact, Facts, Key, Known, Lookup};
use crate::digest::Sha256;

/// Where the files of a backup are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// `spec.provider` of the BSL, without the group of the plugin.
    pub provider: String,
    /// The bucket.
    pub bucket: String,
    /// The prefix, without slashes at its ends.
    pub prefix: String,
}

/// A bucket and a prefix in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The prefix, without slashes at its ends.
    pub prefix: String,
}

impl Location {
    /// Whether it is that bucket and prefix.
    pub fn is_at(&self, place: &Place) -> bool {
        (&self.bucket, &self.prefix) == (&place.bucket, &place.prefix)
    }
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The name below the directory of the backup.
    pub name: String,
    /// The number of its bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
}

/// A file of a backup that was listed and not read: Velero does not know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadFile {
    /// The name below the directory of the backup.
    pub name: String,
    /// The number of its bytes.
    pub size: u64,
}

/// The number of PodVolumeBackups of a backup, and one digest of them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct PodVolumes {
    /// The number.
    #[schemars(with = "i64")]
    pub count: usize,
    /// The digest of a line for each: its fields as a JSON array, in the order of
    /// [`PodVolumeBackup`](crate::integrity::pod_volumes::PodVolumeBackup). The lines are ordered by their bytes, as by `LC_ALL=C sort`.
    #[schemars(with = "String")]
    pub sha256: Sha256,
}

/// What a bucket lists of the directory of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFiles {
    /// Where they are, by the BackupStorageLocation as it is now.
    pub location: Location,
    /// The digest of the names, sizes, times and marks of all files but velero-trust's own.
    pub listing: Sha256,
    /// Whether nobody who writes the bucket can choose what it lists, so that files with the same
    /// listing have the same bytes.
    pub is_authentic: bool,
}

impl Facts {
    /// Returns what the bucket of `location`, a BackupStorageLocation in the namespace of `backup`, lists
    /// of the directory of `backup`; none if there is no such location.
    pub fn listed_files(&self, backup: &Key, location: &str) -> Known<&ListedFiles> {
        let lookup = Lookup::ListedFiles {
            backup: backup.clone(),
            location: location.to_owned(),
        };
        self.get(lookup, |fact| match fact {
            Fact::ListedFiles(files) => Some(files.as_ref()),
            _ => None,
        })
    }

    /// Returns the PodVolumeBackups of `backup`. Never absent.
    pub fn pod_volumes(&self, backup: &Key) -> Known<&PodVolumes> {
        self.get(Lookup::PodVolumes(backup.clone()), |fact| match fact {
            Fact::PodVolumes(volumes) => Some(volumes),
            _ => None,
        })
    }
}
