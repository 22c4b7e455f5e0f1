//! What a record says about a backup, after it is verified with the keys of the cluster.

use super::envelope::Envelope;
use super::public_key::PublicKey;
use super::statement::{Level, Statement};
use super::verification::{self, Opened, VerificationError};
use crate::decision::{BackupRecord, TrustedKey};
use crate::digest::Sha256;

/// Why a record says nothing about the files of its backup.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing is signed.
    #[error("the record has no envelope")]
    NoEnvelope,
    /// A key signed it whose signatures do not count any more.
    #[error("it is signed by the TrustedKey {0}, which is revoked")]
    Revoked(String),
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(VerificationError),
    /// The record has another value than what is signed in it.
    #[error("{0} in the record is not what is signed; somebody changed the record")]
    Changed(&'static str),
}

/// Returns what is signed about the backup of `record` by one of `keys` that is not revoked.
pub fn open(record: &BackupRecord, keys: &[TrustedKey]) -> Result<Opened, RecordError> {
    let envelope = record.envelope.as_deref().ok_or(RecordError::NoEnvelope)?;
    let counting = public_keys(keys, false);
    let counting: Vec<_> = counting.iter().map(|(_, key)| key).collect();
    let name = Some(record.backup.name.as_str());
    let opened = verification::open(envelope.as_bytes(), &counting, name);
    let opened = opened.map_err(|error| match (error, signed_by_revoked(envelope, keys)) {
        (VerificationError::UnknownKey(_), Some(key)) => RecordError::Revoked(key),
        (error, _) => RecordError::Envelope(error),
    })?;
    match difference(record, &opened) {
        None => Ok(opened),
        Some(field) => Err(RecordError::Changed(field)),
    }
}

/// Returns what `record` has in its envelope, whoever signed it.
pub fn claimed(record: &BackupRecord) -> Option<Statement> {
    let envelope = Envelope::parse(record.envelope.as_ref()?.as_bytes()).ok()?;
    Statement::parse(envelope.payload()).ok()
}

/// Returns the keys that can be read with their names, of which those that are revoked or the others.
fn public_keys(keys: &[TrustedKey], is_revoked: bool) -> Vec<(&str, PublicKey)> {
    let keys = keys.iter().filter(|key| key.is_revoked == is_revoked);
    let keys = keys.map(|key| Some((&*key.name, PublicKey::from_pem(&key.public_key).ok()?)));
    keys.flatten().collect()
}

/// Returns the name of the revoked key that signed `envelope`.
fn signed_by_revoked(envelope: &str, keys: &[TrustedKey]) -> Option<String> {
    let revoked = public_keys(keys, true);
    let is_signer = |key: &PublicKey| verification::open(envelope.as_bytes(), &[key], None).is_ok();
    let found = revoked.iter().find(|(_, key)| is_signer(key))?;
    Some(found.0.to_owned())
}

/// Returns the first field of the record that differs from what is signed.
fn difference(record: &BackupRecord, opened: &Opened) -> Option<&'static str> {
    let statement = &opened.statement;
    let prefixed = |digest: Sha256| format!("sha256:{digest}");
    let adopted_by = match &statement.level {
        Level::Adopted { by } => Some(by),
        Level::Observed | Level::Late => None,
    };
    let checks = [
        // A backup that came by sync may be that of another namespace.
        (
            "spec.namespace",
            record.backup.namespace == statement.backup.namespace || adopted_by.is_some(),
        ),
        ("spec.uid", record.uid == statement.backup.uid),
        (
            "status.checksum",
            record.checksum == statement.tarball().map(prefixed),
        ),
        (
            "status.manifest",
            record.manifest == Some(prefixed(opened.payload)),
        ),
        (
            "status.level",
            record.level.as_deref() == Some(statement.level.name()),
        ),
        ("status.adoptedBy", record.adopted_by.as_ref() == adopted_by),
    ];
    let (field, _) = checks.into_iter().find(|(_, is_equal)| !is_equal)?;
    Some(field)
}
