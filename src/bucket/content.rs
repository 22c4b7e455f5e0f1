//! How much the backups of a bucket hold, for `velero-trust doctor`.

use std::time::Duration;

use tokio::time::timeout;

use super::list::Collector;
use super::store::Store;

/// Longest time that the list of all backups is read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the backups of a bucket hold, as its list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The number of backups.
    pub backups: usize,
    /// The bytes of all their files.
    pub bytes: u64,
    /// Whether the whole list was read. There may be more backups and bytes otherwise.
    pub is_whole: bool,
}

impl Store {
    /// Returns what the backups hold. Ends after 5 s, and after [`MAX_FILES`](super::MAX_FILES) files,
    /// with what it found until then; `None` if the list cannot be read at all.
    pub async fn content(&self) -> Option<Content> {
        let mut collector = Collector::new(self.settings().folder());
        let listed = timeout(TIMEOUT, self.list_into(&mut collector)).await;
        let is_whole = matches!(listed, Ok(Ok(())));
        let (backups, bytes) = collector.folders();
        (is_whole || backups > 0).then_some(Content {
            backups,
            bytes,
            is_whole,
        })
    }
}
