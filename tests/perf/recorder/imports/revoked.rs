//! How soon the key of another cluster counts no more on all replicas, once it is revoked.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use velero_trust::kubernetes::crds::KeyState;
use velero_trust_testing::webhook::Webhook;

use super::super::scene::Scene;
use super::begin_restore;
use super::other::Other;
use crate::figures::{self, row};
use crate::restores::asking::Reviews;

/// Maximum time from the change of the TrustedKey to the first answer of each replica that lets nothing begin, in
/// seconds.
const REACHES: f64 = 5.0;

/// Longest time for it to be a refusal, and not to wait.
const PATIENCE: Duration = Duration::from_mins(5);

/// Pause between two reviews: one address may make so many look-ups a second.
const PAUSE: Duration = Duration::from_millis(250);

/// A replica, and when it let the Restore begin no more.
struct Replica {
    name: &'static str,
    reviews: Reviews,
    last_begun: Option<Duration>,
    not_begun: Option<Duration>,
    refused: Option<Duration>,
}

impl Replica {
    fn ask(&mut self, began: Instant) -> Result<()> {
        let begins = self.reviews.begin()?;
        let now = began.elapsed();
        ensure!(now < PATIENCE, "{}", self.reviews.answer());
        if begins {
            self.last_begun = Some(now);
            self.not_begun = None;
        } else {
            self.not_begun = self.not_begun.or(Some(now));
            // It waits first, while the leader closes the record.
            if self.reviews.is_refused() {
                self.refused = self.refused.or(Some(now));
            }
        }
        Ok(())
    }
}

/// Revokes the key while `leader` and another replica would let Velero begin a Restore.
pub(super) fn measure(scene: &Scene<'_>, leader: &Webhook) -> Result<()> {
    figures::head("Two replicas: the key is revoked");
    let another = scene.start_replica("another")?;
    let restore = scene.runtime.block_on(begin_restore(scene, "kept", 0))?;
    let ca = scene.ca_of_replicas()?;
    let mut replicas = Vec::new();
    for (name, replica) in [("the leader", leader), ("the other replica", &another)] {
        let mut reviews = Reviews::new(&ca, replica.address()?, restore.clone())?;
        reviews.until_ready()?;
        replicas.push(Replica {
            name,
            reviews,
            last_begun: None,
            not_begun: None,
            refused: None,
        });
    }
    let began = Instant::now();
    let revoked = Other::set_state(scene, KeyState::Revoked);
    scene.runtime.block_on(revoked)?;
    while replicas.iter().any(|replica| replica.refused.is_none()) {
        for replica in &mut replicas {
            replica.ask(began)?;
        }
        std::thread::sleep(PAUSE);
    }
    for replica in &replicas {
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        let row = |what: &str, time, limit| {
            row(
                &format!("{}: {what}", replica.name),
                seconds(time),
                "s",
                limit,
            );
        };
        row("last answer that lets it begin", replica.last_begun, None);
        row("first that does not", replica.not_begun, Some(REACHES));
        row("first that refuses it", replica.refused, None);
    }
    let active = Other::set_state(scene, KeyState::Active);
    scene.runtime.block_on(active)
}
