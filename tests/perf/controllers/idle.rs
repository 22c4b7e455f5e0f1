//! The cost of the controllers while Velero only updates times in the status of each location.

use std::time::{Duration, Instant};

use anyhow::Result;
use http::Request;
use tokio::time::{MissedTickBehavior, interval};
use velero_trust_testing::webhook::Webhook;

use super::LOCATIONS;
use super::objects::{NAMESPACES, tick};
use super::rig::Rig;
use crate::figures::row;
use crate::usage::Usage;

/// Fields that Velero writes once a minute into the status of each location.
const FIELDS: [&str; 2] = ["lastValidationTime", "lastSyncedTime"];

/// Time to settle before the measurement, and length of the measurement.
const SETTLE: Duration = Duration::from_secs(15);
const WINDOW: Duration = Duration::from_mins(2);

/// Maximum CPU usage, in percent of a core.
const CPU: f64 = 0.5;

pub(super) fn measure(rig: &Rig<'_>, leader: &Webhook) -> Result<()> {
    rig.runtime.block_on(velero(rig, SETTLE))?;
    let requests = || rig.runtime.block_on(requests(rig));
    let published = || leader.events("bundle published").len();
    let (asked, written) = (requests()?, published());
    let before = Usage::of(leader.id())?;
    let started = Instant::now();
    let patches = rig.runtime.block_on(velero(rig, WINDOW))?;
    let took = started.elapsed();
    let after = Usage::of(leader.id())?;
    let used = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let name = format!("CPU during {patches} status writes in {} s", took.as_secs());
    row(&name, used / took.as_secs_f64() * 100.0, "%", Some(CPU));
    row(
        "  bundles made meanwhile",
        (requests()? - asked) as f64,
        "",
        Some(0.0),
    );
    row(
        "  bundles written meanwhile",
        (published() - written) as f64,
        "",
        Some(0.0),
    );
    Ok(())
}

/// Writes into the status of every location as often as Velero does, for `long`. Returns the number
/// of writes.
async fn velero(rig: &Rig<'_>, long: Duration) -> Result<usize> {
    let minute = NAMESPACES * LOCATIONS * FIELDS.len();
    let mut turns = interval(Duration::from_mins(1) / u32::try_from(minute)?);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + long;
    let mut writes = 0;
    while Instant::now() < until {
        turns.tick().await;
        let number = writes % minute;
        let (place, field) = (number / FIELDS.len(), FIELDS[number % FIELDS.len()]);
        let place = (place % NAMESPACES, place / NAMESPACES);
        let time = k8s_openapi::jiff::Timestamp::now();
        tick(
            &rig.client,
            place,
            field,
            &time.strftime("%FT%TZ").to_string(),
        )
        .await?;
        writes += 1;
    }
    Ok(writes)
}

/// Returns how often the API server was asked for a ConfigMap. Building a bundle reads the existing
/// one, and nothing else reads any.
async fn requests(rig: &Rig<'_>) -> Result<u64> {
    let request = Request::get("/metrics").body(Vec::new())?;
    let metrics = rig.client.request_text(request).await?;
    let is_it = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"configmaps\"")
            && line.contains("verb=\"GET\"")
    };
    let counts = metrics.lines().filter(is_it);
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}
