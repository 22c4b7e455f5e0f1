//! A leader whose connections to the API server go silent.

use crate::bundle::location_with;
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// A silent watch is given up after 45 s (docs/limits.md), and a request on another silent connection
/// after 15 s more. The build needs time too.
const PATIENCE: Duration = Duration::from_secs(45 + 30);

/// Connections of a leader at rest: its watches, and those for the Lease and other requests.
const FEWEST_CONNECTIONS: usize = 5;

/// Every connection that is open takes what is sent to it, answers nothing and is not closed. The
/// leader stays the leader, and hears of a new location of a namespace that it knows, and of one
/// that it does not.
pub(super) fn silent() -> Result<()> {
    let servers = Servers::start()?;
    let proxy = servers.proxy()?;
    let replica = servers.replica_behind(&proxy, &[])?;
    let [first, second, third] = ["first", "second", "third"].map(Authority::new);
    let [first, second, third] = [first?.pem(), second?.pem(), third?.pem()];
    servers
        .kubectl
        .apply(&location_with("default", "first", &first).to_string())?;
    crate::bundle::holds(&servers.kubectl, "default", &first).with_context(|| replica.log())?;
    servers.namespace("new")?;

    proxy.silence();
    let began = Instant::now();
    servers
        .kubectl
        .apply(&location_with("default", "second", &second).to_string())?;
    servers
        .kubectl
        .apply(&location_with("new", "third", &third).to_string())?;
    wait::poll("the connections to be silent", PATIENCE, || {
        let silent = proxy.silent();
        ensure!(silent >= FEWEST_CONNECTIONS, "{silent} are");
        Ok(())
    })?;
    for (namespace, pem) in [("default", &second), ("new", &third)] {
        let left = PATIENCE.saturating_sub(began.elapsed());
        wait::poll("the bundle to hold the new CA", left, || {
            let map = servers.bundle(namespace)?;
            let text = map["data"]["ca-bundle.crt"].as_str().context("no bundle")?;
            let [text, pem] = [text, pem].map(crate::bundle::squeezed);
            ensure!(text.contains(&pem), "it does not");
            Ok(())
        })
        .with_context(|| format!("in {namespace}: {}", replica.log()))?;
        eprintln!(
            "silent: {} connections; the bundle of {namespace} after {:.1?}",
            proxy.silent(),
            began.elapsed()
        );
    }
    // To lead again would have begun all watches anew.
    let led = replica.events("leading").len();
    ensure!(led == 1, "it led {led} times: {}", replica.log());
    Ok(())
}
