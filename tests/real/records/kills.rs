//! The server is killed at each kind of request that it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use serde_json::json;
use velero_trust::integrity::digest::Sha256;
use velero_trust::integrity::recording::RecordState;
use velero_trust_testing::proxy::Proxy;
use velero_trust_testing::store_proxy::StoreProxy;
use velero_trust_testing::wait::{self, PATIENCE};
use velero_trust_testing::webhook::Webhook;

use super::{Scene, tarball};

/// With 300 it takes twice as long, and shows nothing else.
const BACKUPS: usize = 100;
const RECORDS: &str = "/apis/velero-trust.io/v1alpha1/backuprecords";

/// Records that are completed between two kills.
const BETWEEN: usize = 8;

/// A request at which the server is killed: its server, method, and a part of its path.
const KILLS: [(&str, &str, &str); 8] = [
    ("api", "POST", RECORDS),
    ("store", "LIST", ""),
    ("store", "GET", "velero-backup.json"),
    ("store", "GET", ".tar.gz"),
    ("store", "PUT", ".dsse.json"),
    (
        "api",
        "PATCH",
        "/apis/velero-trust.io/v1alpha1/backuprecords/*",
    ),
    (
        "api",
        "PATCH",
        "/apis/velero.io/v1/namespaces/velero/backups/*",
    ),
    ("store", "PUT", ".dsse.json"),
];

pub(super) fn kills() -> Result<()> {
    let scene = Scene::start()?;
    let store = scene.store()?;
    let api = scene.servers.proxy()?;
    let bucket = StoreProxy::start(&scene.minio)?;
    let plain = json!({"config": {"s3Url": bucket.url}});
    scene.location("default", &plain)?;
    let names: Vec<_> = (0..BACKUPS).map(|number| format!("b{number:03}")).collect();
    scene.back_up(&store, "default", &names, &[])?;

    let mut replica = scene.servers.replica_behind(&api, &["--probe=loopback"])?;
    let began = Instant::now();
    let mut enough = 0;
    for (server, method, path) in KILLS {
        enough += BETWEEN;
        recorded(&scene, enough).with_context(|| replica.log())?;
        kill_at(&mut replica, &api, &bucket, (server, method, path))
            .with_context(|| format!("{server} {method} {path}: {}", replica.log()))?;
        replica = scene.servers.replica_behind(&api, &["--probe=loopback"])?;
        eprintln!(
            "kills: {server} {method} {path} after {:.1?}",
            began.elapsed()
        );
    }
    recorded(&scene, BACKUPS).with_context(|| replica.log())?;
    each_is_recorded_once(&scene, &names).with_context(|| replica.log())
}

/// Waits until this many backups are recorded.
fn recorded(scene: &Scene, wanted: usize) -> Result<()> {
    wait::poll(&format!("{wanted} records"), 2 * PATIENCE, || {
        let records = scene.records()?;
        let states = records.values().flatten().map(|record| {
            let status = record.status.as_ref();
            status.map(|status| status.state).unwrap_or_default()
        });
        let recorded = states
            .filter(|state| *state == RecordState::Recorded)
            .count();
        ensure!(recorded >= wanted, "{recorded}");
        Ok(())
    })
}

fn kill_at(
    replica: &mut Webhook,
    api: &Proxy,
    bucket: &StoreProxy,
    (server, method, path): (&str, &'static str, &'static str),
) -> Result<()> {
    let before = api.held();
    let held = Arc::new(AtomicUsize::new(0));
    if server == "api" {
        api.hold(Some(method), path);
    } else {
        let held = Arc::clone(&held);
        bucket.hold(move |its, key| {
            let is_it = its == method && key.contains(path);
            held.fetch_add(usize::from(is_it), Ordering::Relaxed);
            is_it
        });
    }
    wait::poll("the request", PATIENCE, || {
        let held = api.held() - before + held.load(Ordering::Relaxed);
        ensure!(held > 0, "it is not sent");
        Ok(())
    })?;
    replica.signal("KILL")?;
    replica.ended(PATIENCE)?;
    api.heal();
    bucket.hold(|_, _| false);
    Ok(())
}

fn each_is_recorded_once(scene: &Scene, names: &[String]) -> Result<()> {
    let backups = || {
        let list = scene.backups();
        let list = async move { list.list(&ListParams::default()).await };
        scene.servers.runtime.block_on(list)
    };
    let backups = wait::poll("the annotations", PATIENCE, || {
        let backups = backups()?;
        let is_annotated = |annotations: &std::collections::BTreeMap<String, String>| {
            annotations.contains_key("velero-trust.io/checksum")
        };
        let bare = backups.iter().find(|backup| {
            !backup
                .metadata
                .annotations
                .as_ref()
                .is_some_and(is_annotated)
        });
        ensure!(bare.is_none(), "{bare:?} is not annotated");
        Ok(backups)
    })?;
    let records = scene.records()?;
    ensure!(records.len() == names.len(), "{} records", records.len());
    ensure!(backups.items.len() == names.len());
    let store = scene.store()?;
    for backup in backups {
        let name = backup.metadata.name.as_deref().context("no name")?;
        let records = records.get(name).context("no record")?;
        ensure!(records.len() == 1, "{name}: {} records", records.len());
        let status = records[0].status.as_ref().context("no status")?;
        let checksum = format!("sha256:{}", Sha256::of(&tarball(name)));
        ensure!(
            status.checksum.as_ref() == Some(&checksum),
            "{name}: {status:?}"
        );
        let annotation = backup
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get("velero-trust.io/checksum"));
        ensure!(annotation == Some(&checksum), "{name}: {annotation:?}");
        let listing = scene.servers.runtime.block_on(store.list(name))?;
        let envelopes: Vec<_> = listing
            .artifacts
            .iter()
            .filter(|file| file.name.starts_with("velero-trust."))
            .collect();
        ensure!(
            envelopes.len() == 1 && listing.artifacts.len() == 3,
            "{listing:?}"
        );
        let envelope = scene.servers.runtime.block_on(async {
            let reading = store.read(name, envelopes[0]).await?;
            reading.bytes(1 << 20).await
        })?;
        let recorded = status.envelope.as_deref().unwrap_or_default();
        ensure!(envelope == recorded.as_bytes(), "{name}: another envelope");
    }
    Ok(())
}
