//! Whether files are those of a signed backup.

use super::envelope::{Envelope, EnvelopeError, VerifyError};
use super::manifest::{Difference, File, UnreadFile};
use super::public_key::PublicKey;
use super::statement::{Statement, StatementError};
use crate::decision::SignedList;
use crate::digest::Sha256;
use crate::velero::text::shown;

/// What an envelope says about files, if it says that they are good or that they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What is signed.
    pub statement: Statement,
    /// The id of the key that signed it.
    pub key: Sha256,
    /// How the files differ. Empty if they are those that were signed.
    pub differences: Vec<Difference>,
}

/// Why files are not good, or cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The envelope was changed.
    #[error("the envelope was changed after it was signed: {0}")]
    Forged(VerifyError),
    /// The envelope is that of another backup.
    #[error("the envelope is that of the backup {}, not of {}", shown(.signed), shown(.expected))]
    OtherBackup {
        /// The name that is signed.
        signed: String,
        /// The name of the directory.
        expected: String,
    },
    /// None of the keys signed it.
    #[error("{0}")]
    UnknownKey(VerifyError),
    /// Bytes that are no envelope.
    #[error("the envelope cannot be read: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The payload is signed by one of the keys, and cannot be read.
    #[error("what is signed cannot be read: {0}")]
    Statement(#[from] StatementError),
}

impl VerificationError {
    /// Whether the files are known not to be good. Otherwise nothing is known about them.
    pub const fn is_proof(&self) -> bool {
        matches!(self, Self::Forged(_) | Self::OtherBackup { .. })
    }
}

/// What one of the keys signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What is signed.
    pub statement: Statement,
    /// The id of the key that vouches for it: the first of the signers, or the one that counts.
    pub key: Sha256,
    /// The ids of the keys that signed it, each once.
    pub signers: Vec<Sha256>,
    /// The digest of the signed bytes.
    pub payload: Sha256,
}

/// Returns what is in `envelope`, of which one of `keys` must be the signer. `name` is that of the
/// backup, where that is known.
pub fn open(
    envelope: &[u8],
    keys: &[&PublicKey],
    name: Option<&str>,
) -> Result<Opened, VerificationError> {
    let envelope = Envelope::parse(envelope)?;
    let signers = envelope.signers(keys).map_err(|error| match error {
        VerifyError::Forged => VerificationError::Forged(error),
        VerifyError::UnknownKey(_) => VerificationError::UnknownKey(error),
    })?;
    let key = signers.first().ok_or(VerifyError::Forged);
    let key = key.map_err(VerificationError::Forged)?;
    // Nothing in the payload is looked at before this line.
    let statement = Statement::parse(envelope.payload())?;
    let signed = &statement.backup.name;
    if let Some(expected) = name.filter(|name| name != signed) {
        return Err(VerificationError::OtherBackup {
            signed: signed.clone(),
            expected: expected.to_owned(),
        });
    }
    Ok(Opened {
        key: key.id(),
        signers: signers.iter().map(|key| key.id()).collect(),
        payload: Sha256::of(envelope.payload()),
        statement,
    })
}

/// Most bytes of what a list says of the Backup, as JSON. A name in Kubernetes has at most 253, and anybody
/// may have signed the list.
const MAX_FIELDS_BYTES: usize = 1024;

/// Returns what `envelope` signs, whoever signed it, if that is about `backup` and lists just `files`, and those
/// that were `unread`.
pub fn agreeing(
    envelope: &[u8],
    backup: &str,
    files: &[File],
    unread: &[UnreadFile],
) -> Option<SignedList> {
    let envelope = Envelope::parse(envelope).ok()?;
    let signed = Statement::parse(envelope.payload()).ok()?;
    let differences = signed.manifest.differences(backup, files, unread);
    let is_same = signed.backup.name == backup && differences.is_empty();
    let fields = serde_json::to_vec(&signed.backup).ok()?;
    let is_like_one = fields.len() <= MAX_FIELDS_BYTES;
    (is_same && is_like_one).then(|| SignedList {
        sha256: Sha256::of(envelope.payload()),
        backup: signed.backup,
        pod_volumes: signed.pod_volumes,
    })
}

/// Judges `files`, all those in the directory of one backup, by `envelope`, of which one of `keys`
/// must be the signer. `name` is that of the directory, where that is known.
pub fn verify(
    envelope: &[u8],
    keys: &[&PublicKey],
    name: Option<&str>,
    files: &[File],
) -> Result<Verified, VerificationError> {
    let Opened { statement, key, .. } = open(envelope, keys, name)?;
    let signed = &statement.backup.name;
    Ok(Verified {
        key,
        differences: statement.manifest.differences(signed, files, &[]),
        statement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{BackupFields, Location, PodVolumes};
    use crate::integrity::manifest::Manifest;
    use crate::integrity::public_key::Algorithm;
    use crate::integrity::statement::Level;
    use crate::signing_key::SigningKey;

    fn file(name: &str, content: &str) -> File {
        File {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256: Sha256::of(content.as_bytes()),
        }
    }

    #[test]
    fn a_list_agrees_only_if_it_is_about_the_backup_and_has_just_its_files() {
        let files = [
            file("b.tar.gz", "tarball"),
            file("velero-backup.json", "{}"),
        ];
        let statement = Statement {
            manifest: Manifest::new("b", files.to_vec()).unwrap(),
            cluster: "cluster".into(),
            backup: BackupFields {
                name: "b".into(),
                ..BackupFields::default()
            },
            location: Location::default(),
            pod_volumes: PodVolumes::none(),
            level: Level::Observed,
            public_key: None,
        };
        let payload = statement.to_bytes().unwrap();
        let key = SigningKey::generate(Algorithm::Ed25519).unwrap();
        let envelope = key.sign(payload.clone()).unwrap().to_json().unwrap();
        let agrees = |backup: &str, files: &[File]| {
            let agreeing = agreeing(envelope.as_bytes(), backup, files, &[]);
            agreeing.map(|list| list.sha256)
        };
        assert_eq!(agrees("b", &files), Some(Sha256::of(&payload)));
        // Somebody copied all of it into the directory of another one.
        assert_eq!(agrees("c", &files), None);
        let [tarball, document] = files;
        let other = file("b.tar.gz", "TARBALL");
        for files in [vec![other, document], vec![tarball]] {
            assert_eq!(agrees("b", &files), None, "{files:?}");
        }
    }
}
