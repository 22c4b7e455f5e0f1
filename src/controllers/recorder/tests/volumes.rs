//! PodVolumeBackups, which anybody can create in masses who may write in the namespace of Velero.

use serde_json::{Value, json};

use super::api::Act;
use super::{BACKUPS, Scene, uid};
use crate::integrity::envelope::Envelope;
use crate::integrity::pod_volumes::{PodVolumeBackup, PodVolumeLines};
use crate::integrity::statement::Statement;

const ALL: &str = "/apis/velero.io/v1/namespaces/velero/podvolumebackups";

fn add(scene: &Scene, number: usize, repository: &str, annotation: &str) {
    let object = json!({
        "metadata": {
            "namespace": "velero", "labels": {"velero.io/backup-name": "b"},
            "annotations": {"note": annotation},
        },
        "spec": {
            "pod": {"namespace": "shop", "name": format!("pod-{number}")},
            "volume": "data", "uploaderType": "kopia", "repoIdentifier": repository,
        },
        "status": {"snapshotID": "s"},
    });
    scene.api.put(&format!("{ALL}/v{number}"), object);
}

/// Any change of the Backup lets it be tried at once.
fn touch(scene: &Scene) {
    let path = format!("{BACKUPS}/b");
    let mut backup = scene.api.get(&path).unwrap();
    backup["metadata"]["annotations"] = json!({"velero-trust.io/checksum": "x"});
    scene.api.put(&path, backup);
}

/// Returns why the backup cannot be read, after which the PodVolumeBackups are removed and it is.
async fn refused(scene: &mut Scene, count: usize) -> Value {
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Unreadable").await;
    let status = scene.status("b", &uid(1));
    assert_eq!(status["reason"], "TooManyPodVolumeBackups", "{status}");
    assert!(scene.s3.files("backups/b/velero-trust.").is_empty());
    for number in 1..count {
        scene.api.remove(&format!("{ALL}/v{number}"));
    }
    scene.rest(std::time::Duration::from_millis(300)).await;
    touch(scene);
    scene.until_state("b", &uid(1), "Recorded").await;
    status["message"].clone()
}

#[tokio::test]
async fn volumes_with_long_names_are_said_and_no_judgement() {
    let mut scene = Scene::start().await;
    for number in 0..6 {
        add(&scene, number, &"r".repeat(1 << 20), "");
    }
    let message = refused(&mut scene, 6).await.to_string();
    assert!(message.contains("4 MiB"), "{message}");
}

#[tokio::test]
async fn volumes_with_much_else_are_said_and_no_judgement() {
    let mut scene = Scene::start().await;
    add(&scene, 0, "r", "");
    let much = "x".repeat(22 << 20);
    for number in 1..4 {
        add(&scene, number, "r", &much);
    }
    let message = refused(&mut scene, 4).await.to_string();
    assert!(message.contains("64 MiB"), "{message}");
}

#[tokio::test]
async fn the_volumes_of_all_pages_are_signed() {
    let mut scene = Scene::start().await;
    let mut expected = PodVolumeLines::default();
    for number in 0..250 {
        add(&scene, number, "r", "");
        let volume = PodVolumeBackup {
            pod_namespace: "shop".into(),
            pod: format!("pod-{number}"),
            volume: "data".into(),
            uploader: "kopia".into(),
            repository: "r".into(),
            snapshot: "s".into(),
        };
        expected.add(&volume).unwrap();
    }
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
    let envelope = scene.status("b", &uid(1))["envelope"].clone();
    let envelope = Envelope::parse(envelope.as_str().unwrap().as_bytes()).unwrap();
    let signed = Statement::parse(envelope.payload()).unwrap().pod_volumes;
    assert_eq!(signed, expected.digest());
    let lists = "LIST /apis/velero.io/v1/namespaces/velero/podvolumebackups";
    let passed = scene.api.lists();
    let pages = passed.iter().filter(|list| *list == lists).count();
    assert_eq!(pages, 5);
}

/// A Velero without its node agent has no such kind.
#[tokio::test]
async fn a_backup_without_the_kind_of_volumes_is_recorded() {
    let mut scene = Scene::start().await;
    scene.api.set_hook(|method, path| {
        let is_it = method == "LIST" && path == ALL;
        is_it.then_some(Act::Refuse(404))
    });
    scene.complete("b", &uid(1));
    scene.run();
    scene.until_state("b", &uid(1), "Recorded").await;
}
