//! The bundle that a newly started replica builds.

use crate::bundle::{
    BUNDLE, PATIENCE, holds, location, location_at, location_with, secret, squeezed,
};
use crate::servers::Servers;
use crate::shared::alone;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use std::time::Duration;
use velero_trust::ca::bundle::mozilla;
use velero_trust::ca::common_roots::CommonRoots;
use velero_trust::kubernetes::bundle::{self, EnsureOutcome};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{installer, velero, wait};

pub(crate) const NAMESPACE: &str = "default";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("bundle::keeps_a_broken_ca_over_a_restart", over_a_restart),
        alone("bundle::does_not_wait_for_an_unknown_ca", an_unknown_ca),
        alone("bundle::begins_when_velero_comes", velero_comes),
        alone("bundle::a_baseline_is_held_where_velero_works", baseline),
    ]
}

fn over_a_restart() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    installer::bind(kubectl, NAMESPACE)?;
    let [broken, second, third] = [
        Authority::new("broken")?.pem(),
        Authority::new("second")?.pem(),
        Authority::new("third")?.pem(),
    ];
    secret(kubectl, NAMESPACE, &broken)?;
    location(kubectl, NAMESPACE)?;
    let replica = servers.replica(&[])?;
    holds(kubectl, NAMESPACE, &broken).with_context(|| replica.log())?;
    drop(replica);

    secret(kubectl, NAMESPACE, "nonsense")?;
    let replica = servers.replica(&["--retention=0s"])?;
    kubectl.apply(&location_with(NAMESPACE, "second", &second).to_string())?;
    let bundle = holds(kubectl, NAMESPACE, &second).with_context(|| replica.log())?;
    let has = |bundle: &str, pem: &str| squeezed(bundle).contains(&squeezed(pem));
    ensure!(has(&bundle, &broken), "the CA of the broken Secret is gone");

    // The CA is also stored in the namespace of velero-trust.
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", NAMESPACE])?;
    let bundle = holds(kubectl, NAMESPACE, &second).with_context(|| replica.log())?;
    ensure!(has(&bundle, &broken), "it is gone with the ConfigMap");

    // Once all CAs are known again, a CA without a reference is not kept.
    secret(kubectl, NAMESPACE, &third)?;
    holds(kubectl, NAMESPACE, &third).with_context(|| replica.log())?;
    let bundle = holds(kubectl, NAMESPACE, &second)?;
    ensure!(!has(&bundle, &broken), "it stays for ever");
    Ok(())
}

fn an_unknown_ca() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let [unknown, first, second] = [
        Authority::new("unknown")?.pem(),
        Authority::new("first")?.pem(),
        Authority::new("second")?.pem(),
    ];
    secret(kubectl, NAMESPACE, &unknown)?;
    location(kubectl, NAMESPACE)?;
    let replica = servers.replica(&[])?;
    for (name, pem) in [("first", &first), ("second", &second)] {
        kubectl.apply(&location_with(NAMESPACE, name, pem).to_string())?;
        holds(kubectl, NAMESPACE, pem)
            .with_context(|| name.to_owned())
            .with_context(|| replica.log())?;
    }
    // It keeps retrying but logs this only once.
    std::thread::sleep(Duration::from_secs(4));
    let told = replica.events("bundle not as it should be");
    ensure!(told.len() == 1, "not one line: {told:?}");
    let reason = told[0]["reason"].to_string();
    ensure!(reason.contains("create rolebinding"), "{reason}");

    installer::bind(kubectl, NAMESPACE)?;
    wait::poll("the CA that was unknown", 2 * PATIENCE, || {
        holds(kubectl, NAMESPACE, &unknown)
    })
    .with_context(|| replica.log())?;
    Ok(())
}

/// Velero's CustomResourceDefinitions are installed after velero-trust.
fn velero_comes() -> Result<()> {
    let servers = Servers::without_velero()?;
    let kubectl = &servers.kubectl;
    let label = [
        "label",
        "namespace",
        NAMESPACE,
        "velero-trust.io/velero=true",
    ];
    kubectl.ok(&label)?;
    let replica = servers.replica(&[])?;
    wait::poll("it to miss them", PATIENCE, || {
        let told = replica.events("cannot watch BackupStorageLocations");
        ensure!(!told.is_empty(), "{told:?}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    velero::apply_crds(kubectl)?;
    // The watch is retried after at most 30 seconds.
    wait::poll("the bundle", 3 * PATIENCE, || servers.bundle(NAMESPACE))
        .with_context(|| replica.log())?;
    wait::poll("a report of nothing", PATIENCE, || {
        servers.report(NAMESPACE)
    })?;
    let ca = Authority::new("late")?.pem();
    kubectl.apply(&location_with(NAMESPACE, "late", &ca).to_string())?;
    holds(kubectl, NAMESPACE, &ca).map(drop)
}

/// The webhook creates the bundle before the locations have been probed.
fn baseline() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    let base = CommonRoots {
        public: mozilla().into(),
        ..CommonRoots::default()
    };
    for (namespace, phase) in [("works", "Available"), ("fails", "Unavailable")] {
        kubectl.ok(&["create", "namespace", namespace])?;
        let mut location = location_at(namespace, "minio");
        location["status"] = json!({"phase": phase});
        kubectl.apply(&location.to_string())?;
        for dry_run in [true, false] {
            let ensured = bundle::ensure(
                &servers.client,
                installer::NAMESPACE,
                namespace,
                dry_run,
                &base,
            );
            let ensured = servers.runtime.block_on(ensured)?;
            let held = phase == "Available";
            ensure!(ensured == EnsureOutcome::Exists { held }, "{ensured:?}");
            ensure!(servers.bundle(namespace).is_ok() != dry_run, "{dry_run}");
        }
    }
    let hold = |namespace| {
        let bundle = servers.bundle(namespace)?;
        let hold = &bundle["metadata"]["annotations"]["velero-trust.io/hold"];
        anyhow::Ok(hold.as_str().map(str::to_owned))
    };
    let why = hold("works")?.context("it is not held")?;
    ensure!(why.contains("were not looked at yet"), "{why}");
    ensure!(hold("fails")?.is_none(), "it is held");

    // The store cannot be probed: a namespace whose locations work at first sight stays held.
    let replica = servers.replica(&[])?;
    wait::poll("the publisher's own word", PATIENCE, || {
        let why = hold("works")?.context("it is not held")?;
        ensure!(why.contains("BackupStorageLocation minio"), "{why}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    ensure!(hold("fails")?.is_none(), "it is held now");
    Ok(())
}
