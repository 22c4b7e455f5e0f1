//! One replica runs the controllers.
//!
//! Admission never waits for it. Should two replicas lead for a moment, they write the same.

use std::sync::Arc;
use std::time::Duration;

use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio::time::sleep;

use super::{Controllers, namespaces};
use crate::kubernetes::trouble;
use crate::names;

/// Seconds for which nobody else leads after the leader was last heard of.
const LEASE: u64 = 6;

/// Seconds before its end at which the leader renews its lease.
const GRACE: u64 = 2;

/// How long to wait before the lease is asked for again, at first and at the most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Runs the controllers whenever this replica leads. Ends only when its task is cancelled.
pub async fn run(controllers: Controllers) {
    let controllers = Arc::new(controllers);
    let mut pause = RETRY.0;
    let mut said = String::new();
    loop {
        match lead(&controllers).await {
            Ok(()) => {
                pause = RETRY.0;
                said.clear();
            }
            Err(why) => {
                if why != said {
                    tracing::error!(why, "cannot have Lease {}; no controllers run", names::APP);
                    said = why;
                }
                pause = (pause * 2).min(RETRY.1);
            }
        }
        controllers.metrics.leader.set(0);
        sleep(pause).await;
    }
}

/// Leads for as long as it may, again and again; returns when the lease cannot be had, and why, or
/// cannot be kept.
async fn lead(controllers: &Arc<Controllers>) -> Result<(), String> {
    let settings = &controllers.settings;
    let lease = LeaseManagerBuilder::new(controllers.client.clone(), names::APP)
        .with_namespace(&settings.namespace)
        .with_identity(&settings.identity)
        .with_duration(LEASE)
        .with_grace(GRACE)
        .with_field_manager(names::FIELD_MANAGER);
    let lease = lease.build().await.map_err(|error| match error {
        LeaseManagerError::KubeError(error) => trouble::reason(&error).message,
        error => error.to_string(),
    })?;
    // To drop `leads` gives the lease back.
    let (mut leads, _renewing) = lease.watch().await;
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return Ok(());
        }
        tracing::info!(identity = settings.identity, "leading");
        controllers.metrics.leader.set(1);
        let mut until = leads.clone();
        tokio::select! {
            () = namespaces::run(controllers) => {}
            lost = until.wait_for(|leads| !leads) => if lost.is_err() {
                return Ok(());
            },
        }
        tracing::info!(identity = settings.identity, "leading no more");
        controllers.metrics.leader.set(0);
    }
}
