//! What somebody does who may write the buckets: takes the files of backups away, puts them back, changes them.

use super::site::Site;
use crate::story::recorded::open_bucket;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;

/// The files of a backup by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Whether a file of this name is a signed list.
pub(super) fn is_envelope(name: &str) -> bool {
    name.starts_with("velero-trust.") && name.ends_with(".dsse.json")
}

/// Returns the only signed list among the files.
pub(super) fn envelope(files: &Files) -> Result<(&String, &Vec<u8>)> {
    let mut found = files.iter().filter(|(name, _)| is_envelope(name));
    found.next().context("no signed list")
}

impl Site {
    /// Returns the files of a backup.
    pub(super) fn files(&self, bucket: &str, backup: &str) -> Result<Files> {
        self.cluster.block_on(async {
            let store = open_bucket(&self.cluster, bucket, "").await?;
            let mut files = Files::new();
            for artifact in store.list(backup).await?.artifacts {
                let reading = store.read(backup, &artifact).await?;
                let content = reading.bytes(artifact.size).await?;
                files.insert(artifact.name.clone(), content);
            }
            Ok(files)
        })
    }

    /// Puts files of a backup into a bucket.
    pub(super) fn put(&self, bucket: &str, backup: &str, files: &Files) -> Result<()> {
        self.cluster.block_on(async {
            let store = open_bucket(&self.cluster, bucket, "").await?;
            for (name, content) in files {
                store.put(backup, name, content.clone()).await?;
            }
            Ok(())
        })
    }

    /// Deletes all files of a backup.
    pub(super) fn take(&self, bucket: &str, backup: &str) -> Result<()> {
        self.cluster.block_on(async {
            let store = open_bucket(&self.cluster, bucket, "").await?;
            for artifact in store.list(backup).await?.artifacts {
                store.delete(backup, &artifact.name).await?;
            }
            Ok(())
        })
    }
}
