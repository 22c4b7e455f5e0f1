//! Reads the records of a Backup, and the keys that sign them.

use kube::api::ListParams;
use kube::{Api, Client, Error};

use crate::decision::{self, Key, RecordState};
use crate::kubernetes::crds::{BackupRecord, TrustedKey, record_name};
use crate::names::BACKUP_LABEL;
use crate::velero::label::label_value;

/// Number of records in one page of a list. Each has up to 70 KiB, most of it the envelope.
const PAGE_SIZE: u32 = 20;

/// Most records of Backups of one name that are read: those of a backup that is made anew under its
/// name each hour for the time that records are kept have fewer pages than this.
const MAX_PAGES: usize = 150;

/// Reads the record of `backup`, whose Backup has `uid`. If its files are not recorded in that, reads
/// those of all Backups of the name: the sync gives a Backup another uid than its record has. Returns
/// `None` if the kind is not installed.
pub(super) async fn read(
    client: &Client,
    backup: &Key,
    uid: &str,
) -> kube::Result<Option<Vec<decision::BackupRecord>>> {
    let records = Api::<BackupRecord>::all(client.clone());
    let own = match records.get(&record_name(&backup.name, uid)).await {
        Ok(own) => Some(decision::BackupRecord::from(own)),
        // Of a group that is not installed, the API server says so in a text of its own.
        Err(Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(error),
    };
    if let Some(own) = own.filter(|own| own.state == RecordState::Recorded) {
        return Ok(Some(vec![own]));
    }
    let label = format!("{BACKUP_LABEL}={}", label_value(&backup.name));
    let mut params = ListParams::default().labels(&label).limit(PAGE_SIZE);
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = match records.list(&params).await {
            Ok(page) => page,
            Err(Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let page_records = page.items.into_iter().map(decision::BackupRecord::from);
        found.extend(page_records.filter(|record| record.backup == *backup));
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => return Ok(Some(found)),
        }
    }
    let message = format!("there are more than {MAX_PAGES} pages of records of this name");
    Err(Error::Service(message.into()))
}

/// Reads all keys. Returns `None` if the kind is not installed.
pub(super) async fn trusted_keys(
    client: &Client,
) -> kube::Result<Option<Vec<decision::TrustedKey>>> {
    let keys = Api::<TrustedKey>::all(client.clone());
    match keys.list(&ListParams::default()).await {
        Ok(keys) => Ok(Some(keys.items.into_iter().map(Into::into).collect())),
        Err(Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
