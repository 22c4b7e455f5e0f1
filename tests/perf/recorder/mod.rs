//! The recorder with a real API server and a real MinIO: what reading a backup costs, compared with
//! the tools that do the same, and what many records cost while nothing changes.

mod imports;
pub(crate) mod many;
mod scene;
pub(crate) mod transfer;

use std::path::Path;

use anyhow::{Result, ensure};
use velero_trust_testing::limited::{reset_peak, resident};
use velero_trust_testing::webhook::Webhook;

use self::scene::Scene;
use super::figures::{self, median, row};
use super::usage::Usage;

/// Size of the tarballs whose CPU time is compared, and number of them; the result is the median.
const BYTES: u64 = 1_000_000_000;
const ROUNDS: usize = 5;

/// Size of the tarball that shows that memory does not depend on the size.
const LARGE: u64 = 5_000_000_000;

/// Number of small backups.
const SMALL: u32 = 50;

/// Maximum CPU time, compared with `curl … | openssl dgst -sha256`.
const RATIO: f64 = 1.0;

/// Maximum memory above idle while a backup is read, in MiB.
const ABOVE_IDLE: f64 = 16.0;

/// Maximum size of a record, in KiB.
const RECORD: f64 = 8.0;

/// Measures `binary`.
pub(super) fn measure(binary: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let scene = Scene::start(&runtime, binary)?;
    let leader = scene.replica()?;
    figures::head("Recorder: backups in MinIO, over TLS");
    // The first one opens connections, and grows the heap to what it keeps.
    record(&scene, &leader, "warm-up", 1_000)?;
    small(&scene, &leader)?;
    speed(&scene, &leader)?;
    let name = format!("peak memory above idle, {} GB", LARGE / 1_000_000_000);
    let large = record(&scene, &leader, "large", LARGE)?;
    row(&name, large.above_idle, "MiB", Some(ABOVE_IDLE));
    let text = serde_json::to_string(&scene.record("large")?)?;
    let size = text.len() as f64 / 1024.0;
    row(
        "record of a backup of 9 files, as JSON",
        size,
        "KiB",
        Some(RECORD),
    );
    Ok(())
}

/// Measures what records cost `binary` while nothing changes.
pub(super) fn measure_records(binary: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    many::measure(&Scene::start(&runtime, binary)?)
}

/// Measures what it costs `binary` to import many backups.
pub(super) fn measure_imports(binary: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    imports::measure(&Scene::start(&runtime, binary)?)
}

/// What recording one backup cost.
struct Cost {
    cpu: f64,
    /// Peak resident memory above that before it, in MiB.
    above_idle: f64,
    /// CPU time of the tools that read the same tarball.
    tools: f64,
}

fn small(scene: &Scene<'_>, leader: &Webhook) -> Result<()> {
    let mut cpu = 0.0;
    for number in 0..SMALL {
        cpu += record(scene, leader, &format!("small-{number}"), 1_000)?.cpu;
    }
    let each = cpu / f64::from(SMALL) * 1e3;
    row(
        "CPU of recording a backup of 9 small files",
        each,
        "ms",
        None,
    );
    Ok(())
}

fn speed(scene: &Scene<'_>, leader: &Webhook) -> Result<()> {
    let (mut ours, mut theirs, mut ratios, mut memory) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let cost = record(scene, leader, &format!("round-{round}"), BYTES)?;
        ours.push(cost.cpu);
        theirs.push(cost.tools);
        ratios.push(cost.cpu / cost.tools);
        memory.push(cost.above_idle);
    }
    let highest = memory.into_iter().fold(0.0, f64::max);
    row(
        "CPU of recording 1 GB, median of 5",
        median(ours),
        "s",
        None,
    );
    row(
        "CPU of curl | openssl dgst -sha256",
        median(theirs),
        "s",
        None,
    );
    row(
        "  ratio, median of the pairs",
        median(ratios),
        "",
        Some(RATIO),
    );
    row(
        "peak memory above idle, 1 GB",
        highest,
        "MiB",
        Some(ABOVE_IDLE),
    );
    Ok(())
}

/// Makes a backup with a tarball of `size` bytes, and lets it be recorded and read by the tools.
fn record(scene: &Scene<'_>, leader: &Webhook, name: &str, size: u64) -> Result<Cost> {
    scene.upload(name, size)?;
    let idle = resident(leader.id())?.now;
    reset_peak(leader.id())?;
    let before = Usage::of(leader.id())?.cpu;
    scene.complete(name)?;
    let record = scene.until_recorded(name)?;
    let cpu = Usage::of(leader.id())?.cpu.saturating_sub(before);
    let peak = resident(leader.id())?.peak;
    let (digest, tools) = scene.read_with_tools(name)?;
    let recorded = record.status.and_then(|status| status.checksum);
    let expected = format!("sha256:{digest}");
    ensure!(
        recorded.as_ref() == Some(&expected),
        "{recorded:?}, {expected}"
    );
    scene.remove_files(name)?;
    Ok(Cost {
        cpu: cpu.as_secs_f64(),
        above_idle: peak.saturating_sub(idle) as f64 / 1_048_576.0,
        tools: tools.as_secs_f64(),
    })
}
