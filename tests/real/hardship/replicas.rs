//! Two replicas, one of which is the leader.

use crate::bundle::{PATIENCE, holds, location_with};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use std::time::Instant;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

const NAMESPACE: &str = "default";

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/velero-trust/leases/velero-trust";

/// The leader is killed. The other replica takes over with the state of the first one.
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

/// Requests of the leader for the Lease hang while everything else works: it stops leading before
/// the other replica starts, and can lead again when that one is gone.
pub(super) fn hung() -> Result<()> {
    let servers = Servers::start()?;
    let proxy = servers.proxy()?;
    let first = servers.replica_behind(&proxy, &[])?;
    leads(&first)?;
    let mut second = servers.replica_beside("second")?;
    proxy.hold(None, LEASE);
    leads(&second)?;
    ensure!(proxy.held() > 0, "nothing was held");
    let ended = at(&first, "leading no more").with_context(|| first.log())?;
    let began = at(&second, "leading")?;
    eprintln!("hung: ended at {ended}, the other began at {began}");
    ensure!(ended < began, "both led: until {ended} and from {began}");

    proxy.heal();
    second.signal("KILL")?;
    second.ended(PATIENCE)?;
    wait::poll("the first to lead again", 2 * PATIENCE, || {
        let led = first.events("leading").len();
        ensure!(led == 2, "it led {led} times");
        Ok(())
    })
    .with_context(|| first.log())
}

/// Returns when `message` was first logged.
fn at(replica: &Webhook, message: &str) -> Result<Timestamp> {
    let events = replica.events(message);
    let event = events.first().with_context(|| format!("no `{message}`"))?;
    let at = event["timestamp"].as_str().context("no time")?;
    Ok(at.parse()?)
}

fn leads(replica: &Webhook) -> Result<()> {
    wait::poll("the replica to lead", PATIENCE, || {
        ensure!(!replica.events("leading").is_empty(), "it does not");
        Ok(())
    })
    .with_context(|| replica.log())
}
