//! Namespaces that are Velero's no more.

use super::Steady;
use crate::bundle::{BUNDLE, PATIENCE, location, secret};
use anyhow::{Result, ensure};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// It is back before we are done with it: what it is told of afterwards is not what ended.
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
    // Whoever writes now does so in vain. Nobody should, and that cannot be awaited.
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
