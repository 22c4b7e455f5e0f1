//! What a record says about the Restores of its backup.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup_record::{optional_time, time};
use crate::decision::{self, Covered, FailureClass, Location, SignedList};
use crate::digest::Sha256;

/// What was found when the files were read for Restores, and what became of those.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// What was found when the files were last read because a Restore waited for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<RecordedReading>,
    /// Why they cannot be read. It says nothing about the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RecordedFailure>,
    /// How far they are being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The last Restores that ran although something was known against it, or unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<AcceptedRestore>,
    /// The last Restores while which the files changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted: Vec<TaintedRestore>,
}

/// A reading of all files.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedReading {
    /// When it began.
    #[schemars(schema_with = "time")]
    pub began_at: Time,
    /// When it ended.
    #[schemars(schema_with = "time")]
    pub ended_at: Time,
    /// UIDs of the Restores that were there before it began.
    pub restores: Vec<String>,
    /// Provider of the BackupStorageLocation.
    pub provider: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix in the bucket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// SHA-256 of what the bucket listed. It is missing if velero-trust may not list it, so that only the tarball was
    /// read, by a URL that Velero signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// All files that were read.
    pub files: Vec<RecordedFile>,
    /// The others: Velero does not know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<ListedFile>,
    /// What is signed in the envelopes beside the files that list the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<SignedList>,
}

/// A file of a backup.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Name in the directory of the backup.
    pub name: String,
    /// Number of bytes.
    pub size: i64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A file of a backup that was not read.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Name in the directory of the backup.
    pub name: String,
    /// Number of bytes.
    pub size: i64,
}

/// Why files could not be read.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedFailure {
    /// Why, as one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// What can be expected of it: Passing, Changing, Lasting, or Unsupported by this version.
    pub class: FailureClass,
    /// Since when it fails in this class.
    #[schemars(schema_with = "time")]
    pub since: Time,
}

/// How far files are being read.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Number of bytes that are read.
    pub bytes_read: i64,
    /// Number of bytes of all files.
    pub bytes: i64,
    /// When that was so.
    #[schemars(schema_with = "time")]
    pub at: Time,
}

/// A Restore that ran on the word of a person.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedRestore {
    /// Name of the Restore.
    pub restore: String,
    /// UID of the Restore.
    pub uid: String,
    /// The user who accepted it.
    pub by: String,
    /// The reason of that user.
    pub reason: String,
    /// When it began to run.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// A Restore while which the files changed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintedRestore {
    /// Name of the Restore.
    pub restore: String,
    /// UID of the Restore.
    pub uid: String,
    /// When that was seen.
    #[schemars(schema_with = "time")]
    pub at: Time,
}

/// Tells readings of one backup apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingMark(u64);

impl RecordedReading {
    /// Returns what tells it from others of the backup.
    pub fn mark(&self) -> ReadingMark {
        let mut hasher = DefaultHasher::new();
        let times = [&self.began_at, &self.ended_at].map(|time| time.0);
        (times, &self.listing, &self.restores).hash(&mut hasher);
        ReadingMark(hasher.finish())
    }

    /// Returns the reading as a fact; `None` if something in it is no digest, so that it says nothing.
    pub fn fact(&self) -> Option<decision::Reading> {
        let files = self.files.iter().map(|file| {
            Some(decision::File {
                name: file.name.clone(),
                size: u64::try_from(file.size).ok()?,
                sha256: Sha256::from_hex(&file.sha256)?,
            })
        });
        let unread = self.unread.iter().map(|file| {
            Some(decision::UnreadFile {
                name: file.name.clone(),
                size: u64::try_from(file.size).ok()?,
            })
        });
        Some(decision::Reading {
            covers: Covered::Uids(self.restores.clone()),
            location: Location {
                provider: self.provider.clone(),
                bucket: self.bucket.clone(),
                prefix: self.prefix.clone(),
            },
            listing: match &self.listing {
                Some(listing) => Some(Sha256::from_hex(listing)?),
                None => None,
            },
            files: files.collect::<Option<_>>()?,
            unread: unread.collect::<Option<_>>()?,
            lists: self.lists.clone(),
        })
    }
}

impl From<&RecordedFailure> for decision::ReadingFailure {
    fn from(failure: &RecordedFailure) -> Self {
        Self {
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            class: failure.class,
            since: failure.since.0.as_second(),
        }
    }
}

/// The units of an amount, the largest first.
const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];

/// Writes it for people, such as `3.2 of 7.9 GB read`.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
        let (read, all) = (number(self.bytes_read), number(self.bytes));
        let unit = UNITS.into_iter().find(|(size, _)| all >= *size);
        let Some((size, unit)) = unit else {
            return write!(f, "{read} of {all} bytes read");
        };
        let tenths = |bytes: u64| {
            let tenths = bytes / (size / 10);
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        write!(f, "{} of {} {unit} read", tenths(read), tenths(all))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn the_progress_is_told_in_the_unit_of_the_whole() {
        let words = |bytes_read, bytes| {
            let at = Time(Timestamp::UNIX_EPOCH);
            let progress = Progress {
                bytes_read,
                bytes,
                at,
            };
            progress.to_string()
        };
        assert_eq!(words(3_249_000_000, 7_900_000_000), "3.2 of 7.9 GB read");
        assert_eq!(words(0, 1_000_000), "0.0 of 1.0 MB read");
        assert_eq!(words(1_000, 999_999), "1.0 of 999.9 kB read");
        assert_eq!(words(-1, 999), "0 of 999 bytes read");
    }
}
