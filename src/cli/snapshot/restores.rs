//! The Restores of a namespace that Velero did not begin yet.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, CustomResourceExt as _};
use serde_json::Value;

use crate::kubernetes;
use crate::kubernetes::crds::{self, BackupRecord};
use crate::kubernetes::error;

/// Number of Restores in one page of the list. Each has up to 1.5 MiB.
const PAGE_SIZE: u32 = 20;

/// Most pages that are read.
const MAX_PAGES: usize = 50;

/// A Restore that Velero did not begin yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct WaitingRestore {
    pub(in crate::cli) name: String,
    /// `spec.backupName`; `None` if a schedule is named.
    pub(in crate::cli) backup: Option<String>,
    /// `metadata.creationTimestamp`.
    pub(in crate::cli) created: Option<String>,
}

/// Returns the Restores of `namespace` that wait.
///
/// # Errors
/// Why they are not known.
pub(in crate::cli) async fn waiting_restores(
    client: &Client,
    namespace: &str,
) -> Result<Vec<WaitingRestore>, String> {
    let resource = kubernetes::restore::resource();
    let restores = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut waiting = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = match restores.list(&params).await {
            Ok(page) => page,
            // This cluster has no Velero yet.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(waiting),
            Err(error) => return Err(error::lookup_error(&error).message),
        };
        waiting.extend(page.items.iter().filter_map(read));
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => params = params.continue_token(&next),
            _ => break,
        }
    }
    Ok(waiting)
}

/// Whether the cluster keeps what is read for Restores; also if that cannot be seen.
pub(in crate::cli) async fn keeps_readings(client: &Client) -> bool {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let found = definitions.get_opt(BackupRecord::crd_name()).await;
    let found = found.ok().flatten();
    found.is_none_or(|found| crds::keeps_readings(&found))
}

fn read(restore: &DynamicObject) -> Option<WaitingRestore> {
    let text = |pointer| restore.data.pointer(pointer).and_then(Value::as_str);
    let phase = text("/status/phase").unwrap_or_default();
    let is_waiting = matches!(phase, "" | "New") && restore.metadata.deletion_timestamp.is_none();
    let created = restore.metadata.creation_timestamp.as_ref();
    is_waiting.then(|| WaitingRestore {
        name: restore.metadata.name.clone().unwrap_or_default(),
        backup: text("/spec/backupName")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        created: created.map(|time| time.0.to_string()),
    })
}
