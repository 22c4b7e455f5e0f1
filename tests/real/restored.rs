//! Changes to the bundle by others: the ConfigMap is restored if it is ours, and left alone
//! otherwise.

use crate::bundle::{BUNDLE, PATIENCE, holds, location_with, squeezed};
use crate::pods;
use crate::shared::Shared;
use crate::words::is_admitted;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::time::Duration;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::Installation;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed("bundle::is_restored_when_somebody_touches_it", restored),
        shared.installed("bundle::of_somebody_else_is_left_alone", foreign),
    ]
}

fn restored(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let kubectl = cluster.kubectl();
    let namespace = cluster.namespace("restored")?;
    let pem = Authority::new("restored")?.pem();
    let location = location_with(&namespace, "inline", &pem);
    kubectl.apply(&location.to_string())?;
    let text = holds(kubectl, &namespace, &pem)?;

    let restored = |what: &str| {
        let is_back = || {
            let map = read(kubectl, &namespace)?;
            let alone = map["data"] == json!({"ca-bundle.crt": text});
            ensure!(
                alone && map["binaryData"].is_null(),
                "it is this: {}",
                map["metadata"]
            );
            Ok(())
        };
        wait::poll(&format!("the bundle to be back, {what}"), PATIENCE, is_back)
            .with_context(|| installation.webhook.log())
    };
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", &namespace])?;
    restored("deleted")?;
    // Every file in the volume is read for certificates, so additional keys must be removed.
    for data in [
        json!({"data": {"ca-bundle.crt": "nothing"}}),
        json!({"data": {"other.crt": "more"}, "binaryData": {"third.crt": "AAAA"}}),
    ] {
        patch(kubectl, &namespace, &data)?;
        restored(&data.to_string())?;
    }
    Ok(())
}

fn foreign(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let kubectl = cluster.kubectl();
    let namespace = cluster.namespace("foreign")?;
    let own = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": BUNDLE},
        "data": {"ca-bundle.crt": "mine"},
    });
    kubectl.apply(&own.to_string())?;
    let before = read(kubectl, &namespace)?;
    let pem = Authority::new("foreign")?.pem();
    kubectl.apply(&location_with(&namespace, "inline", &pem).to_string())?;
    let told = || {
        let events = installation.webhook.events("bundle not as it should be");
        let here = events
            .into_iter()
            .filter(|event| event["namespace"] == namespace.as_str());
        here.collect::<Vec<_>>()
    };
    wait::poll("the log to tell of it", PATIENCE, || {
        ensure!(!told().is_empty(), "it does not");
        Ok(())
    })?;

    // A Pod cannot use it, and its owner gets a warning that says why.
    let pod = pods::one("server-install", &namespace)?.to_string();
    let output = kubectl.run_with_input(&["create", "-o", "json", "-f", "-"], &pod)?;
    is_admitted(
        &output,
        &["VT207", "is not velero-trust's", "delete it (keep a copy)"],
    )?;
    let pod: Value = serde_json::from_str(&output.stdout)?;
    ensure!(!pod.to_string().contains("/certs"), "it got a part: {pod}");

    // It is not overwritten later either: a second location is noticed but does not change it.
    let other = Authority::new("other")?.pem();
    kubectl.apply(&location_with(&namespace, "second", &other).to_string())?;
    patch(kubectl, &namespace, &json!({"data": {"more": "mine"}}))?;
    std::thread::sleep(Duration::from_secs(2));
    let after = read(kubectl, &namespace)?;
    ensure!(
        after["data"] == json!({"ca-bundle.crt": "mine", "more": "mine"}),
        "{after}"
    );
    ensure!(
        after["metadata"]["uid"] == before["metadata"]["uid"],
        "{after}"
    );
    let told = told();
    ensure!(
        told.len() == 1 && told[0]["level"] == "ERROR",
        "not one line: {told:?}"
    );

    // When it is deleted, the bundle is created.
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", &namespace])?;
    let bundle = holds(kubectl, &namespace, &pem)?;
    ensure!(squeezed(&bundle).contains(&squeezed(&other)), "not both");
    Ok(())
}

fn read(kubectl: &Cli, namespace: &str) -> Result<Value> {
    kubectl.get(&["configmap", BUNDLE, "-n", namespace])
}

fn patch(kubectl: &Cli, namespace: &str, patch: &Value) -> Result<()> {
    let patch = patch.to_string();
    let arguments = ["configmap", BUNDLE, "-n", namespace, "--type=merge", "-p"];
    kubectl.ok(&[&["patch"], &arguments[..], &[&patch]].concat())?;
    Ok(())
}
