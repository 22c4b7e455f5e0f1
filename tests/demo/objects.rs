//! The folder that stands in for a cluster: the YAML files of the demo, and Secrets with
//! certificates that are generated on each run, so that no certificate in the repository expires.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;
use velero_trust_testing::pki::Authority;

/// Creates the folder.
pub(super) fn folder(from: &Path) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    let authority = Authority::new("Demo CA")?;
    let good = authority.pem();
    let key = authority.server("demo")?.key_pem;
    let cut = &good[..good.len() / 2];
    for (name, text) in [
        ("good-ca", good.clone()),
        ("leaked-key", format!("{good}{key}")),
        ("cut-off", format!("{good}{cut}")),
    ] {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "velero"},
            "stringData": {"ca.crt": text},
        });
        fs::write(
            folder.path().join(format!("{name}.json")),
            secret.to_string(),
        )?;
    }
    Ok(folder)
}

/// Writes `object` into the folder as the file `name`, as a cluster stores an admitted object.
pub(super) fn store(folder: &Path, name: &str, object: &Value) -> Result<()> {
    fs::write(folder.join(name), object.to_string())?;
    Ok(())
}

/// Replaces the files of the backup `b` in the bucket.
pub(super) fn fill_bucket(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    let backup = folder.join("buckets/backups/backups/b");
    if backup.exists() {
        fs::remove_dir_all(&backup)?;
    }
    fs::create_dir_all(&backup)?;
    for (name, content) in files {
        fs::write(backup.join(name), content)?;
    }
    Ok(())
}

/// Removes the stand-in for the bundle, because `velero-trust status` computes the bundle itself, and the
/// location of the recorded backup.
pub(super) fn without_bundle(folder: &Path) -> Result<()> {
    fs::remove_file(folder.join("bundle.yaml"))?;
    fs::remove_file(folder.join("recorded.yaml"))?;
    Ok(())
}
