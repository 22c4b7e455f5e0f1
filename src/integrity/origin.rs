//! Whether the files of a backup are those that Velero wrote in this cluster. Only those are signed
//! without a person.

use super::envelope::Envelope;
use super::files;
use super::manifest::{ManifestError, shown};
use super::public_key::PublicKey;
use super::statement::Statement;
use super::trust::{Claim, Distrust, Trust};
use crate::velero::backup_fields::{BackupFields, DocumentError};
use crate::velero::text;

/// How much later than the final phase a file may be written, in milliseconds. Velero uploads before
/// it sets the phase; the rest is what two readings of one clock may differ.
pub const TOLERANCE_MILLIS: i64 = 5_000;

/// How long after the final phase the files of a backup are read as those that were observed, in
/// milliseconds. Two backups of a location are read at a time, so that one may wait for the others of the night.
pub const OBSERVED_WITHIN_MILLIS: i64 = 60 * 60 * 1_000;

/// The reason of [`Unobserved::Synced`].
pub const SYNCED: &str = "Synced";

/// Why the files of a Backup are not signed by themselves. A person can still adopt them.
#[derive(Debug, thiserror::Error)]
pub enum Unobserved {
    /// The Backup came by sync.
    #[error(
        "it was not made in this cluster, or Velero synced it from the bucket again: \
         velero-backup.json has the uid {}", text::shown(.0)
    )]
    Synced(String),
    /// The Backup came by sync, and nothing that is signed vouches for it here.
    #[error(
        "it was not made in this cluster (velero-backup.json has the uid {}), and no signed list beside it vouches \
         for it here: {why}", text::shown(.uid)
    )]
    NotImported {
        /// The uid in `velero-backup.json`.
        uid: String,
        /// The reason as one word.
        reason: &'static str,
        /// Why the list that says most does not.
        why: String,
    },
    /// A Backup of another namespace has the record of these files.
    #[error(
        "there is a record of its files for the Backup of this name in namespace {}, and a backup has one \
         record",
        text::shown(.0)
    )]
    OtherNamespace(String),
    /// This key signed other bytes.
    #[error(
        "the signed list beside the backup, of level {level}, is of other bytes than those in the bucket: \
         somebody changed the files since. If that is what you vouch for, delete velero-trust.*.dsse.json \
         from the directory of the backup first"
    )]
    SignedOtherwise {
        /// The level of what is signed.
        level: &'static str,
    },
    /// Another tarball was recorded.
    #[error(
        "its tarball is not the one that was recorded, {}: somebody changed the bucket since. If that is what you          vouch for, delete its BackupRecord first", text::shown(.0)
    )]
    OtherTarball(String),
    /// The directory holds another backup.
    #[error("velero-backup.json is that of the backup {}", text::shown(.0))]
    Renamed(String),
    /// The cluster and the bucket disagree.
    #[error("these fields of velero-backup.json differ from the Backup: {}", .0.join(", "))]
    Differs(Vec<&'static str>),
    /// Velero did not write it so.
    #[error("velero-backup.json: {0}")]
    Document(#[from] DocumentError),
    /// The directory holds no complete backup.
    #[error("{0}")]
    Files(#[from] ManifestError),
    /// Somebody wrote after Velero was done.
    #[error("{} was written {seconds} s after the backup was complete", shown(.name))]
    Rewritten {
        /// The name of the file that was written last.
        name: String,
        /// How much later, in seconds.
        seconds: i64,
    },
    /// Nothing tells when the backup was complete.
    #[error(
        "the cluster does not tell when the backup was complete, so a later change cannot be seen"
    )]
    CompletionUnknown,
}

impl Unobserved {
    /// Returns the reason as one word, for conditions, Events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Synced(_) => SYNCED,
            Self::NotImported { reason, .. } => reason,
            Self::OtherNamespace(_) => "OtherNamespace",
            Self::SignedOtherwise { .. } => "SignedOtherwise",
            Self::OtherTarball(_) => "OtherTarball",
            Self::Renamed(_) => "Renamed",
            Self::Differs(_) => "FieldsDiffer",
            Self::Document(_) => "DocumentUnreadable",
            Self::Files(_) => "FilesIncomplete",
            Self::Rewritten { .. } => "WrittenLater",
            Self::CompletionUnknown => "CompletionUnknown",
        }
    }
}

/// A file as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name below the directory of the backup.
    pub name: &'a str,
    /// When the store wrote it, by the clock of the store, in milliseconds since 1970.
    pub modified: i64,
}

/// Checks that `document`, the content of `velero-backup.json`, is the Backup `object` of the
/// cluster.
///
/// The uid tells: the sync gives each Backup a new one. Times would not: the store, Velero and the
/// API server each have their own clock.
pub fn check_document(object: &BackupFields, document: &BackupFields) -> Result<(), Unobserved> {
    check_name(object, document)?;
    if document.uid != object.uid {
        return Err(Unobserved::Synced(document.uid.clone()));
    }
    let differences = object.differences(document);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Unobserved::Differs(differences))
    }
}

/// Checks that a Backup that Velero made from the bucket is the one that was `signed`. Only its uid is
/// another one.
pub fn check_synced(object: &BackupFields, signed: &BackupFields) -> Result<(), Unobserved> {
    let signed = BackupFields {
        uid: object.uid.clone(),
        ..signed.clone()
    };
    check_document(object, &signed)
}

/// Returns what is to be signed on the word of a person, where `signed` is what this key signed about the
/// same backup before: that stays if its bytes are the same, and other bytes are refused. Nobody would
/// know of the change once the older list is replaced.
pub fn prefer_signed(
    adopted: Statement,
    signed: Option<Statement>,
) -> Result<Statement, Unobserved> {
    match signed.filter(|signed| signed.backup.uid == adopted.backup.uid) {
        None => Ok(adopted),
        Some(signed) if signed.manifest == adopted.manifest => Ok(signed),
        Some(signed) => Err(Unobserved::SignedOtherwise {
            level: signed.level.name(),
        }),
    }
}

/// Checks that the signed list `envelope`, which is beside a backup, does not tell of other bytes of it than those that a
/// person vouches for in `adopted`. Whoever signed it said so, and if the key is unknown here, a change of the files
/// still shows. A list whose signature is not that of a key of `trust`, or of the key in it, says nothing, and neither
/// does one of a key that is revoked.
pub fn check_list(adopted: &Statement, envelope: &[u8], trust: &Trust) -> Result<(), Unobserved> {
    let read = || {
        let envelope = Envelope::parse(envelope).ok()?;
        let signed = Statement::parse(envelope.payload()).ok()?;
        Some((envelope, signed))
    };
    let Some((envelope, signed)) = read() else {
        return Ok(());
    };
    let told = signed.public_key.as_deref();
    let told = told.and_then(|pem| PublicKey::from_pem(pem).ok());
    let keys: Vec<_> = trust.public_keys().into_iter().chain(&told).collect();
    let signers = envelope.signers(&keys).unwrap_or_default();
    let claim = Claim::of(&signed, None, None);
    let is_revoked =
        |key: &&PublicKey| matches!(trust.check(key.id(), &claim), Err(Distrust::Revoked(_)));
    if signers.iter().all(is_revoked)
        || signed.backup.uid != adopted.backup.uid
        || signed.manifest == adopted.manifest
    {
        return Ok(());
    }
    Err(Unobserved::SignedOtherwise {
        level: signed.level.name(),
    })
}

/// Whether the files were listed soon after `completed`, by the clock of the store, so that what nobody
/// changed rests on having seen the backup, and not on times that a store may let its users set. Both in
/// milliseconds since 1970.
pub fn is_read_in_time(completed: Option<i64>, listed: Option<i64>) -> bool {
    let (Some(completed), Some(listed)) = (completed, listed) else {
        return false;
    };
    listed.saturating_sub(completed) <= OBSERVED_WITHIN_MILLIS
}

/// Checks that `document` is a Backup of the name of `object`, without which Velero restores nothing
/// from its directory. Who vouches for the files may vouch for all else.
pub fn check_name(object: &BackupFields, document: &BackupFields) -> Result<(), Unobserved> {
    if document.name == object.name {
        Ok(())
    } else {
        Err(Unobserved::Renamed(document.name.clone()))
    }
}

/// Checks that nothing in the directory of `backup` was written after `completed`: the time at which
/// the API server stored the final phase, by the clock of the store, in milliseconds since 1970.
///
/// The time that Velero itself writes bounds nothing: it sets that first, and then uploads.
pub fn check_times(
    backup: &str,
    listed: &[Listed<'_>],
    completed: Option<i64>,
) -> Result<(), Unobserved> {
    let completed = completed.ok_or(Unobserved::CompletionUnknown)?;
    let is_signed = |file: &&Listed<'_>| files::role(backup, file.name) != files::Role::Envelope;
    let latest = listed
        .iter()
        .filter(is_signed)
        .max_by_key(|file| file.modified);
    match latest {
        Some(file) if file.modified > completed.saturating_add(TOLERANCE_MILLIS) => {
            Err(Unobserved::Rewritten {
                name: file.name.to_owned(),
                seconds: file.modified.saturating_sub(completed) / 1000,
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> BackupFields {
        BackupFields {
            namespace: "velero".into(),
            name: "b".into(),
            uid: "u".into(),
            phase: "Completed".into(),
            ..BackupFields::default()
        }
    }

    fn differing(change: fn(&mut BackupFields)) -> (&'static str, String) {
        let mut document = fields();
        change(&mut document);
        let error = check_document(&fields(), &document).unwrap_err();
        (error.reason(), error.to_string())
    }

    #[test]
    fn only_the_uid_and_the_fields_of_the_cluster_make_a_backup_its_own() {
        check_document(&fields(), &fields()).unwrap();
        let (reason, message) = differing(|document| document.uid = "v\n".into());
        assert_eq!(reason, "Synced");
        assert!(message.ends_with("has the uid v\\n"), "{message}");
        let (reason, message) = differing(|document| {
            document.name = "c".into();
            document.uid = "v".into();
        });
        assert_eq!(
            (reason, message.as_str()),
            ("Renamed", "velero-backup.json is that of the backup c")
        );
        let (reason, message) = differing(|document| {
            document.schedule = Some("nightly".into());
            document.started = Some("2031-01-01T00:00:00Z".into());
        });
        assert_eq!(reason, "FieldsDiffer");
        assert!(
            message.contains("schedule-name], status.startTimestamp"),
            "{message}"
        );
    }

    #[test]
    fn a_file_written_after_the_completion_is_told() {
        let check = |times: &[(&str, i64)], completed| {
            let listed: Vec<_> = times
                .iter()
                .map(|&(name, modified)| Listed { name, modified })
                .collect();
            check_times("b", &listed, completed).map_err(|error| error.to_string())
        };
        let bound = 100_000 + TOLERANCE_MILLIS;
        assert_eq!(check(&[("b.tar.gz", bound)], Some(100_000)), Ok(()));
        assert_eq!(check(&[], Some(0)), Ok(()));
        let later = check(
            &[("x", bound + 2), ("b.tar.gz", bound + 9), ("y", 0)],
            Some(100_000),
        );
        assert_eq!(
            later,
            Err("b.tar.gz was written 5 s after the backup was complete".into())
        );
        let ours = ("velero-trust.0123456789abcdef.dsse.json", i64::MAX);
        assert_eq!(check(&[ours], Some(100_000)), Ok(()));
        assert_eq!(check(&[("x", i64::MAX)], Some(i64::MAX)), Ok(()));
        assert!(check(&[], None).unwrap_err().contains("does not tell when"));
    }
}
