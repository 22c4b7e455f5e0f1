//! What the two reviews of a Restore cost: when it is created, and when Velero begins it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use velero_trust::kubernetes::crds::{BackupRecord, TrustedKey};
use velero_trust_testing::installer::NAMESPACE;

use super::asking::Reviews;
use super::bed::Bed;
use crate::figures::{self, median, row};
use crate::recorder::many;
use crate::usage::Usage;

/// Records beside that of the backup.
const RECORDS: usize = 10_000;

/// Reviews of each kind, and the pauses between them: one address may make so many look-ups a second.
const REVIEWS: u32 = 200;
const CREATE_PAUSE: Duration = Duration::from_millis(120);
const BEGIN_PAUSE: Duration = Duration::from_millis(350);

/// Longest CPU time of the reviews with which a Restore is created, and of that with which it begins, and
/// longest time of the latter beside the list of the bucket and two look-ups, in ms.
const CREATE: f64 = 2.0;
const BEGIN: f64 = 5.0;

/// Time that the server has to come to rest.
const SETTLE: Duration = Duration::from_secs(30);

pub(super) fn measure(bed: &Bed) -> Result<()> {
    let mut reviews = start(bed, "reviewed")?;
    figures::head("Restores: their reviews, few records");
    measure_both(bed, &mut reviews)?;
    fill(bed)?;
    std::thread::sleep(SETTLE);
    figures::head(&format!("Restores: their reviews, {RECORDS} records"));
    measure_both(bed, &mut reviews)
}

fn measure_both(bed: &Bed, reviews: &mut Reviews) -> Result<()> {
    let idle = cpu(bed, || {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    })? / 20.0;
    let mut times = Vec::new();
    let began = Instant::now();
    let used = cpu(bed, || {
        for _ in 0..REVIEWS {
            let began = Instant::now();
            ensure!(reviews.create()?, "{}", reviews.answer());
            times.push(began.elapsed());
            std::thread::sleep(CREATE_PAUSE);
        }
        Ok(())
    })?;
    let each = (used - idle * began.elapsed().as_secs_f64()) / f64::from(REVIEWS);
    row(
        "created: CPU of both reviews",
        each * 1e3,
        "ms",
        Some(CREATE),
    );
    figures::times("created: time of both", &times, None);

    let mut times = Vec::new();
    let began = Instant::now();
    let used = cpu(bed, || {
        for _ in 0..REVIEWS {
            let began = Instant::now();
            ensure!(reviews.begin()?, "{}", reviews.answer());
            times.push(began.elapsed());
            std::thread::sleep(BEGIN_PAUSE);
        }
        Ok(())
    })?;
    let each = (used - idle * began.elapsed().as_secs_f64()) / f64::from(REVIEWS);
    row("begun: CPU of the review", each * 1e3, "ms", Some(BEGIN));
    figures::times("begun: time", &times, None);
    let bare = Bare::measure(bed)?;
    bare.rows();
    let whole = median(times.iter().map(milliseconds).collect());
    let others = whole - bare.backup - bare.record - bare.list;
    row(
        "  beside the list, the Backup and the record",
        others,
        "ms",
        None,
    );
    // PodVolumeBackups are listed meanwhile.
    let own = others - bare.keys - bare.location;
    row("  beside all that it waits for", own, "ms", Some(BEGIN));
    row(
        "CPU of the server while it is idle",
        idle * 1e3,
        "ms/s",
        None,
    );
    Ok(())
}

/// Returns the CPU time of the server during `run`, in s.
fn cpu(bed: &Bed, run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let id = bed.installation()?.webhook.id();
    let before = Usage::of(id)?.cpu;
    run()?;
    Ok(Usage::of(id)?.cpu.saturating_sub(before).as_secs_f64())
}

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the look-ups of a review take by themselves, in ms.
struct Bare {
    backup: f64,
    record: f64,
    keys: f64,
    location: f64,
    list: f64,
}

impl Bare {
    fn measure(bed: &Bed) -> Result<Self> {
        let client = bed.cluster.client();
        let backups = bed.api("Backup");
        let locations = bed.api("BackupStorageLocation");
        let records = Api::<BackupRecord>::all(client.clone());
        let keys = Api::<TrustedKey>::all(client);
        let store = bed.store()?;
        let uid = bed.get("Backup", "good")?.metadata.uid.context("no uid")?;
        let record = format!("good.{uid}");
        Ok(Self {
            backup: each(bed, || async { Ok(backups.get("good").await.map(drop)?) })?,
            record: each(bed, || async { Ok(records.get(&record).await.map(drop)?) })?,
            keys: each(bed, || async {
                Ok(keys.list(&ListParams::default()).await.map(drop)?)
            })?,
            location: each(bed, || async {
                Ok(locations.get("default").await.map(drop)?)
            })?,
            list: each(bed, || async { Ok(store.list("good").await.map(drop)?) })?,
        })
    }

    fn rows(&self) {
        for (name, time) in [
            ("  Backup", self.backup),
            ("  record", self.record),
            ("  keys", self.keys),
            ("  location", self.location),
            ("  list of the bucket", self.list),
        ] {
            row(&format!("{name}, by itself, median"), time, "ms", None);
        }
    }
}

/// Returns the median time of `request`, in ms.
fn each<F: Future<Output = Result<()>>>(bed: &Bed, request: impl Fn() -> F) -> Result<f64> {
    let times = (0..50).map(|_| {
        // As rare as the reviews: what is in caches, and how fast the processor runs, depends on it.
        std::thread::sleep(BEGIN_PAUSE);
        let began = Instant::now();
        bed.cluster.block_on(request())?;
        Ok(milliseconds(&began.elapsed()))
    });
    Ok(median(times.collect::<Result<_>>()?))
}

/// Adds records of Backups that are gone.
fn fill(bed: &Bed) -> Result<()> {
    let uid = bed.get("Backup", "good")?.metadata.uid.context("no uid")?;
    // Nobody else may write records.
    let access = bed.cluster.service_account(NAMESPACE, NAMESPACE)?;
    let client = bed.cluster.block_on(access.client())?;
    let records = Api::<BackupRecord>::all(client.clone());
    let sample = bed.cluster.block_on(records.get(&format!("good.{uid}")))?;
    let made = stream::iter(0..RECORDS)
        .map(|number| many::add_gone(&client, &sample, number))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>();
    bed.cluster.block_on(made).map(drop)
}

/// Creates a Restore of `good`, which Velero does not begin because it is stopped, and waits until it may begin.
pub(super) fn start(bed: &Bed, name: &str) -> Result<Reviews> {
    bed.velero.signal("STOP")?;
    let installation = bed.installation()?;
    let secret: Secret = serde_json::from_value(installation.installer.secret()?)?;
    let ca = secret.data.and_then(|mut data| data.remove("ca.crt"));
    let ca = String::from_utf8(ca.context("no CA")?.0)?;
    let restore = bed.create(name, "good")?;
    let mut reviews = Reviews::new(&ca, installation.webhook.address()?, restore)?;
    reviews.until_ready()?;
    Ok(reviews)
}
