//! Reads the PodVolumeBackups of a Backup.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::integrity::pod_volumes::PodVolumeBackup;
use crate::velero::backup_fields::BackupFields;
use crate::velero::label::label_value;

/// Label on a PodVolumeBackup with the name of its Backup.
const BACKUP_LABEL: &str = "velero.io/backup-name";

/// Number of PodVolumeBackups in one page of a list. Each has about 2 KiB.
const PAGE_SIZE: u32 = 100;

/// Returns the PodVolumeBackups of `backup`, by the label by which a restore finds them
/// (`pkg/controller/restore_controller.go`).
pub async fn of(client: &Client, backup: &BackupFields) -> kube::Result<Vec<PodVolumeBackup>> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "PodVolumeBackup");
    let resource = ApiResource::from_gvk(&kind);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &backup.namespace, &resource);
    let selector = format!("{BACKUP_LABEL}={}", label_value(&backup.name));
    let mut params = ListParams::default().labels(&selector).limit(PAGE_SIZE);
    let mut all = Vec::new();
    loop {
        let page = match api.list(&params).await {
            Ok(page) => page,
            // This Velero has none.
            Err(kube::Error::Api(status)) if status.code == 404 && all.is_empty() => {
                return Ok(all);
            }
            Err(error) => return Err(error),
        };
        all.extend(page.items.iter().map(read));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn read(object: &DynamicObject) -> PodVolumeBackup {
    let text = |pointer| {
        let text = object.data.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    PodVolumeBackup {
        pod_namespace: text("/spec/pod/namespace"),
        pod: text("/spec/pod/name"),
        volume: text("/spec/volume"),
        uploader: text("/spec/uploaderType"),
        repository: text("/spec/repoIdentifier"),
        snapshot: text("/status/snapshotID"),
    }
}
