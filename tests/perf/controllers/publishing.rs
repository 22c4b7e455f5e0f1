//! The time until a CA is in the bundle.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use velero_trust_testing::webhook::Webhook;

use super::objects::{Ca, NAMESPACES, create_secret, refer, replace};
use super::rig::{Rig, wait_for_role};
use crate::figures::{row, times};
use crate::usage::Usage;

/// Number of sequential changes.
const CHANGES: usize = 30;

/// Number of rounds of starts and of changes in all namespaces at once, and number of killed
/// leaders.
const ROUNDS: usize = 5;
const DEATHS: usize = 3;

/// Maximum time from a change to the bundle, in ms.
const SOON: Option<f64> = Some(1000.0);

/// Name of the leading replica. A restarted container keeps the name of its Pod.
const LEADER: &str = "replica-0";

/// Repeatedly starts a replica while no namespace has a bundle. Returns the last replica.
pub(super) fn starts(rig: &Rig<'_>) -> Result<Webhook> {
    let (mut first, mut all) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..ROUNDS {
        // Stop the previous replica.
        drop(last.take());
        rig.runtime.block_on(rig.bundles.remove(&rig.client))?;
        let started = Instant::now();
        let (replica, took) = std::thread::scope(|scope| {
            let took = scope.spawn(|| {
                rig.runtime.block_on(rig.bundles.any())?;
                anyhow::Ok(started.elapsed())
            });
            (rig.replica(LEADER), took.join())
        });
        first.push(took.map_err(|_| anyhow::anyhow!("a thread panicked"))??);
        rig.runtime.block_on(rig.bundles.all())?;
        all.push(started.elapsed());
        last = Some(replica?);
    }
    times("process start to the first bundle", &first, None);
    times("process start to all bundles", &all, None);
    last.map_or_else(|| start(rig), Ok)
}

/// Starts a replica while no namespace has a bundle, and waits until each has one.
pub(super) fn start(rig: &Rig<'_>) -> Result<Webhook> {
    rig.runtime.block_on(rig.bundles.remove(&rig.client))?;
    let replica = rig.replica(LEADER)?;
    rig.runtime.block_on(rig.bundles.all())?;
    Ok(replica)
}

/// Measures single changes, and changes in all namespaces at once.
pub(super) fn changes(rig: &Rig<'_>, leader: &Webhook) -> Result<()> {
    let single = (0..CHANGES).map(|number| rig.runtime.block_on(change(rig, number)));
    let single: Vec<_> = single.collect::<Result<_>>()?;
    times("a Secret or BSL changed to its bundle", &single, SOON);

    let mut longest = Vec::new();
    let before = Usage::of(leader.id())?;
    for _ in 0..ROUNDS {
        let all = (0..NAMESPACES).map(|number| secret_changed(rig, number, 0));
        let all = rig.runtime.block_on(try_join_all(all))?;
        longest.push(all.into_iter().max().unwrap_or_default());
    }
    let after = Usage::of(leader.id())?;
    times(
        "one in each namespace at once to the last bundle",
        &longest,
        SOON,
    );
    let rounds = u32::try_from(ROUNDS * NAMESPACES)?;
    let each = after.cpu.saturating_sub(before.cpu) / rounds;
    row(
        "CPU of one such bundle",
        each.as_secs_f64() * 1e3,
        "ms",
        None,
    );
    Ok(())
}

/// Returns the time from a change to the bundle. Alternates between changes of a Secret and of a
/// location.
async fn change(rig: &Rig<'_>, number: usize) -> Result<Duration> {
    let place = (number % NAMESPACES, 1 + number / NAMESPACES);
    if number.is_multiple_of(2) {
        return secret_changed(rig, place.0, place.1).await;
    }
    let ca = Ca::new()?;
    let secret = format!("other-{number}");
    create_secret(&rig.client, place.0, &secret, &ca).await?;
    refer(&rig.client, place, &secret).await?;
    let written = Instant::now();
    rig.bundles.has(place.0, ca.mark()).await?;
    Ok(written.elapsed())
}

async fn secret_changed(rig: &Rig<'_>, namespace: usize, location: usize) -> Result<Duration> {
    let ca = Ca::new()?;
    replace(&rig.client, (namespace, location), &ca).await?;
    let written = Instant::now();
    rig.bundles.has(namespace, ca.mark()).await?;
    Ok(written.elapsed())
}

/// Repeatedly kills the leader while another replica runs, and measures how long no change reaches
/// a bundle.
pub(super) fn take_overs(rig: &Rig<'_>, mut leader: Webhook) -> Result<()> {
    let mut took = Vec::new();
    for number in 0..DEATHS {
        let next = rig.replica(&format!("replica-{}", number + 1))?;
        wait_for_role(&next, false)?;
        wait_for_role(&leader, true)?;
        let died = Instant::now();
        leader.signal("KILL")?;
        rig.runtime.block_on(secret_changed(rig, number, 3))?;
        took.push(died.elapsed());
        leader = next;
    }
    times(
        "the leader killed to the next change published",
        &took,
        None,
    );
    Ok(())
}
