//! Reads the Backups of a Velero namespace, as far as it is counted which of them could be restored.

use kube::api::{DynamicObject, ListParams};
use kube::core::Request;
use kube::{Api, Client, Error};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decision::{Backup, Key};
use crate::kubernetes::error;
use crate::velero::backup::BackupView;
use crate::velero::observed_backup::{ObservedBackup, Progress};

/// Number of Backups in one page of the list, which is what is held at a time. One is tens of KiB in
/// general, and at most 1.5 MiB.
const PAGE_SIZE: u32 = 50;

/// A Backup, of which some hundred bytes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct KnownBackup {
    pub(super) backup: Backup,
    /// How far Velero is; `None` if the Backup is not as Velero's schema says.
    pub(super) progress: Option<Progress>,
}

impl KnownBackup {
    /// Reads a Backup from its JSON.
    pub(super) fn from_json(text: &str) -> Self {
        let view: BackupView = serde_json::from_str(text).unwrap_or_default();
        Self {
            backup: view.into_backup(),
            progress: ObservedBackup::from_json(text).map(|backup| backup.progress()),
        }
    }

    /// Returns its key, where it is in `namespace`.
    pub(super) fn key(&self, namespace: &str) -> Key {
        Key::new(namespace, &*self.backup.fields.name)
    }
}

/// Reads the Backups of `namespace` page by page.
///
/// # Errors
/// Why they could not be read.
pub(in crate::cli) async fn read_backups(
    client: &Client,
    namespace: &str,
) -> Result<Vec<KnownBackup>, String> {
    let resource = crate::kubernetes::backup::resource();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let url = api.resource_url().to_owned();
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut backups = Vec::new();
    loop {
        let page = page(client, &url, &params).await;
        let page = page.map_err(|error| error::lookup_error(&error).message)?;
        let items = page.items.iter();
        backups.extend(items.map(|text| KnownBackup::from_json(text.get())));
        match page.metadata.next {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => return Ok(backups),
        }
    }
}

/// A page of the list, with the text of each Backup.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

async fn page(client: &Client, url: &str, params: &ListParams) -> kube::Result<Page> {
    let request = Request::new(url)
        .list(params)
        .map_err(Error::BuildRequest)?;
    let text = client.request_text(request).await?;
    serde_json::from_str(&text).map_err(Error::SerdeError)
}
