//! Commands count what is on every page of a list.

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use velero_trust::kubernetes::crds::{BackupRecord, BackupRecordSpec};
use velero_trust_testing::cli::Cli;

use super::{AT_ONCE, NAMESPACE, Scene};
use crate::shared::binary;

/// More than a page of each list has: 500 Backups of metadata only, 50 Backups, and 50 records.
const BACKUPS: usize = 510;
const RECORDED: usize = 60;

pub(super) fn pages() -> Result<()> {
    let scene = Scene::start()?;
    scene.location("default", &json!({}))?;
    let made = stream::iter(0..BACKUPS).map(|number| add(&scene, number));
    let made = made.buffer_unordered(2 * AT_ONCE).try_collect::<Vec<()>>();
    scene.servers.runtime.block_on(made)?;

    let command = Cli::new(binary().to_owned(), Some(scene.servers.kubeconfig()))?;
    let json = |arguments: &[&str]| {
        let output = command.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str::<Value>(&output.stdout).with_context(|| output.stderr)
    };
    let status = json(&["status", "--velero-namespace", NAMESPACE])?;
    let backups = &status["namespaces"][0]["backups"];
    let counts = (backups["total"].as_u64(), backups["recorded"].as_u64());
    ensure!(
        counts == (Some(BACKUPS as u64), Some(RECORDED as u64)),
        "{backups}"
    );
    let list = json(&["backup", "list", "--velero-namespace", NAMESPACE])?;
    let rows = list["backups"].as_array().context("no rows")?;
    let with_record = rows.iter().filter(|row| row["state"] == "Recorded");
    let counts = (rows.len(), with_record.count());
    ensure!(counts == (BACKUPS, RECORDED), "{counts:?}");
    Ok(())
}

/// Adds a complete Backup, and a record to some of them.
async fn add(scene: &Scene, number: usize) -> Result<()> {
    let name = format!("b{number:03}");
    let backup = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {
            "velero-trust.io/checksum": "c", "velero-trust.io/manifest": "m",
        }},
        "spec": {"storageLocation": "default"},
        "status": {"phase": "Completed"},
    });
    let params = PostParams::default();
    let backup = serde_json::from_value(backup)?;
    let backup = scene.backups().create(&params, &backup).await?;
    // Of each page, some have none.
    if !number.is_multiple_of(8) || number >= 8 * RECORDED {
        return Ok(());
    }
    let uid = backup.metadata.uid.context("no uid")?;
    let record_name = format!("{name}.{uid}");
    let record = BackupRecord {
        metadata: ObjectMeta {
            name: Some(record_name.clone()),
            ..ObjectMeta::default()
        },
        spec: BackupRecordSpec {
            namespace: NAMESPACE.to_owned(),
            backup: name,
            uid,
            observed: true,
        },
        status: None,
    };
    let records = Api::<BackupRecord>::all(scene.servers.client.clone());
    records.create(&params, &record).await?;
    let status = json!({"status": {"state": "Recorded", "checksum": "c", "manifest": "m"}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
    records.patch_status(&record_name, &params, &patch).await?;
    Ok(())
}
