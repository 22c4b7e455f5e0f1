//! A Velero that works without velero-trust, because the CA of its store is in its own trust store
//! and no location names it. It keeps working, and an Event says what to do.

use super::{
    at, get, injected_into_server, install, velero_trust, wait_for_injection, wait_for_phase,
};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::Installation;
use velero_trust_testing::{scratch, wait};

/// The annotation of the bundle with the reason why its namespace is held.
const HOLD: &str = "/metadata/annotations/velero-trust.io~1hold";

/// Time limit for what the controllers do at once.
const SOON: Duration = wait::PATIENCE;

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let minio = cluster.minio()?;
    let mut location = minio.location(VELERO_NAMESPACE, "default", BUCKET);
    let default = json!({"spec": {"default": true, "validationFrequency": "1s"}});
    merge(&mut location, &default);
    cluster.kubectl().apply(&location.to_string())?;

    // Stands in for the trust store of the image or of the node.
    let folder = scratch::folder("trust-store")?;
    let own = folder.path().join("own.pem").display().to_string();
    fs::write(&own, minio.authority.pem())?;
    let system = ("SSL_CERT_FILE", own.as_str());
    let before = cluster.start_velero(VELERO_NAMESPACE, &[system])?;
    wait_for_phase(&cluster, "bsl", "default", "Available").with_context(|| before.tail())?;

    let installation = install(&cluster)?;
    let log = || format!("our log:\n{}", installation.webhook.log());
    is_held(&cluster, &installation).with_context(log)?;
    drop(before);
    works_still(&cluster, system).with_context(log)?;
    is_released(&cluster, &minio.authority.pem()).with_context(log)?;
    // What is injected into the Pod now is enough without the trust store.
    let injected = wait_for_injection(&cluster)?;
    let after = cluster.start_velero(VELERO_NAMESPACE, &borrowed(&injected.environment))?;
    validated_anew(&cluster, "Available").with_context(|| after.tail())
}

fn is_held(cluster: &Cluster, installation: &Installation) -> Result<()> {
    wait::poll("the namespace to be held", SOON, || {
        let bundle = get(cluster, "configmap", "velero-trust-ca")?;
        let why = at(&bundle, HOLD).as_str().context("no hold")?.to_owned();
        ensure!(
            why.contains("default") && why.contains("CA does not match the endpoint"),
            "{why}"
        );
        Ok(())
    })?;
    wait::poll("the Event", SOON, || {
        let described = ["describe", "bsl", "default", "-n", VELERO_NAMESPACE];
        let described = cluster.kubectl().ok(&described)?;
        for words in ["CAHeld", "no AWS_CA_BUNDLE", "Name its CA"] {
            ensure!(described.contains(words), "no `{words}` in {described}");
        }
        Ok(())
    })?;
    wait::poll("the status to say it", SOON, || {
        let status = velero_trust(cluster, &["status"])?;
        ensure!(status.code == Some(1), "{status:?}");
        for words in ["CA does not match the endpoint", "untrusted"] {
            ensure!(status.stdout.contains(words), "no `{words}`: {status:?}");
        }
        Ok(())
    })?;
    let metric = r#"velero_trust_held{namespace="velero"} 1"#;
    let metrics = installation.webhook.metrics()?;
    ensure!(metrics.contains(metric), "{metrics}");
    Ok(())
}

/// What is injected into a Pod of a held namespace does not break a working Velero. What is left
/// out would break it.
fn works_still(cluster: &Cluster, system: (&str, &str)) -> Result<()> {
    restart(cluster)?;
    let injected = wait::poll("a server Pod of the held namespace", SOON, || {
        let injected = injected_into_server(cluster)?;
        let variables: Vec<_> = injected.variables.keys().map(String::as_str).collect();
        ensure!(
            variables == ["SSL_CERT_DIR"],
            "the Pod was given {variables:?}"
        );
        Ok(injected)
    })?;
    let mut environment = borrowed(&injected.environment);
    environment.push(system);
    let held = cluster.start_velero(VELERO_NAMESPACE, &environment)?;
    validated_anew(cluster, "Available").with_context(|| held.tail())?;
    drop(held);

    let folder = injected.mounts.get("/certs").context("no mount")?;
    let bundle = folder.join("ca-bundle.crt").display().to_string();
    environment.push(("AWS_CA_BUNDLE", &bundle));
    let broken = cluster.start_velero(VELERO_NAMESPACE, &environment)?;
    validated_anew(cluster, "Unavailable").with_context(|| broken.tail())?;
    drop(broken);

    // The hold stays while the store is down for Velero.
    let bundle = get(cluster, "configmap", "velero-trust-ca")?;
    ensure!(at(&bundle, HOLD).is_string(), "released too early");
    Ok(())
}

/// The user does what the Event says.
fn is_released(cluster: &Cluster, ca: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "store-ca", "namespace": VELERO_NAMESPACE},
        "stringData": {"ca.crt": ca},
    });
    kubectl.apply(&secret.to_string())?;
    kubectl.ok(&[
        "-n",
        VELERO_NAMESPACE,
        "annotate",
        "bsl",
        "default",
        "velero-trust.io/ca-secret=store-ca/ca.crt",
    ])?;
    wait::poll("the namespace to be released", SOON, || {
        let bundle = get(cluster, "configmap", "velero-trust-ca")?;
        ensure!(at(&bundle, HOLD).is_null(), "{}", at(&bundle, HOLD));
        Ok(())
    })?;
    restart(cluster)
}

fn restart(cluster: &Cluster) -> Result<()> {
    let restart = ["rollout", "restart", "deployment/velero"];
    let namespace = ["-n", VELERO_NAMESPACE];
    cluster.kubectl().ok(&[&namespace[..], &restart].concat())?;
    Ok(())
}

/// Waits for a phase that results from a validation after this call.
fn validated_anew(cluster: &Cluster, phase: &str) -> Result<()> {
    let time = |location: &Value| at(location, "/status/lastValidationTime").to_string();
    let before = time(&get(cluster, "bsl", "default")?);
    wait::poll(&format!("a validation to say {phase}"), 3 * SOON, || {
        let location = get(cluster, "bsl", "default")?;
        let status = at(&location, "/status");
        ensure!(time(&location) != before, "no validation since: {status}");
        ensure!(at(status, "/phase") == phase, "{status}");
        Ok(())
    })
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let borrowed = environment.iter();
    borrowed
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
