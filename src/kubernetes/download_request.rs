//! Velero's DownloadRequests: Velero signs a URL for one file of a backup with its own credentials.

use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams, Preconditions,
};
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::decision::Key;

/// What the names of ours begin with. The UID of the Backup follows.
pub const NAME_PREFIX: &str = "velero-trust-";

/// The kind of file that is asked for: the tarball.
const TARBALL: &str = "BackupContents";

/// The first pause before it is looked again whether there is a URL; each is twice as long, up to the longest.
/// Velero's own command asks every 25 ms.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A DownloadRequest of ours for the tarball of a backup.
pub struct DownloadRequest {
    api: Api<DynamicObject>,
    backup: Key,
    name: String,
    uid: Option<String>,
}

/// Why there is no URL.
#[derive(Debug, thiserror::Error)]
pub enum DownloadRequestError {
    /// The API server does not answer, or refuses.
    #[error("the API server does not answer about it, or refuses: {0}")]
    Api(#[from] Error),
    /// Somebody deleted it, or made another one of its name.
    #[error("somebody took it away, or changed it")]
    Replaced,
    /// Velero did not answer.
    #[error(
        "Velero wrote no URL into it for {} s; see Velero's log, and whether it can read the bucket", .0.as_secs()
    )]
    Late(Duration),
}

impl DownloadRequest {
    /// Asks for the tarball of `backup`, whose Backup has `uid`. What is left of an earlier request is deleted.
    pub async fn create(client: &Client, backup: &Key, uid: &str) -> kube::Result<Self> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "DownloadRequest");
        let resource = ApiResource::from_gvk(&kind);
        let api = Api::namespaced_with(client.clone(), &backup.namespace, &resource);
        let name = format!("{NAME_PREFIX}{uid}");
        let object = DynamicObject::new(&name, &resource).within(&backup.namespace);
        let object = object.data(json!({"spec": spec(backup)}));
        let create = || async { api.create(&PostParams::default(), &object).await };
        let created = match create().await {
            Err(Error::Api(status)) if status.is_already_exists() => {
                ignore_absent(api.delete(&name, &DeleteParams::default()).await.map(drop))?;
                create().await?
            }
            created => created?,
        };
        Ok(Self {
            api,
            backup: backup.clone(),
            name,
            uid: created.metadata.uid,
        })
    }

    /// Waits for the URL, for this time at most. Whoever may write DownloadRequests may have written it: it has to be
    /// checked before it is used, and is as good as a password.
    pub async fn url(&self, longest: Duration) -> Result<String, DownloadRequestError> {
        let start = Instant::now();
        let mut pause = PAUSE;
        loop {
            let found = self.api.get_opt(&self.name).await?;
            let found = found.filter(|found| self.is_it(found));
            let found = found.ok_or(DownloadRequestError::Replaced)?;
            if let Some(url) = url(&found.data) {
                return Ok(url);
            }
            if start.elapsed() >= longest {
                return Err(DownloadRequestError::Late(longest));
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Whether `found` is still what was created.
    fn is_it(&self, found: &DynamicObject) -> bool {
        found.metadata.uid == self.uid && found.data.get("spec") == Some(&spec(&self.backup))
    }

    /// Deletes it, unless it is gone, or is another one by now.
    pub async fn delete(self) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: self.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(&self.name, &params).await {
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            deleted => ignore_absent(deleted.map(drop)),
        }
    }
}

fn spec(backup: &Key) -> Value {
    json!({"target": {"kind": TARBALL, "name": backup.name}})
}

/// Returns the URL, once Velero processed the request.
fn url(object: &Value) -> Option<String> {
    let status = object.get("status")?;
    let text = |field: &str| status.get(field).and_then(Value::as_str);
    let url = text("downloadURL").filter(|url| !url.is_empty())?;
    (text("phase") == Some("Processed")).then(|| url.to_owned())
}

fn ignore_absent(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_counts_once_velero_processed_the_request() {
        let of = |status: Value| url(&json!({"status": status}));
        let processed = json!({"phase": "Processed", "downloadURL": "https://s.example/b"});
        assert_eq!(of(processed).as_deref(), Some("https://s.example/b"));
        for status in [
            json!({}),
            json!({"phase": "New", "downloadURL": "https://s.example/b"}),
            json!({"phase": "Processed"}),
            json!({"phase": "Processed", "downloadURL": ""}),
        ] {
            assert_eq!(of(status.clone()), None, "{status}");
        }
        assert_eq!(url(&json!({})), None);
    }
}
