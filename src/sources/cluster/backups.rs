//! Reads Velero's Backups.

use kube::api::{DynamicObject, GetParams, ListParams};
use kube::core::Request;
use kube::{Api, Client, Error};
use serde::Deserialize;

use super::fetch::{fetch, fetch_opt};
use crate::decision::{Backup, Key};
use crate::velero::backup::{BackupView, SCHEDULE_LABEL};
use crate::velero::restore::keep_newest_completed;

/// Number of Backups in one page of a list. One is tens of KiB in general, and at most 1.5 MiB.
const PAGE_SIZE: u32 = 10;

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    kind: String,
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<BackupView>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Reads the Backup `key`; `None` if there is none.
pub(super) async fn read(client: &Client, key: &Key) -> kube::Result<Option<Backup>> {
    let request = request(client, &key.namespace).get(&key.name, &GetParams::default());
    let answer = fetch_opt(client, request.map_err(Error::BuildRequest)?).await?;
    let backup = answer.map(|answer| {
        let view = serde_json::from_slice::<BackupView>(&answer)?;
        Ok(view.into_backup())
    });
    backup.transpose().map_err(Error::SerdeError)
}

/// Reads the Backups from which Velero picks one for a Restore of `schedule`. The list has no order
/// by time, so all pages are read, and of each only candidates are kept.
pub(super) async fn newest_completed(
    client: &Client,
    namespace: &str,
    schedule: &str,
) -> kube::Result<Vec<Backup>> {
    // Velero itself selects by the label, whatever its length (`restore_controller.go`).
    let mut params = ListParams::default()
        .labels(&format!("{SCHEDULE_LABEL}={schedule}"))
        .limit(PAGE_SIZE);
    let mut newest = Vec::new();
    loop {
        let request = request(client, namespace).list(&params);
        let answer = fetch(client, request.map_err(Error::BuildRequest)?).await;
        let answer = match answer {
            Ok(answer) => answer,
            // The value is no valid label value, or Velero's CRDs are not installed.
            Err(Error::Api(status)) if [400, 404].contains(&status.code) => break,
            Err(error) => return Err(error),
        };
        let page = parse(&answer).map_err(Error::SerdeError)?;
        // Freed before the next page is read.
        drop(answer);
        let views = page.items.into_iter().flatten();
        newest.extend(views.map(BackupView::into_backup));
        keep_newest_completed(&mut newest);
        match page.metadata.next {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => break,
        }
    }
    Ok(newest)
}

fn parse(answer: &[u8]) -> serde_json::Result<Page> {
    let page = serde_json::from_slice::<Page>(answer)?;
    if page.kind == "BackupList" {
        Ok(page)
    } else {
        Err(serde::de::Error::custom("the object is no BackupList"))
    }
}

fn request(client: &Client, namespace: &str) -> Request {
    let resource = crate::kubernetes::backup::resource();
    let backups = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    Request::new(backups.resource_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_list_of_backups_and_nothing_else() {
        let page = parse(br#"{"kind": "BackupList", "metadata": {"continue": "x"}, "items": []}"#);
        assert_eq!(page.unwrap().metadata.next.as_deref(), Some("x"));
        let page = parse(br#"{"kind": "BackupList", "items": null}"#).unwrap();
        assert!(page.items.is_none() && page.metadata.next.is_none());
        assert!(parse(br#"{"kind": "Status", "items": []}"#).is_err());
        assert!(parse(br#"{"items": []}"#).is_err());
    }
}
