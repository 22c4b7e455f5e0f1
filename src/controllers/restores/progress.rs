//! How far the files are read for which a Restore waits.

use kube::{Api, Client};

use crate::kubernetes::crds::BackupRecord;

/// Most records that are looked at. There is one for each Backup that had the name, of which one is read.
const MAX_RECORDS: usize = 4;

/// Returns how far the files are read by one of the `records`, for people.
pub(super) async fn read(client: &Client, records: &[String]) -> Option<String> {
    let api = Api::<BackupRecord>::all(client.clone());
    for name in records.iter().take(MAX_RECORDS) {
        let record = api.get_opt(name).await.ok().flatten();
        let verification = record
            .and_then(|record| record.status)
            .and_then(|status| status.verification);
        if let Some(progress) = verification.and_then(|verification| verification.progress) {
            return Some(progress.to_string());
        }
    }
    None
}
