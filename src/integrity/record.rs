//! What a record says about a backup, after it is verified with the keys of the cluster.

use super::envelope::Envelope;
use super::statement::{Level, Statement};
use super::trust::{Claim, Distrust, Trust};
use super::verification::{self, Opened, VerificationError};
use crate::decision::{BackupRecord, Place, TrustedKey};
use crate::digest::Sha256;

/// Why a record says nothing about the files of its backup.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing is signed.
    #[error("the record has no envelope")]
    NoEnvelope,
    /// The signature does not count for this backup.
    #[error(transparent)]
    Untrusted(#[from] Distrust),
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(#[from] VerificationError),
    /// The record has another value than what is signed in it.
    #[error("{0} in the record is not what is signed; somebody changed the record")]
    Changed(&'static str),
}

/// Returns what is signed about the backup of `record`, and the key of `trust` that vouches for it.
pub fn open<'k>(
    record: &BackupRecord,
    trust: &'k Trust,
) -> Result<(Opened, &'k TrustedKey), RecordError> {
    let envelope = record.envelope.as_deref().ok_or(RecordError::NoEnvelope)?;
    let name = record.backup.name.as_str();
    let opened = verification::open(envelope.as_bytes(), &trust.public_keys(), Some(name))?;
    let claim = Claim {
        recorded_at: record.recorded_at,
        is_elsewhere: is_elsewhere(&opened.statement, record.place.as_ref()),
        ..Claim::of(
            &opened.statement,
            Some(&record.backup.namespace),
            record.location.as_deref(),
        )
    };
    let (trusted, key) = trust.vouching(&opened, &claim)?;
    match difference(record, &opened) {
        None => Ok((Opened { key, ..opened }, trusted)),
        Some(field) => Err(RecordError::Changed(field)),
    }
}

/// Returns what `record` has in its envelope, whoever signed it.
pub fn claimed(record: &BackupRecord) -> Option<Statement> {
    content(record.envelope.as_ref()?)
}

/// Whether `place`, where the files were when they were recorded in this cluster, is another one than `envelope` says,
/// whoever signed it.
pub fn claims_elsewhere(envelope: &str, place: &Place) -> bool {
    content(envelope).is_some_and(|claimed| is_elsewhere(&claimed, Some(place)))
}

fn content(envelope: &str) -> Option<Statement> {
    let envelope = Envelope::parse(envelope.as_bytes()).ok()?;
    Statement::parse(envelope.payload()).ok()
}

fn is_elsewhere(signed: &Statement, place: Option<&Place>) -> bool {
    place.is_some_and(|place| !signed.location.is_at(place))
}

/// Returns the first field of the record that differs from what is signed.
fn difference(record: &BackupRecord, opened: &Opened) -> Option<&'static str> {
    let statement = &opened.statement;
    let prefixed = |digest: Sha256| digest.prefixed();
    let adopted_by = match &statement.level {
        Level::Adopted { by } => Some(by),
        Level::Observed | Level::Late => None,
    };
    let checks = [
        // A backup that came by sync may be that of another namespace.
        (
            "spec.namespace",
            record.backup.namespace == statement.backup.namespace
                || adopted_by.is_some()
                || record.imported_by.is_some(),
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
