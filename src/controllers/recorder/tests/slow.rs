//! A store that is slow for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{BACKUPS, Scene, uid};

/// A store that accepts connections and never answers.
struct Silent {
    url: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                open.push(listener.accept().await.unwrap());
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            url,
            connections,
            task,
        }
    }

    /// Adds a location of this store to a namespace.
    fn add_location(&self, scene: &Scene, namespace: &str, name: &str) {
        let path = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations/default";
        let mut location = scene.api.get(path).unwrap();
        location["spec"]["config"]["s3Url"] = json!(self.url);
        location["metadata"]["namespace"] = json!(namespace);
        let path = path.replace("/velero/", &format!("/{namespace}/"));
        let path = path.replace("/default", &format!("/{name}"));
        scene.api.put(&path, location);
    }

    fn add_backup(scene: &Scene, namespace: &str, location: &str, number: usize) {
        let name = format!("silent-{number}");
        let mut backup = Scene::backup(&name, &uid(number), "Completed");
        backup["spec"]["storageLocation"] = json!(location);
        backup["metadata"]["namespace"] = json!(namespace);
        let backups = BACKUPS.replace("/velero/", &format!("/{namespace}/"));
        scene.api.put(&format!("{backups}/{name}"), backup);
    }
}

/// Copies what the recorder needs to read the backups of another namespace.
fn add_namespace(scene: &Scene, namespace: &str) {
    for path in [
        "/api/v1/namespaces/velero/configmaps/velero-trust-ca",
        "/api/v1/namespaces/velero/secrets/cloud",
    ] {
        let object = scene.api.get(path).unwrap();
        let path = path.replace("/velero/", &format!("/{namespace}/"));
        scene.api.put(&path, object);
    }
}

/// Each of its backups occupies a place for half a minute, again and again.
#[tokio::test]
async fn a_silent_store_holds_up_no_other_location() {
    let mut scene = Scene::start().await;
    let silent = Silent::start().await;
    silent.add_location(&scene, "velero", "silent");
    for number in 2..6 {
        Silent::add_backup(&scene, "velero", "silent", number);
    }
    scene.run();
    scene
        .until("two backups to be read", |_| {
            silent.connections.load(Ordering::Relaxed) == 2
        })
        .await;
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(silent.connections.load(Ordering::Relaxed), 2);
}

/// Whoever may create locations in a namespace may create many.
#[tokio::test]
async fn silent_stores_of_a_namespace_hold_up_no_other_namespace() {
    let mut scene = Scene::start().await;
    let silent = Silent::start().await;
    add_namespace(&scene, "other");
    for number in 2..8 {
        let location = format!("silent-{number}");
        silent.add_location(&scene, "other", &location);
        Silent::add_backup(&scene, "other", &location, number);
    }
    scene.run();
    scene
        .until("some backups to be read", |_| {
            silent.connections.load(Ordering::Relaxed) >= 2
        })
        .await;
    scene.complete("b", &uid(1));
    scene.until_state("b", &uid(1), "Recorded").await;
    assert_eq!(silent.connections.load(Ordering::Relaxed), 3);
}
