//! The controllers on a real API server: the time until a CA is where Velero reads it, and the cost
//! while nothing changes.

mod bundles;
mod idle;
mod objects;
mod publishing;
mod rig;

use std::path::Path;

use anyhow::Result;

use self::objects::NAMESPACES;
use self::rig::Rig;
use super::figures;
use super::usage::Usage;

/// Number of locations per namespace, at first and at the end.
const LOCATIONS: usize = 10;
const MANY_LOCATIONS: usize = 25;

/// Maximum resident memory, in MiB.
const MEMORY: f64 = 15.0;

/// Measures `binary` with the certificates in `folder`.
pub(super) fn measure(binary: &Path, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let rig = Rig::start(&runtime, binary, folder)?;
    let title = |locations: usize| {
        let all = NAMESPACES * locations;
        format!("Controllers: {all} BSLs in {NAMESPACES} Velero namespaces")
    };
    rig.add_locations(0..LOCATIONS)?;

    figures::head(&title(LOCATIONS));
    let leader = publishing::starts(&rig)?;
    publishing::changes(&rig, &leader)?;
    idle::measure(&rig, &leader)?;
    memory("memory in that state", Usage::of(leader.id())?.resident);
    publishing::take_overs(&rig, leader)?;

    rig.add_locations(LOCATIONS..MANY_LOCATIONS)?;
    figures::head(&title(MANY_LOCATIONS));
    let leader = publishing::start(&rig)?;
    let usage = Usage::of(leader.id())?;
    memory("memory, peak while all are published at once", usage.peak);
    memory("memory after it", usage.resident);
    Ok(())
}

fn memory(name: &str, kib: u64) {
    figures::row(name, kib as f64 / 1024.0, "MiB", Some(MEMORY));
}
