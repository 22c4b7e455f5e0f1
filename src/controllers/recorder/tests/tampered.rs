//! Imported backups whose files somebody changed afterwards.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::import::{Other, imported};
use super::{Scene, uid};
use crate::digest::Sha256;

/// Returns what is read of the imported backup `b` for a Restore after this `change` of the bucket: names and digests of
/// the files, and how many lists agree with them.
async fn read_after(change: impl Fn(&Scene, &mut Other)) -> (Vec<(String, String)>, usize) {
    let (scene, mut other) = imported().await;
    let before = scene.status("b", &uid(1));
    change(&scene, &mut other);
    scene.wait(&["0"], &[]);
    scene.until_read_for(&["0"]).await;
    let after = scene.status("b", &uid(1));
    for field in ["state", "imported", "envelope", "manifest", "checksum"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let reading = &after["verification"]["reading"];
    let files = reading["files"].as_array().unwrap().iter().map(|file| {
        let text = |field: &str| file[field].as_str().unwrap().to_owned();
        (text("name"), text("sha256"))
    });
    let lists = reading["lists"].as_array().map_or(0, Vec::len);
    (files.collect(), lists)
}

fn put(scene: &Scene, name: &str, content: &[u8]) {
    let path = format!("backups/b/{name}");
    scene.s3.put(&path, content, Timestamp::now());
}

/// The gate compares it with what was signed when the backup was imported.
#[tokio::test]
async fn the_files_of_an_imported_backup_are_read_as_they_are_now() {
    let digest = |content: &[u8]| Sha256::of(content).to_string();
    let names = |files: &[(String, String)]| -> Value {
        files.iter().map(|(name, _)| json!(name)).collect()
    };
    let (files, lists) = read_after(|_, _| ()).await;
    assert_eq!(files[0], ("b.tar.gz".to_owned(), digest(b"tarball")));
    assert_eq!(lists, 1);

    let (files, lists) = read_after(|scene, _| put(scene, "b.tar.gz", b"TARBALL")).await;
    assert_eq!(files[0], ("b.tar.gz".to_owned(), digest(b"TARBALL")));
    assert_eq!(lists, 0);

    let missing = |scene: &Scene, _: &mut Other| scene.s3.remove("backups/b/b.tar.gz");
    let (files, lists) = read_after(missing).await;
    assert_eq!((names(&files), lists), (json!(["velero-backup.json"]), 0));

    let added = "b-volumeinfo.json.gz";
    let (files, lists) = read_after(|scene, _| put(scene, added, b"{}")).await;
    let all = json!([added, "b.tar.gz", "velero-backup.json"]);
    assert_eq!((names(&files), lists), (all, 0));
}

/// The record has its own copy.
#[tokio::test]
async fn another_list_of_the_same_key_takes_nothing_from_an_imported_backup() {
    let replaced = |scene: &Scene, other: &mut Other| {
        other.statement.backup.uid = uid(9);
        other.statement.backup.started = Some("2025-01-01T00:00:00Z".into());
        other.sign(scene);
    };
    let (files, lists) = read_after(replaced).await;
    assert_eq!(files[0].1, Sha256::of(b"tarball").to_string());
    assert_eq!(lists, 1);
}
