//! What is signed about a backup, after it is verified with the keys of the cluster.

use kube::ResourceExt as _;

use crate::cli::snapshot;
use crate::integrity::digest::Sha256;
use crate::integrity::public_key::PublicKey;
use crate::integrity::recording::RecordState;
use crate::integrity::statement::Level;
use crate::integrity::verification::{self, Opened, VerificationError};
use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus, KeyState, TrustedKey};

/// Returns what is signed about the backup of `record`, or why it is not shown. `None` if nothing is
/// recorded.
pub(super) fn signed(record: &BackupRecord, keys: &[TrustedKey]) -> Option<Result<Opened, String>> {
    let status = record.status.as_ref()?;
    let Some(envelope) = &status.envelope else {
        let is_recorded = status.state == RecordState::Recorded;
        return is_recorded.then(|| Err("the record has no envelope".to_owned()));
    };
    let name = Some(&*record.spec.backup);
    let counting = snapshot::counting_keys(keys);
    let counting: Vec<&PublicKey> = counting.iter().collect();
    let opened = match verification::open(envelope.as_bytes(), &counting, name) {
        Ok(opened) => opened,
        Err(error) => {
            let revoked = signed_by_revoked(envelope.as_bytes(), keys);
            return Some(Err(match (error, revoked) {
                (VerificationError::UnknownKey(_), Some(key)) => {
                    format!("it is signed by the TrustedKey {key}, which is revoked")
                }
                (error, _) => error.to_string(),
            }));
        }
    };
    Some(match difference(record, status, &opened) {
        None => Ok(opened),
        Some(field) => Err(format!(
            "{field} in the record is not what is signed; somebody changed the record"
        )),
    })
}

/// Returns the name of the revoked key that signed `envelope`.
fn signed_by_revoked(envelope: &[u8], keys: &[TrustedKey]) -> Option<String> {
    let revoked = keys
        .iter()
        .filter(|key| key.spec.state == KeyState::Revoked);
    let mut revoked = revoked.filter_map(|key| Some((key, snapshot::public_key(key).ok()?)));
    let found = revoked.find(|(_, key)| verification::open(envelope, &[key], None).is_ok())?;
    Some(found.0.name_any())
}

/// Returns the first field of the record that differs from what is signed.
fn difference(
    record: &BackupRecord,
    status: &BackupRecordStatus,
    opened: &Opened,
) -> Option<&'static str> {
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
            record.spec.namespace == statement.backup.namespace || adopted_by.is_some(),
        ),
        ("spec.uid", record.spec.uid == statement.backup.uid),
        (
            "status.checksum",
            status.checksum == statement.tarball().map(prefixed),
        ),
        (
            "status.manifest",
            status.manifest == Some(prefixed(opened.payload)),
        ),
        (
            "status.level",
            status.level.as_deref() == Some(statement.level.name()),
        ),
        ("status.adoptedBy", status.adopted_by.as_ref() == adopted_by),
    ];
    let (field, _) = checks.into_iter().find(|(_, is_equal)| !is_equal)?;
    Some(field)
}

/// Returns the lines that `sha256sum -c` reads. Names of signed files have no unusual characters.
pub(super) fn sha256sums(opened: &Opened) -> String {
    let files = opened.statement.manifest.files().iter();
    let lines = files.map(|file| format!("{}  {}\n", file.sha256, file.name));
    lines.collect()
}
