//! What a Restore costs with velero-trust, on a real API server, a real MinIO and a real Velero.

pub(super) mod asking;
mod bed;
mod crowd;
mod large;
mod reviews;
mod slow;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use velero_trust_testing::wait;

use self::bed::Bed;

/// Longest time for anything that is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures `binary`.
pub(super) fn measure(binary: &Path) -> Result<()> {
    let mut bed = Bed::start()?;
    let alone = large::without(&bed)?;
    bed.install(binary)?;
    large::with(&bed, &alone)?;
    crowd::measure(&bed)?;
    reviews::measure(&bed)?;
    slow::measure(&bed)
}

/// Returns how long it takes until `is_done`, which is asked again and again.
fn time(what: &str, mut is_done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    wait::poll(what, PATIENCE, || {
        ensure!(is_done()?, "not yet");
        Ok(())
    })?;
    Ok(began.elapsed())
}
