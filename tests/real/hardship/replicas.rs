//! Two replicas, of which one leads.

use crate::bundle::{PATIENCE, holds, location_with};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

const NAMESPACE: &str = "default";

/// The leader dies without a word; the other takes over and knows what the first one knew.
pub(super) fn takeover() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let [before, after] = [
        Authority::new("before")?.pem(),
        Authority::new("after")?.pem(),
    ];
    let mut first = servers.replica_beside("first")?;
    leads(&first)?;
    let second = servers.replica_beside("second")?;
    kubectl.apply(&location_with(NAMESPACE, "before", &before).to_string())?;
    holds(kubectl, NAMESPACE, &before)?;
    ensure!(second.events("leading").is_empty(), "both lead");
    kubectl.ok(&["delete", "bsl", "before", "-n", NAMESPACE])?;
    super::comes_from(&servers, NAMESPACE, "retained=1")?;

    first.signal("KILL")?;
    first.ended(PATIENCE)?;
    let began = Instant::now();
    kubectl.apply(&location_with(NAMESPACE, "after", &after).to_string())?;
    leads(&second)?;
    holds(kubectl, NAMESPACE, &after).with_context(|| second.log())?;
    eprintln!("takeover: the bundle after {:.1?}", began.elapsed());
    super::comes_from(&servers, NAMESPACE, "locations=1 retained=1")?;
    Ok(())
}

fn leads(replica: &Webhook) -> Result<()> {
    wait::poll("the replica to lead", PATIENCE, || {
        ensure!(!replica.events("leading").is_empty(), "it does not");
        Ok(())
    })
    .with_context(|| replica.log())
}
