//! Leader election: one replica runs the controllers.
//!
//! Admission never waits for the leader. A leader that cannot renew its Lease stops before another
//! replica may start to lead, as far as the clocks of their nodes agree. If two replicas lead for a
//! moment nevertheless, they write the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{ControllerContext, namespaces};
use crate::kubernetes::error;
use crate::kubernetes::lease::{self, LastRenewal};
use crate::names;
use crate::telemetry::LogOnce;

/// Seconds after the last renewal in which no other replica may lead. Kubernetes' own controllers
/// use the same.
const LEASE_DURATION_SECONDS: u64 = 15;

/// Seconds before the Lease expires at which the leader renews it: early enough for a second
/// attempt.
const RENEW_GRACE_SECONDS: u64 = 10;

/// Time after the last renewal at which the leader stops. kube-lease-manager alone would let it
/// lead for as long as the API server does not answer, and relies on a clock that may jump.
const RENEW_DEADLINE: Duration = Duration::from_secs(LEASE_DURATION_SECONDS - 2);

/// Longest wait for the Lease before the election starts over. kube-lease-manager does not create
/// the Lease again after somebody deleted it, and sleeps too long after our own clock was set back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// Time between two looks at whether the holder released the Lease. kube-lease-manager would wait until it
/// expires.
const RELEASE_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time to release the Lease.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// First pause after a failure to get the Lease.
const MIN_BACKOFF: Duration = Duration::from_secs(1);

/// Longest pause after failures to get the Lease.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// Runs the controllers whenever this replica leads, until `draining` is ready. A replica that drains
/// releases the Lease, and does not take it any more: it would lead for as long as its last
/// connections last. Ends only when its task is cancelled.
pub async fn run(controllers: ControllerContext, draining: impl Future<Output = ()>) {
    let controllers = Arc::new(controllers);
    // Dropping the election releases the Lease.
    tokio::select! {
        biased;
        () = draining => {}
        never = elect(&controllers) => match never {},
    }
    controllers.metrics.leader.set(0);
    tracing::info!(
        identity = controllers.settings.identity,
        "draining: this replica does not lead any more"
    );
    std::future::pending::<()>().await;
}

/// Leads whenever this replica holds the Lease.
async fn elect(controllers: &Arc<ControllerContext>) -> Infallible {
    let mut pause = MIN_BACKOFF;
    let mut failures = LogOnce::default();
    loop {
        match lead(controllers, ACQUIRE_TIMEOUT).await {
            Ok(()) => {
                pause = MIN_BACKOFF;
                failures.clear();
            }
            Err(why) => {
                if failures.is_new(&why) {
                    tracing::error!(
                        why,
                        "cannot acquire Lease {}; no controllers run",
                        names::APP
                    );
                }
                pause = (pause * 2).min(MAX_BACKOFF);
            }
        }
        controllers.metrics.leader.set(0);
        sleep(pause).await;
    }
}

/// Waits for the Lease and leads while it holds it, again and again. Returns `Ok` if the Lease was
/// lost or could not be acquired within `acquire_timeout`, and the reason if the election failed.
async fn lead(
    controllers: &Arc<ControllerContext>,
    acquire_timeout: Duration,
) -> Result<(), String> {
    let settings = &controllers.settings;
    let (client, mut renewed) = lease::client(controllers.lease.clone(), &settings.identity);
    let lease = LeaseManagerBuilder::new(client, names::APP)
        .with_namespace(&settings.namespace)
        .with_identity(&settings.identity)
        .with_duration(LEASE_DURATION_SECONDS)
        .with_grace(RENEW_GRACE_SECONDS);
    // Each manager has its own field manager, so that one of two replicas that take the Lease at
    // the same time gets a conflict.
    let lease = lease.build().await.map_err(|error| match error {
        LeaseManagerError::KubeError(error) => error::lookup_error(&error).message,
        error => error.to_string(),
    })?;
    // Dropping all receivers, this one and its clones, releases the Lease.
    let (mut is_leader, mut renew_task) = lease.watch().await;
    loop {
        let acquired = async { is_leader.wait_for(|is_leader| *is_leader).await.is_ok() };
        tokio::select! {
            acquired = timeout(acquire_timeout, acquired) => if acquired != Ok(true) {
                return Ok(());
            },
            // The next election takes it at once.
            () = released(controllers) => return Ok(()),
        }
        // The Lease may be that of an earlier process with this identity, and expire soon.
        let renewal = async { renewed.wait_for(|at| is_fresh(*at)).await.is_ok() };
        match timeout(acquire_timeout, renewal).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The API server may answer another replica: release the Lease, so that it can lead.
            Err(_) => {
                drop(is_leader);
                release(&mut renew_task).await;
                return Err("writes to it are not answered in time".to_owned());
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

/// Waits until nobody holds the Lease.
async fn released(controllers: &ControllerContext) {
    let leases =
        Api::<Lease>::namespaced(controllers.lease.clone(), &controllers.settings.namespace);
    loop {
        sleep(RELEASE_LOOK_INTERVAL).await;
        // What cannot be read is told by the election.
        if let Ok(Ok(lease)) = timeout(RELEASE_TIMEOUT, leases.get(names::APP)).await
            && lease
                .spec
                .is_some_and(|spec| spec.holder_identity.is_none())
        {
            return;
        }
    }
}

/// Waits for the release of the Lease, for a bounded time.
async fn release<T>(renew_task: &mut JoinHandle<T>) {
    if timeout(RELEASE_TIMEOUT, &mut *renew_task).await.is_err() {
        renew_task.abort();
    }
}

/// Waits until the Lease was not renewed for [`RENEW_DEADLINE`].
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
