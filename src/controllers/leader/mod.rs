//! One replica runs the controllers.
//!
//! Admission never waits for it. A leader that cannot renew its Lease leads no more before another
//! may begin, as far as the clocks of their nodes agree. Should two replicas lead for a moment
//! nevertheless, they write the same.

use std::sync::Arc;
use std::time::Duration;

use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Controllers, namespaces};
use crate::kubernetes::error;
use crate::kubernetes::lease::{self, LastRenewal};
use crate::names;

/// Seconds for which nobody else leads after the leader was last heard of; as long as Kubernetes'
/// own controllers have it.
const LEASE_DURATION_SECONDS: u64 = 15;

/// Seconds before its end at which the leader renews its lease; early enough for a second attempt.
const RENEW_GRACE_SECONDS: u64 = 10;

/// After so long without a renewal the leader leads no more. kube-lease-manager alone would have it
/// lead for as long as nobody answers, and would go by a clock that may jump.
const RENEW_DEADLINE: Duration = Duration::from_secs(LEASE_DURATION_SECONDS - 2);

/// After so long without the lease everything about it is read anew. kube-lease-manager makes none
/// when somebody deleted it, and sleeps too long when our own clock went back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long to wait until the lease is given back.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait before the lease is asked for again, at first and at the most.
const MIN_BACKOFF: Duration = Duration::from_secs(1);

const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// Runs the controllers whenever this replica leads. Ends only when its task is cancelled.
pub async fn run(controllers: Controllers) {
    let controllers = Arc::new(controllers);
    let mut pause = MIN_BACKOFF;
    let mut last_error = String::new();
    loop {
        match lead(&controllers, ACQUIRE_TIMEOUT).await {
            Ok(()) => {
                pause = MIN_BACKOFF;
                last_error.clear();
            }
            Err(why) => {
                if why != last_error {
                    tracing::error!(why, "cannot have Lease {}; no controllers run", names::APP);
                    last_error = why;
                }
                pause = (pause * 2).min(MAX_BACKOFF);
            }
        }
        controllers.metrics.leader.set(0);
        sleep(pause).await;
    }
}

/// Leads for as long as it may, again and again; returns when the lease cannot be had, and why,
/// cannot be kept, or was not to be had for as long as `acquire_timeout`.
async fn lead(controllers: &Arc<Controllers>, acquire_timeout: Duration) -> Result<(), String> {
    let settings = &controllers.settings;
    let (client, mut renewed) = lease::client(controllers.lease.clone(), &settings.identity);
    let lease = LeaseManagerBuilder::new(client, names::APP)
        .with_namespace(&settings.namespace)
        .with_identity(&settings.identity)
        .with_duration(LEASE_DURATION_SECONDS)
        .with_grace(RENEW_GRACE_SECONDS);
    // Its field manager is another each time: of two that take the Lease at once one has a conflict.
    let lease = lease.build().await.map_err(|error| match error {
        LeaseManagerError::KubeError(error) => error::lookup_error(&error).message,
        error => error.to_string(),
    })?;
    // To drop `is_leader` gives the lease back.
    let (mut is_leader, mut renew_task) = lease.watch().await;
    loop {
        match timeout(acquire_timeout, is_leader.wait_for(|is_leader| *is_leader)).await {
            Ok(Ok(_)) => {}
            _ => return Ok(()),
        }
        // It may be our own of an earlier life, and nearly over.
        let fresh = async { renewed.wait_for(|at| is_fresh(*at)).await.is_ok() };
        match timeout(acquire_timeout, fresh).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Another may be answered sooner; who asks again later lets it have the lease.
            Err(_) => {
                drop(is_leader);
                release(&mut renew_task).await;
                return Err("nothing that is written to it is answered in time".to_owned());
            }
        }
        tracing::info!(identity = settings.identity, "leading");
        controllers.metrics.leader.set(1);
        let mut leadership = is_leader.clone();
        let mut is_overdue = false;
        tokio::select! {
            () = namespaces::run(controllers) => {}
            lost = leadership.wait_for(|is_leader| !is_leader) => if lost.is_err() {
                return Ok(());
            },
            () = renew_deadline_passed(&mut renewed) => {
                tracing::warn!(identity = settings.identity, "the Lease was not renewed in time");
                is_overdue = true;
            }
        }
        tracing::info!(identity = settings.identity, "leading no more");
        controllers.metrics.leader.set(0);
        if is_overdue {
            drop((is_leader, leadership));
            release(&mut renew_task).await;
            return Ok(());
        }
    }
}

/// Waits until the lease is given back, not for ever.
async fn release<T>(renew_task: &mut JoinHandle<T>) {
    if timeout(RELEASE_TIMEOUT, &mut *renew_task).await.is_err() {
        renew_task.abort();
    }
}

/// Ends when the lease was not renewed for as long as its leader may lead.
async fn renew_deadline_passed(renewed: &mut LastRenewal) {
    loop {
        let last = *renewed.borrow_and_update();
        let deadline = last.map_or_else(Instant::now, |last| last + RENEW_DEADLINE);
        tokio::select! {
            biased;
            changed = renewed.changed() => if changed.is_err() {
                return;
            },
            () = sleep_until(deadline) => return,
        }
    }
}

fn is_fresh(renewed: Option<Instant>) -> bool {
    renewed.is_some_and(|renewed| renewed.elapsed() < RENEW_DEADLINE)
}

#[cfg(test)]
mod tests;
