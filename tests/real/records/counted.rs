//! What is asked of the store: each file once, and little of a folder with very many.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use velero_trust_testing::store_proxy::StoreProxy;

use super::stores::until_state;
use super::{BUCKET, Extra, Scene};

/// Number of backups.
const BACKUPS: usize = 12;

/// Numbers of files in folders that are no backup's. More than the first are not listed to the end.
const CROWDS: [(usize, &str, &str); 2] = [
    (9_000, "Unobserved", "FilesIncomplete"),
    (10_001, "Unreadable", "TooManyFiles"),
];

/// Pages of a list.
const MAX_PAGES: usize = 100;

/// The requests by method and key.
type Requests = Arc<Mutex<BTreeMap<(String, String), usize>>>;

pub(super) fn counted() -> Result<()> {
    let scene = Scene::start()?;
    let store = scene.store()?;
    let proxy = StoreProxy::start(&scene.minio)?;
    scene.location("default", &json!({"config": {"s3Url": proxy.url}}))?;
    let requests = Requests::default();
    let counted = Arc::clone(&requests);
    proxy.hold(move |method, key| {
        let mut all = counted.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((method.to_owned(), key.to_owned())).or_default() += 1;
        false
    });
    let replica = scene.servers.replica(&["--probe=loopback"])?;
    let result = (|| {
        let names: Vec<_> = (0..BACKUPS).map(|number| format!("b{number:02}")).collect();
        let extra: Extra = ["a.txt", "b.txt"]
            .map(|name| (name.to_owned(), vec![b'x'; 300_000]))
            .into();
        scene.back_up(&store, "default", &names, &extra)?;
        for name in &names {
            until_state(&scene, name, "Recorded", None)?;
        }
        each_file_is_read_once(&requests, &names)?;
        crowds_are_given_up(&scene, &requests)
    })();
    result.with_context(|| replica.log())
}

fn count(requests: &Requests, method: &str, key: &str) -> usize {
    let all = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (method.to_owned(), key.to_owned());
    all.get(&key).copied().unwrap_or_default()
}

fn each_file_is_read_once(requests: &Requests, names: &[String]) -> Result<()> {
    for name in names {
        let get = |file: &str| count(requests, "GET", &format!("/{BUCKET}/backups/{name}/{file}"));
        for file in [&format!("{name}.tar.gz"), "a.txt", "b.txt"] {
            ensure!(get(file) == 1, "{name}/{file}: {}", get(file));
        }
        // It is there before and after the envelope is put.
        let document = get("velero-backup.json");
        ensure!(document == 3, "{name}: {document}");
    }
    let lists = count(requests, "LIST", &format!("/{BUCKET}"));
    ensure!(lists == 2 * names.len(), "{lists} lists");
    Ok(())
}

fn crowds_are_given_up(scene: &Scene, requests: &Requests) -> Result<()> {
    let store = scene.store()?;
    for (files, state, reason) in CROWDS {
        let name = format!("with-{files}");
        crowd(scene, &name, files)?;
        let before = count(requests, "LIST", &format!("/{BUCKET}"));
        scene.back_up(&store, "default", std::slice::from_ref(&name), &[])?;
        let status = until_state(scene, &name, state, Some(reason))?;
        let message = status.message.unwrap_or_default();
        ensure!(message.len() < 400, "{message}");
        let lists = count(requests, "LIST", &format!("/{BUCKET}")) - before;
        ensure!(lists <= MAX_PAGES, "{lists} pages");
        let tarball = format!("/{BUCKET}/backups/{name}/{name}.tar.gz");
        ensure!(count(requests, "GET", &tarball) == 0, "its files are read");
    }
    Ok(())
}

/// Makes a folder with so many files. MinIO has a folder for each, with the content in it.
fn crowd(scene: &Scene, name: &str, files: usize) -> Result<()> {
    let store = scene.store()?;
    let first = store.put(name, "f-0", b"x".to_vec());
    scene.servers.runtime.block_on(first)?;
    let folder = scene.minio.data().join(BUCKET).join("backups").join(name);
    let content = fs::read(folder.join("f-0").join("xl.meta"))?;
    for number in 1..files {
        let file = folder.join(format!("f-{number}"));
        fs::create_dir(&file)?;
        fs::write(file.join("xl.meta"), &content)?;
    }
    Ok(())
}
