//! Secrets that change too often, or that several locations reference.

use super::{DEBOUNCE, REPORT_DEBOUNCE, Steady, comes_from, times};
use crate::bundle::{PATIENCE, holds, location, location_at, secret};
use anyhow::{Result, ensure};
use std::time::Instant;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

const FLAPS: usize = 100;

/// The bundle is not even written, and the work is bounded by time, not by the number of changes.
pub(super) fn flapping(steady: &Steady) -> Result<()> {
    let namespace = "flapping";
    let servers = &steady.servers;
    servers.namespace(namespace)?;
    let good = Authority::new("good")?.pem();
    secret(&servers.kubectl, namespace, &good)?;
    location(&servers.kubectl, namespace)?;
    holds(&servers.kubectl, namespace, &good)?;
    steady.has_issues(namespace, &[])?;
    let version = |of: &str| of.to_owned();
    let before = servers.bundle(namespace)?;
    let before = version(&before["metadata"]["resourceVersion"].to_string());
    let made = steady.made(namespace);
    let remembered = steady.wrote("memory", namespace);
    let reported = steady.wrote("report", namespace);

    let began = Instant::now();
    for flap in 0..FLAPS {
        servers.change_secret(namespace, "nonsense")?;
        // Make sure that some of the invalid Secrets are read.
        if flap % 20 == 0 {
            steady.has_issues(namespace, &["is broken, denied or not there"])?;
        }
        servers.change_secret(namespace, &good)?;
    }
    let flapped = began.elapsed();
    steady.has_issues(namespace, &[])?;
    let took = began.elapsed();

    let after = servers.bundle(namespace)?;
    let after = version(&after["metadata"]["resourceVersion"].to_string());
    ensure!(before == after, "the bundle was written");
    let made = steady.made(namespace) - made;
    let reported = steady.wrote("report", namespace) - reported;
    let remembered = steady.wrote("memory", namespace) - remembered;
    eprintln!(
        "flapping: {FLAPS} times in {flapped:.1?}: looked {made} times, reported {reported} times"
    );
    ensure!(
        made <= times(took, DEBOUNCE) + 1,
        "looked {made} times in {took:?}"
    );
    ensure!(
        reported <= times(took, REPORT_DEBOUNCE) + 1,
        "reported {reported} times"
    );
    ensure!(remembered == 0, "remembered {remembered} times");
    Ok(())
}

/// The CA counts once, and stays as long as one of the locations exists.
pub(super) fn shared(steady: &Steady) -> Result<()> {
    let namespace = "one-secret";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let ca = Authority::new("of both")?.pem();
    secret(kubectl, namespace, &ca)?;
    for name in ["one", "two"] {
        kubectl.apply(&location_at(namespace, name).to_string())?;
    }
    holds(kubectl, namespace, &ca)?;
    comes_from(servers, namespace, "locations=1")?;
    let delete = |name| kubectl.ok(&["delete", "bsl", name, "-n", namespace]);
    delete("one")?;
    wait::poll("the report without it", PATIENCE, || {
        let report = servers.report(namespace)?;
        ensure!(report["locations"]["one"].is_null(), "{report}");
        Ok(())
    })?;
    comes_from(servers, namespace, "locations=1")?;
    delete("two")?;
    comes_from(servers, namespace, "retained=1")?;
    holds(kubectl, namespace, &ca)?;
    kubectl.apply(&location_at(namespace, "three").to_string())?;
    comes_from(servers, namespace, "locations=1")?;
    Ok(())
}
