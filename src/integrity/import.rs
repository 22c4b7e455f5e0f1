//! Whether the signed list beside a backup that came by sync vouches for it in this cluster.

use super::origin::{Unobserved, check_synced};
use super::statement::Statement;
use super::trust::{Claim, Distrust, Trust};
use super::verification::{self, VerificationError};
use crate::decision::{Location, TrustedKey};
use crate::digest::Sha256;
use crate::velero::backup_fields::BackupFields;
use crate::velero::text::shown;

/// A backup that came by sync, as it is here.
#[derive(Clone, Copy, Debug)]
pub struct Synced<'a> {
    /// The Backup in the cluster.
    pub backup: &'a BackupFields,
    /// The content of its `velero-backup.json`.
    pub document: &'a BackupFields,
    /// The name of its BackupStorageLocation.
    pub location: &'a str,
    /// Where its files are.
    pub place: &'a Location,
    /// The digest of the signed bytes by which it was imported before, and when, in seconds since 1970.
    pub imported: Option<(Sha256, i64)>,
}

/// What is signed of a backup, and counts here.
#[derive(Clone, Debug)]
pub struct Importable<'k> {
    /// What is signed.
    pub statement: Statement,
    /// The digest of the signed bytes.
    pub payload: Sha256,
    /// The TrustedKey that vouches for it.
    pub trusted: &'k TrustedKey,
    /// The id of its key.
    pub key: Sha256,
    /// Whether the files were in another place when they were signed.
    pub is_elsewhere: bool,
}

/// Why a signed list does not vouch for a backup.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It does not verify with the keys of this cluster, or cannot be read.
    #[error(transparent)]
    Envelope(#[from] VerificationError),
    /// A key of this cluster signed it, and does not vouch for this backup.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It is about another backup of the name.
    #[error(
        "it is that of another backup of this name: its UID is {}, and velero-backup.json has {}",
        shown(.signed), shown(.found)
    )]
    OtherUid {
        /// The uid that is signed.
        signed: String,
        /// The uid in `velero-backup.json`.
        found: String,
    },
    /// The key counts only in the place that is signed.
    #[error("TrustedKey {key} counts only in the bucket that is signed, which is {}", shown(.bucket))]
    OtherBucket {
        /// `metadata.name` of the key.
        key: String,
        /// The bucket that is signed.
        bucket: String,
    },
    /// The Backup or `velero-backup.json` differs from what is signed.
    #[error("these fields are not what is signed: {}", .0.join(", "))]
    Differs(Vec<&'static str>),
}

impl ImportError {
    /// Returns the reason as one word, for conditions, Events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Envelope(VerificationError::UnknownKey(_)) => "KeyUnknown",
            Self::Envelope(VerificationError::Forged(_)) => "ListForged",
            Self::Envelope(VerificationError::OtherBackup { .. }) | Self::OtherUid { .. } => {
                "ListOfAnotherBackup"
            }
            Self::Envelope(VerificationError::Envelope(_) | VerificationError::Statement(_)) => {
                "ListUnreadable"
            }
            Self::Distrust(distrust) => distrust.reason(),
            Self::OtherBucket { .. } => "OtherBucket",
            Self::Differs(_) => "FieldsDiffer",
        }
    }

    /// Returns how much it says: of several lists that do not vouch, the one with the highest is told of.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::Envelope(VerificationError::Envelope(_) | VerificationError::Statement(_)) => 0,
            Self::Envelope(VerificationError::UnknownKey(_)) => 1,
            Self::Envelope(_) => 2,
            Self::Distrust(_) => 3,
            Self::OtherUid { .. } | Self::OtherBucket { .. } | Self::Differs(_) => 4,
        }
    }
}

/// Returns what `envelope` says about the backup `synced`, if one of the keys of `trust` vouches for it here. Its
/// files are compared when a Restore asks for them.
pub fn judge<'k>(
    envelope: &[u8],
    trust: &'k Trust,
    synced: &Synced<'_>,
) -> Result<Importable<'k>, ImportError> {
    let Synced {
        backup,
        document,
        location,
        place,
        imported,
    } = synced;
    let opened = verification::open(envelope, &trust.public_keys(), Some(&backup.name))?;
    let before = imported.filter(|(payload, _)| *payload == opened.payload);
    let is_elsewhere = opened.statement.location != **place;
    let claim = Claim {
        recorded_at: before.map(|(_, at)| at),
        is_elsewhere,
        ..Claim::of(&opened.statement, Some(&backup.namespace), Some(location))
    };
    let vouching = trust.vouching(&opened, &claim).map_err(|why| match why {
        Distrust::OtherBucket(key) => ImportError::OtherBucket {
            key,
            bucket: opened.statement.location.bucket.clone(),
        },
        why => why.into(),
    });
    let (trusted, key) = vouching?;
    let statement = opened.statement;
    let signed = &statement.backup;
    if signed.uid != document.uid {
        return Err(ImportError::OtherUid {
            signed: signed.uid.clone(),
            found: document.uid.clone(),
        });
    }
    let differences = signed.differences(document);
    if !differences.is_empty() {
        return Err(ImportError::Differs(differences));
    }
    // In the cluster that signed it, the namespace of Velero may have another name.
    let here = BackupFields {
        namespace: backup.namespace.clone(),
        ..signed.clone()
    };
    match check_synced(backup, &here) {
        Ok(()) => {}
        Err(Unobserved::Differs(fields)) => return Err(ImportError::Differs(fields)),
        Err(_) => return Err(ImportError::Differs(vec!["metadata.name"])),
    }
    Ok(Importable {
        statement,
        payload: opened.payload,
        trusted,
        key,
        is_elsewhere,
    })
}
