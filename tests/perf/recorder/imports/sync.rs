//! Velero's own sync, alone and while what it brings is imported.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use velero_trust_testing::wait;

use super::super::scene::Scene;
use super::{PATIENCE, clear, leader, other, recorded};
use crate::figures::{self, row};

/// Maximum time of a sync, compared with one without velero-trust.
const SLOWED: f64 = 1.1;

/// Backups of each round, and the rounds of each kind: other work of the machine makes a sync slower, too.
const SYNCED: usize = 1_500;
const ROUNDS: usize = 2;

pub(super) fn measure(scene: &Scene<'_>) -> Result<()> {
    let (mut alone, mut beside, mut imported) = (0.0, 0.0, 0);
    for _ in 0..ROUNDS {
        scene.runtime.block_on(other::create(scene, 0))?;
        alone += sync(scene)?.as_secs_f64();
        clear(scene)?;
        let leader = leader(scene)?;
        beside += sync(scene)?.as_secs_f64();
        imported += recorded(&leader)?;
        drop(leader);
        clear(scene)?;
    }
    let each = |all: f64| all * 1e3 / (ROUNDS * SYNCED) as f64;
    figures::head(&format!("Velero's sync, {ROUNDS} times {SYNCED} backups"));
    row("without velero-trust, each", each(alone), "ms", None);
    row("beside their import, each", each(beside), "ms", None);
    row("  ratio", beside / alone, "", Some(SLOWED));
    let imported = imported as f64 / (ROUNDS * SYNCED) as f64;
    row("  imported meanwhile, of all", imported * 100.0, "%", None);
    Ok(())
}

/// Lets Velero sync backups after the first. Returns how long that takes.
fn sync(scene: &Scene<'_>) -> Result<Duration> {
    let velero = scene.velero()?;
    let until = |count| {
        wait::poll("the sync", PATIENCE, || {
            let now = scene.runtime.block_on(count_backups(scene))?;
            ensure!(now >= count, "{now} of {count}: {}", velero.tail());
            Ok(now)
        })
    };
    let first = until(2)?;
    let began = Instant::now();
    let last = until(first + SYNCED)?;
    Ok(began
        .elapsed()
        .mul_f64(SYNCED as f64 / (last - first) as f64))
}

/// Returns how many Backups there are, without reading them.
async fn count_backups(scene: &Scene<'_>) -> Result<usize> {
    let one = ListParams::default().limit(1);
    let list = scene.backups().list_metadata(&one).await?;
    let rest = list.metadata.remaining_item_count.unwrap_or_default();
    let rest = usize::try_from(rest).context("less than none")?;
    Ok(list.items.len() + rest)
}
