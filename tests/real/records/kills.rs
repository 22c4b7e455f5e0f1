//! Day one with hundreds of backups from before the installation. While they are recorded, the server is
//! killed at each kind of request that it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use velero_trust::bucket::Store;
use velero_trust::digest::Sha256;
use velero_trust_testing::installer;
use velero_trust_testing::proxy::{Proxy, Seen};
use velero_trust_testing::store_proxy::StoreProxy;
use velero_trust_testing::wait::{self, PATIENCE};
use velero_trust_testing::webhook::Webhook;

use super::{BUCKET, Scene, day_one, tarball};

/// Backups from before the installation. With the one that is made after it, there are as many as
/// the page shows.
const OLD: usize = 299;
const NEW: &str = "new";

const BACKUPS: &str = "/apis/velero.io/v1/backups";
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

/// The servers of the trial, and what it knows of them.
struct DayOne {
    scene: Scene,
    api: Proxy,
    bucket: StoreProxy,
}

pub(super) fn kills() -> Result<()> {
    let began = Instant::now();
    let scene = Scene::start()?;
    let store = scene.store()?;
    let day = DayOne {
        api: scene.servers.proxy()?,
        bucket: StoreProxy::start(&scene.minio)?,
        scene,
    };
    let scene = &day.scene;
    let plain = json!({"config": {"s3Url": day.bucket.url}});
    scene.location("default", &plain)?;
    let mut names: Vec<_> = (0..OLD).map(|number| format!("b{number:03}")).collect();
    scene.back_up(&store, "default", &names, &[])?;
    let manifests = installer::manifests();
    let manifests = manifests.to_str().context("a path that is no text")?;
    scene.servers.kubectl.ok(&["apply", "-k", manifests])?;
    eprintln!("day one: {OLD} backups after {:.1?}", began.elapsed());

    let mut replica = None;
    for command in day_one::commands()? {
        let log = || replica.as_ref().map(Webhook::log).unwrap_or_default();
        command.run(scene).with_context(log)?;
        if command.sets("off") {
            let server = replica.insert(day.replica()?);
            day.records_only_new(&store).with_context(|| server.log())?;
        }
        if command.sets("on") {
            // The Deployment replaces its Pods.
            drop(replica.take());
            replica = Some(day.killed()?);
        }
        eprintln!("day one: {command:?} after {:.1?}", began.elapsed());
    }
    names.push(NEW.to_owned());
    let log = || replica.as_ref().map(Webhook::log).unwrap_or_default();
    each_is_recorded_once(scene, &names).with_context(log)?;
    day.newest_are_first()
}

impl DayOne {
    fn replica(&self) -> Result<Webhook> {
        let options = day_one::options(&self.scene)?;
        let servers = &self.scene.servers;
        servers.replica_with(&self.api, &["--probe=loopback"], options)
    }

    /// A new backup is recorded, and nothing of the old ones is read.
    fn records_only_new(&self, store: &Store) -> Result<()> {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let old = format!("/{BUCKET}/backups/b");
        self.bucket.hold(move |method, key| {
            let is_old = method == "GET" && key.starts_with(&old);
            counted.fetch_add(usize::from(is_old), Ordering::Relaxed);
            false
        });
        wait::poll("Backups to be watched", PATIENCE, || {
            let watches = |seen: &Seen| seen.method == "WATCH" && seen.path == BACKUPS;
            ensure!(!self.api.seen(watches).is_empty(), "not yet");
            Ok(())
        })?;
        let new = [NEW.to_owned()];
        self.scene.back_up(store, "default", &new, &[])?;
        self.recorded(1)?;
        let names = self.recorded_names();
        ensure!(names == new, "{names:?}");
        let read = read.load(Ordering::Relaxed);
        ensure!(read == 0, "{read} files of old backups are read");
        Ok(())
    }

    /// Kills the server again and again while it records the old backups. Returns the last one.
    fn killed(&self) -> Result<Webhook> {
        let began = Instant::now();
        let mut enough = self.recorded_names().len();
        let mut replica = self.replica()?;
        for kill in KILLS {
            enough += BETWEEN;
            self.recorded(enough).with_context(|| replica.log())?;
            kill_at(&mut replica, &self.api, &self.bucket, kill)
                .with_context(|| format!("{kill:?}: {}", replica.log()))?;
            self.release_lease()?;
            replica = self.replica()?;
            eprintln!("kills: {kill:?} after {:.1?}", began.elapsed());
        }
        self.recorded(OLD + 1).with_context(|| replica.log())?;
        Ok(replica)
    }

    /// Takes the Lease from the server that was killed. The next one of its name would wait for the time of
    /// the next renewal.
    fn release_lease(&self) -> Result<()> {
        let client = self.scene.servers.client.clone();
        let leases = Api::<Lease>::namespaced(client, installer::NAMESPACE);
        let (delete, all) = (DeleteParams::default(), ListParams::default());
        let deleted = leases.delete_collection(&delete, &all);
        self.scene.servers.runtime.block_on(deleted)?;
        Ok(())
    }

    /// Returns the backups whose records were completed, in order, as the proxy saw it. Listing all
    /// records again and again would take the time that the server needs.
    fn recorded_names(&self) -> Vec<String> {
        let completes = |seen: &Seen| {
            seen.method == "PATCH" && seen.status == 200 && seen.path.starts_with(RECORDS)
        };
        let mut names = Vec::new();
        for seen in self.api.seen(completes) {
            let record = seen
                .path
                .trim_start_matches(RECORDS)
                .trim_start_matches('/');
            let name = record.split('.').next().unwrap_or_default().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Waits until this many backups are recorded.
    fn recorded(&self, wanted: usize) -> Result<()> {
        wait::poll(&format!("{wanted} records"), 2 * PATIENCE, || {
            let recorded = self.recorded_names().len();
            ensure!(recorded >= wanted, "{recorded}");
            Ok(())
        })
    }

    /// The newer half of the backups is recorded first. A step that failed is tried again later, so that
    /// a few may be late.
    fn newest_are_first(&self) -> Result<()> {
        let names = self.recorded_names();
        let old: Vec<_> = names.iter().filter(|name| *name != NEW).collect();
        ensure!(old.len() == OLD, "{} old ones", old.len());
        let newer = format!("b{:03}", OLD / 2);
        let first = old.iter().take(OLD / 2);
        let newer = first.filter(|name| ***name >= newer).count();
        ensure!(newer * 10 >= OLD / 2 * 9, "only {newer} of them: {old:?}");
        Ok(())
    }
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
