//! What is signed about a backup, after it is verified with the keys of the cluster.

use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::integrity::trust::Trust;
use crate::integrity::verification::Opened;
use crate::kubernetes::crds::{BackupRecord, TrustedKey};

/// Returns what is signed about the backup of `record`, or why it is not shown. `None` if nothing is
/// recorded.
pub(super) fn signed(record: &BackupRecord, keys: &[TrustedKey]) -> Option<Result<Opened, String>> {
    let status = record.status.as_ref()?;
    if status.envelope.is_none() && status.state != RecordState::Recorded {
        return None;
    }
    let keys: Vec<_> = keys.iter().cloned().map(Into::into).collect();
    let trust = Trust::new(&keys);
    let opened = record::open(&record.clone().into(), &trust);
    Some(
        opened
            .map(|(opened, _)| opened)
            .map_err(|error| error.to_string()),
    )
}

/// Returns the lines that `sha256sum -c` reads. Names of signed files have no unusual characters.
pub(super) fn sha256sums(opened: &Opened) -> String {
    let files = opened.statement.manifest.files().iter();
    let lines = files.map(|file| format!("{}  {}\n", file.sha256, file.name));
    lines.collect()
}
