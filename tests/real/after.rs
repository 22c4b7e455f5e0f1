//! Reports on a location after its admission, when its Secret or its store changes.

use crate::bundle::{PATIENCE, holds, location, secret, squeezed};
use crate::shared::{Shared, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{BUCKET, Cluster};
use velero_trust_testing::installer::{self, Installation};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed("after::a_secret_that_goes_is_told_and_takes_nothing", goes),
        shared.installed("after::a_ca_that_expires_is_told_when_it_does", expires),
        shared.installed("after::an_endpoint_that_does_not_match_is_told", endpoint),
    ]
}

fn goes(cluster: &Cluster, installation: &Installation) -> Result<()> {
    goes_and_comes(cluster, installation).with_context(|| installation.webhook.log())
}

fn goes_and_comes(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = cluster.namespace("goes")?;
    let kubectl = cluster.kubectl();
    installer::bind(kubectl, &namespace)?;
    let ca = Authority::new("goes")?.pem();
    secret(kubectl, &namespace, &ca)?;
    location(kubectl, &namespace)?;
    holds(kubectl, &namespace, &ca)?;
    let spec = spec(kubectl, &namespace)?;
    let metric = format!(
        r#"velero_trust_location_findings{{namespace="{namespace}",location="minio",rule="VT001"}} 1"#
    );

    kubectl.ok(&["delete", "secret", "ca", "-n", &namespace])?;
    told(kubectl, &namespace, &["CAInvalid", "VT001", "Secret"])?;
    says(cluster, &namespace, &["VT001"])?;
    let metrics = installation.webhook.metrics()?;
    ensure!(metrics.contains(&metric), "{metrics}");
    let bundle = holds(kubectl, &namespace, &ca).context("the last good CA")?;
    ensure!(squeezed(&bundle).contains(&squeezed(&ca)), "it is gone");

    // The Secret is back, but without a certificate: another rule applies.
    secret(kubectl, &namespace, "nonsense")?;
    told(kubectl, &namespace, &["VT010"])?;
    secret(kubectl, &namespace, &ca)?;
    wait::poll("the metric to go", PATIENCE, || {
        let metrics = installation.webhook.metrics()?;
        let of = format!(r#"location_findings{{namespace="{namespace}""#);
        ensure!(!metrics.contains(&of), "{metrics}");
        Ok(())
    })?;
    ensure!(
        self::spec(kubectl, &namespace)? == spec,
        "the location was edited"
    );
    Ok(())
}

fn expires(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("expires")?;
    let kubectl = cluster.kubectl();
    installer::bind(kubectl, &namespace)?;
    let lasting = Authority::new("lasting")?.pem();
    let short = Authority::for_seconds("short", 12)?.pem();
    secret(kubectl, &namespace, &format!("{lasting}{short}"))?;
    location(kubectl, &namespace)?;
    holds(kubectl, &namespace, &short)?;
    // Only time passes.
    told(kubectl, &namespace, &["CAExpiring", "VT020", "expired"])
}

fn endpoint(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("endpoint")?;
    let kubectl = cluster.kubectl();
    installer::bind(kubectl, &namespace)?;
    let minio = cluster.minio()?;
    secret(kubectl, &namespace, &Authority::new("another")?.pem())?;
    let mut mismatched = minio.location(&namespace, "minio", BUCKET);
    let annotation = json!({"velero-trust.io/ca-secret": "ca/ca.crt"});
    json_patch::merge(
        &mut mismatched,
        &json!({"metadata": {"annotations": annotation}}),
    );
    kubectl.apply(&mismatched.to_string())?;
    let words = [
        "EndpointUntrusted",
        "CA does not match the endpoint",
        "issuer",
        "caCertRef",
    ];
    told(kubectl, &namespace, &words)?;
    says(cluster, &namespace, &["untrusted"])?;

    secret(kubectl, &namespace, &minio.authority.pem())?;
    wait::poll("the endpoint to be trusted", PATIENCE, || {
        let status = status(cluster, &namespace)?;
        ensure!(
            !status.contains("untrusted") && status.contains("trusted"),
            "{status}"
        );
        Ok(())
    })
}

/// Waits until `kubectl describe` of the location shows all of `words`.
fn told(kubectl: &Cli, namespace: &str, words: &[&str]) -> Result<()> {
    wait::poll("the Event on the location", 2 * PATIENCE, || {
        let described = kubectl.ok(&["describe", "bsl", "minio", "-n", namespace])?;
        for word in words {
            ensure!(described.contains(word), "no `{word}` in {described}");
        }
        Ok(())
    })
}

/// Waits until `velero-trust status` shows all of `words`.
fn says(cluster: &Cluster, namespace: &str, words: &[&str]) -> Result<()> {
    wait::poll("the status", PATIENCE, || {
        let status = status(cluster, namespace)?;
        for word in words {
            ensure!(status.contains(word), "no `{word}` in {status}");
        }
        Ok(())
    })
}

fn status(cluster: &Cluster, namespace: &str) -> Result<String> {
    let command = Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?;
    let ran = command.run(&["status", "--velero-namespace", namespace])?;
    ensure!(ran.code != Some(2), "{ran:?}");
    Ok(ran.stdout)
}

fn spec(kubectl: &Cli, namespace: &str) -> Result<Value> {
    let location = kubectl.get(&["bsl", "minio", "-n", namespace])?;
    Ok(location["spec"].clone())
}
