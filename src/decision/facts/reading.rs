//! Readings of the files of a backup as facts: what was found when they were read for a Restore.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackupFields, File, Location, PodVolumes, UnreadFile};
use crate::digest::Sha256;

/// What was found when the files of a backup were last read because a Restore waited for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The Restores for which it counts.
    pub covers: Covered,
    /// Where the files were.
    pub location: Location,
    /// What the bucket listed, before and after they were read; `None` if it cannot be listed, so that only the tarball
    /// was read, by a URL that Velero signed.
    pub listing: Option<Sha256>,
    /// All files but the envelopes and those that were not read.
    pub files: Vec<File>,
    /// Files that Velero does not know.
    pub unread: Vec<UnreadFile>,
    /// What the envelopes beside them sign, whoever signed it, of those whose list of files is that of
    /// [`Self::files`].
    pub lists: Vec<SignedList>,
}

/// What an envelope signs about a backup, besides its files. It vouches for nothing by itself: whoever knows
/// its digest by other means can trust it.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedList {
    /// SHA-256 of what is signed.
    #[schemars(with = "String")]
    pub sha256: Sha256,
    /// The Backup.
    pub backup: BackupFields,
    /// Its PodVolumeBackups.
    pub pod_volumes: PodVolumes,
}

/// The Restores that were there before a reading began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Covered {
    /// Those with these uids.
    Uids(Vec<String>),
    /// All: the files are read each time that somebody asks.
    All,
}

impl Covered {
    /// Whether it counts for the Restore with this uid.
    pub fn includes(&self, uid: &str) -> bool {
        match self {
            Self::Uids(uids) => uids.iter().any(|other| other == uid),
            Self::All => true,
        }
    }
}

/// Why the files of a backup could not be read, for which a Restore waits. It says nothing about the
/// files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadingFailure {
    /// Why, as one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// What can be expected of it.
    pub class: FailureClass,
    /// Since when it fails in this class, in seconds since 1970.
    pub since: i64,
}

/// What can be expected of a failure.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
pub enum FailureClass {
    /// It may pass without anybody doing something, as a store that does not answer.
    #[default]
    Passing,
    /// The files change each time that they are read, as if somebody wrote them.
    Changing,
    /// It stays until somebody does something, as a right that is missing.
    Lasting,
    /// This version cannot read such a location at all.
    Unsupported,
}
