//! The records of all backups, as far as the reconcilers depend on them.

mod entry;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::kubernetes::crds::{BackupRecord, BackupRecordStatus};
use crate::kubernetes::watch::{Entries, SharedChange, SharedWatch, Watch};

pub(super) use entry::{Identity, ReadingEntry, RecordEntry, RecordSigner, hash_of};

/// Most records that are kept in memory. Each has some hundred bytes, and 8 for each Restore of the last
/// reading.
const MAX_RECORDS: usize = 20_000;

/// A watch of all records.
pub(super) type RecordWatch = SharedWatch<Arc<ObservedRecord>>;

/// The records that it knows.
pub(super) type RecordEntries<'a> = Entries<'a, Arc<ObservedRecord>>;

/// What changed in it.
pub(super) type RecordChange = SharedChange<Arc<ObservedRecord>>;

/// A record, as far as the reconcilers depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedRecord {
    /// What the recorder depends on.
    pub(super) entry: RecordEntry,
    /// Differs when something else does that decides about Restores.
    for_restores: u64,
}

impl ObservedRecord {
    fn new(record: BackupRecord) -> Self {
        Self {
            for_restores: hash_for_restores(record.status.as_ref()),
            entry: RecordEntry::new(record),
        }
    }
}

/// Returns the hash of what decides about Restores.
fn hash_for_restores(status: Option<&BackupRecordStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Some(status) = status {
        (&status.manifest, &status.checksum, &status.envelope).hash(&mut hasher);
        let verification = status.verification.as_ref();
        if let Some(failure) = verification.and_then(|verification| verification.failure.as_ref()) {
            (&failure.reason, &failure.message, failure.since.0).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Watches all records.
pub(super) fn watch_records(client: &Client) -> Watch<Arc<ObservedRecord>> {
    let all = Api::<BackupRecord>::all(client.clone());
    let subject = "BackupRecords";
    Watch::new(all, Config::default(), subject, |record| {
        Some(Arc::new(ObservedRecord::new(record)))
    })
    .with_max_per_namespace(MAX_RECORDS)
}
