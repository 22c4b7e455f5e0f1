//! Namespaces that are no longer Velero namespaces.

use super::memory::{name, remember, remembered};
use super::{Steady, comes_from};
use crate::bundle::{BUNDLE, PATIENCE, holds, location, location_with, secret};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::time::Duration;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{installer, wait};

const LOCATIONS: &str = "/apis/velero.io/v1/backupstoragelocations";

/// A namespace is a Velero namespace again before its clean-up is complete: its new report is not
/// removed with the old one.
pub(super) fn back(steady: &Steady) -> Result<()> {
    let namespace = "back";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    let come = || location(kubectl, namespace);
    let leave = || -> Result<()> {
        kubectl.ok(&["delete", "bsl", "minio", "-n", namespace])?;
        kubectl.ok(&["delete", "configmap", BUNDLE, "-n", namespace])?;
        Ok(())
    };
    let metric = format!(r#"velero_trust_held{{namespace="{namespace}"}} 0"#);
    let told = || -> Result<()> {
        servers.report(namespace)?;
        let metrics = steady.replica.metrics()?;
        ensure!(metrics.contains(&metric), "{metrics}");
        servers.bundle(namespace).map(drop)
    };
    servers.namespace(namespace)?;
    secret(kubectl, namespace, &Authority::new("back")?.pem())?;
    come()?;
    wait::poll("the report", PATIENCE, told)?;

    let report =
        format!("/api/v1/namespaces/velero-trust/configmaps/velero-trust-report.{namespace}");
    let held = steady.proxy.held();
    steady.proxy.hold(Some("DELETE"), &report);
    leave()?;
    wait::poll("the report to be withdrawn", PATIENCE, || {
        ensure!(steady.proxy.held() > held, "it is not");
        Ok(())
    })?;
    let wrote = steady.wrote("report", namespace);
    come()?;
    // A write now would be lost. There must be none, which can only be checked by waiting for some
    // time.
    let early = wait::poll("a report", 6 * super::REPORT_DEBOUNCE, || {
        ensure!(steady.wrote("report", namespace) > wrote, "none");
        Ok(())
    });
    steady.proxy.heal();
    wait::poll("the report to be written again", PATIENCE, || {
        let deleted = |seen: &velero_trust_testing::proxy::Seen| {
            seen.method == "DELETE" && seen.path == report
        };
        ensure!(!steady.proxy.seen(deleted).is_empty(), "not deleted yet");
        ensure!(steady.wrote("report", namespace) > wrote, "not written");
        Ok(())
    })?;
    wait::poll("report and metrics", PATIENCE, told)?;
    ensure!(early.is_err(), "two had this namespace at once");
    leave()?;
    wait::poll("both to go", PATIENCE, || {
        ensure!(servers.report(namespace).is_err(), "the report is there");
        let metrics = steady.replica.metrics()?;
        ensure!(!metrics.contains(&metric), "{metrics}");
        Ok(())
    })
}

/// Namespaces that were removed while there was no leader. Their reports are deleted at once, and
/// their stored state when it no longer retains anything.
pub(super) fn leavings() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let newer = r#"{"version":2,"more":[]}"#;
    let replica = servers.replica(&[])?;
    let cas = [
        Authority::new("stays")?.pem(),
        Authority::new("gone")?.pem(),
    ];
    for (namespace, ca) in ["stays", "gone"].into_iter().zip(&cas) {
        servers.namespace(namespace)?;
        secret(kubectl, namespace, ca)?;
        location(kubectl, namespace)?;
        holds(kubectl, namespace, ca)?;
        wait::poll("the report", PATIENCE, || servers.report(namespace))?;
        remembered(kubectl, namespace)?;
    }
    remember(kubectl, "strange", newer)?;
    drop(replica);
    kubectl.ok(&["delete", "bsl", "minio", "-n", "gone"])?;
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", "gone"])?;

    // As long as the locations are unknown, no namespace counts as removed.
    let proxy = servers.proxy()?;
    proxy.refuse("GET", LOCATIONS, 500)?;
    let replica = servers.replica_behind(&proxy, &[])?;
    wait::poll("attempts", PATIENCE, || {
        let seen = proxy.seen(|seen| seen.path == LOCATIONS).len();
        ensure!(seen >= 3, "{seen}");
        Ok(())
    })?;
    servers.report("gone").context("nothing was known")?;
    proxy.heal();
    wait::poll("the report to go", Duration::from_mins(1), || {
        ensure!(servers.report("gone").is_err(), "it is there");
        Ok(())
    })
    .with_context(|| replica.log())?;
    wait::poll("the memory to retain", PATIENCE, || {
        let memory: Value = serde_json::from_str(&remembered(kubectl, "gone")?)?;
        let retained = memory["retained"].as_array().map_or(0, Vec::len);
        ensure!(retained == 1 && memory["locations"].is_null(), "{memory}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    servers.report("stays")?;
    // The namespace comes back with its retained CA.
    let other = Authority::new("other")?.pem();
    kubectl.apply(&location_with("gone", "other", &other).to_string())?;
    comes_from(&servers, "gone", "locations=1 retained=1").with_context(|| replica.log())?;
    kubectl.ok(&["delete", "bsl", "other", "-n", "gone"])?;
    drop(replica);
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", "gone"])?;

    let replica = servers.replica(&["--retention=0s"])?;
    wait::poll("the memory to go", PATIENCE, || {
        ensure!(!is_remembered(kubectl, "gone")?, "it is there");
        Ok(())
    })
    .with_context(|| replica.log())?;
    servers.report("stays")?;
    ensure!(is_remembered(kubectl, "stays")?, "the memory of another");
    ensure!(is_remembered(kubectl, "strange")?, "what we cannot read");
    Ok(())
}

fn is_remembered(kubectl: &Cli, namespace: &str) -> Result<bool> {
    let map = ["get", "configmap", &name(namespace), "--ignore-not-found"];
    let found = kubectl.ok(&[&map[..], &["-n", installer::NAMESPACE]].concat())?;
    Ok(!found.trim().is_empty())
}
