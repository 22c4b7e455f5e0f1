//! A recorded backup is verified with openssl alone, and refused once its files are others.

use super::recorded::{is_verified, only_key, open, open_below, verify};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use velero_trust::bucket::Store;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{BUCKET, Cluster};
use velero_trust_testing::scratch;

/// More than any file of a backup here has.
const MAX_BYTES: u64 = 1 << 20;

/// A folder that Velero lets be in a bucket, for a copy that it does not look at.
const ELSEWHERE: &str = "plugins/copy";

/// The files of a backup.
type Files = Vec<(String, Vec<u8>)>;

/// Changes the files of the recorded `backup` in every way, and restores them.
pub(super) fn story(cluster: &Cluster, backup: &str) -> Result<()> {
    let folder = scratch::folder("verified")?;
    let key = folder.path().join("key.pub");
    fs::write(&key, only_key(cluster)?)?;
    let key = key.to_str().context("a path that is no text")?;
    let store = cluster.block_on(open(cluster))?;
    let files = download(cluster, &store, backup)?;
    without_us(&folder.path().join(backup), key, &files)?;
    in_the_bucket(cluster, &store, key, backup, &files)?;
    copied(cluster, key, backup, &files)?;
    is_verified(cluster, backup).map(drop)
}

fn download(cluster: &Cluster, store: &Store, backup: &str) -> Result<Files> {
    let all = async {
        let mut files = Files::new();
        for artifact in store.list(backup).await?.artifacts {
            let content = store
                .read(backup, &artifact)
                .await?
                .bytes(MAX_BYTES)
                .await?;
            files.push((artifact.name, content));
        }
        anyhow::Ok(files)
    };
    cluster.block_on(all)
}

fn tarball(backup: &str, files: &Files) -> Result<(String, Vec<u8>)> {
    let name = format!("{backup}.tar.gz");
    let tarball = files.iter().find(|(file, _)| *file == name);
    tarball.cloned().context("there is no tarball")
}

/// Returns the same bytes but one.
fn changed(content: &[u8]) -> Vec<u8> {
    let mut changed = content.to_vec();
    if let Some(byte) = changed.last_mut() {
        *byte ^= 1;
    }
    changed
}

/// What `verify --recipe` prints needs no velero-trust.
fn without_us(copy: &Path, key: &str, files: &Files) -> Result<()> {
    fs::create_dir(copy)?;
    for (name, content) in files {
        fs::write(copy.join(name), content)?;
    }
    let place = copy.to_str().context("a path that is no text")?;
    let ours = Cli::new(binary().to_owned(), None)?;
    let recipe = ours.ok(&["verify", place, "--key", key, "--recipe"])?;
    let shell = Cli::new("/bin/sh".into(), None)?;
    let backup = copy.file_name().and_then(|name| name.to_str());
    let backup = backup.context("no name")?;
    let good = shell.run(&["-c", &recipe])?;
    let expected = [
        "Verified OK".to_owned(),
        format!("{backup}.tar.gz: OK"),
        format!(r#"good: the files of "namespace":"velero","name":"{backup}""#),
    ];
    let missing = expected.iter().find(|part| !good.stdout.contains(*part));
    ensure!(good.code == Some(0) && missing.is_none(), "{good:?}");

    let (name, content) = tarball(backup, files)?;
    fs::write(copy.join(&name), changed(&content))?;
    let bad = shell.run(&[
        "-c",
        &format!("if {}; then echo passed; fi", recipe.trim_end()),
    ])?;
    let told = bad.stdout.contains(&format!("{name}: FAILED"));
    let passed = bad.stdout.contains("passed") || bad.stdout.contains("good: ");
    ensure!(told && !passed, "{bad:?}");
    Ok(())
}

/// A file of the backup in the bucket is changed, added, or missing.
fn in_the_bucket(
    cluster: &Cluster,
    store: &Store,
    key: &str,
    backup: &str,
    files: &Files,
) -> Result<()> {
    let put = |name: &str, content: &[u8]| {
        let put = store.put(backup, name, content.to_vec());
        cluster.block_on(put).map_err(anyhow::Error::from)
    };
    let delete = |name: &str| {
        let deleted = store.delete(backup, name);
        cluster.block_on(deleted).map_err(anyhow::Error::from)
    };
    let url = format!("s3://{BUCKET}/backups/{backup}");
    let is_told = |why: &str| is_refused(&verify(cluster, &[&url, "--key", key])?, why);

    let (name, content) = tarball(backup, files)?;
    put(&name, &changed(&content))?;
    let told = is_told(&format!(
        "the bytes of {name} differ from those that were signed"
    ));
    put(&name, &content)?;
    told?;

    let added = format!("{backup}-csi-volumesnapshotclasses.json.gz");
    put(&added, b"added")?;
    let told = is_told(&format!("{added} was added"));
    delete(&added)?;
    told?;

    let logs = files.iter().find(|(name, _)| name.ends_with("-logs.gz"));
    let (name, content) = logs.context("there are no logs")?;
    delete(name)?;
    let told = is_told(&format!("{name} was signed and is missing"));
    put(name, content)?;
    told
}

/// The signed files are those of another backup, or of another bucket.
fn copied(cluster: &Cluster, key: &str, backup: &str, files: &Files) -> Result<()> {
    let store = cluster.block_on(open_below(cluster, ELSEWHERE))?;
    let names = [backup, "another"];
    for name in names {
        for (file, content) in files {
            cluster.block_on(store.put(name, file, content.clone()))?;
        }
    }
    let look = |name, more: &[&str]| {
        let url = format!("s3://{BUCKET}/{ELSEWHERE}/backups/{name}");
        verify(cluster, &[&[&*url, "--key", key], more].concat())
    };
    let renamed = look("another", &["--recorded-in", BUCKET])?;
    let moved = look(backup, &[])?;
    let replicated = look(backup, &["--recorded-in", BUCKET])?;
    for name in names {
        for (file, _) in files {
            cluster.block_on(store.delete(name, file))?;
        }
    }
    let other = format!("the envelope is that of the backup {backup}, not of another");
    is_refused(&renamed, &other)?;
    let other = format!("it was recorded in {BUCKET}, not in {BUCKET}/{ELSEWHERE}");
    is_refused(&moved, &other)?;
    ensure!(replicated.code == Some(0), "{replicated:?}");
    Ok(())
}

fn is_refused(output: &Output, why: &str) -> Result<()> {
    ensure!(
        output.code == Some(1) && output.stdout.contains(why),
        "no `{why}`: {output:?}"
    );
    Ok(())
}
