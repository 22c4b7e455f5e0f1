//! From `velero install` to a restore, with MinIO behind a CA that is only in the bundle.

use super::recorded::{install_ledger, wait_for_annotation};
use super::{
    at, ensure_passed, ensure_refused, get, injected_into_server, install, restore, velero,
    wait_for_injection, wait_for_phase,
};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::Installation;
use velero_trust_testing::wait;

/// The namespace that is backed up, deleted and restored.
const SHOP: &str = "shop";

pub(super) fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let installation = install(&cluster)?;
    whole_life(&cluster, &installation)
        .with_context(|| format!("our log:\n{}", installation.webhook.log()))
}

fn whole_life(cluster: &Cluster, installation: &Installation) -> Result<()> {
    name_the_ca_by_annotation(cluster)?;
    make_pods_again(cluster)?;
    without_us_the_store_is_not_trusted(cluster)?;

    let injected = wait_for_injection(cluster)?;
    let environment: Vec<_> = injected
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let server = cluster.start_velero(VELERO_NAMESPACE, &environment)?;
    wait_for_phase(cluster, "bsl", "default", "Available").with_context(|| server.tail())?;

    fill_shop(cluster)?;
    let arguments = [
        "backup",
        "create",
        "first",
        "--include-namespaces",
        SHOP,
        "--wait",
    ];
    ensure_passed("the backup", &velero(cluster, &arguments)?)?;
    wait_for_phase(cluster, "backup", "first", "Completed").with_context(|| server.tail())?;

    installation.renew_certificate()?;
    let refused = velero(
        cluster,
        &["restore", "create", "early", "--from-backup", "first"],
    )?;
    let reason = ["[VT101]", "velero-trust backup show first"];
    ensure_refused("a Restore of what is not recorded", &refused, &reason)?;
    install_ledger(cluster)?;
    wait_for_annotation(cluster, "first")?;

    let kubectl = cluster.kubectl();
    kubectl.ok(&["delete", "namespace", SHOP, "--timeout=60s"])?;
    let admitted = kubectl.create(&restore("recorded", "first"))?;
    ensure_passed("the Restore of what is recorded", &admitted)?;
    ensure!(admitted.stderr.is_empty(), "{}", admitted.stderr);
    wait_for_phase(cluster, "restore", "recorded", "Completed").with_context(|| server.tail())?;
    shop_is_back(cluster)
}

/// The spec of the location names no CA, as with Velero before 1.18.
fn name_the_ca_by_annotation(cluster: &Cluster) -> Result<()> {
    let minio = cluster.minio()?;
    let kubectl = cluster.kubectl();
    let (mut location, secret) = minio.location_by_annotation(VELERO_NAMESPACE, "default", BUCKET);
    let more = json!({"spec": {"default": true, "validationFrequency": "1s"}});
    merge(&mut location, &more);

    let refused = kubectl.create(&location.to_string())?;
    ensure_refused("a location whose Secret is absent", &refused, &["[VT001]"])?;
    kubectl.apply(&secret.to_string())?;
    ensure_passed("the location", &kubectl.create(&location.to_string())?)?;
    wait::poll("the CA in the bundle", wait::PATIENCE, || {
        let bundle = get(cluster, "configmap", "velero-trust-ca")?;
        let text = bundle
            .pointer("/data/ca-bundle.crt")
            .and_then(Value::as_str);
        let text = text.context("the ConfigMap has no ca-bundle.crt")?;
        ensure!(
            text.contains(minio.authority.pem().trim()),
            "it holds {} other certificates",
            text.matches("BEGIN").count()
        );
        Ok(())
    })
}

/// Pods created before velero-trust are not injected until they are recreated, as described in the
/// README.
fn make_pods_again(cluster: &Cluster) -> Result<()> {
    let before = injected_into_server(cluster)?;
    ensure!(
        before.variables.is_empty() && before.mounts.is_empty(),
        "a Pod from before the installation has {before:?}"
    );
    let workloads = ["deployment/velero", "daemonset/node-agent"];
    let restart = ["-n", VELERO_NAMESPACE, "rollout", "restart"];
    cluster.kubectl().ok(&[&restart[..], &workloads].concat())?;
    Ok(())
}

/// Shows that this server and this location fail without the injection. The steps below, with the
/// same two, therefore succeed because of the injected variables.
fn without_us_the_store_is_not_trusted(cluster: &Cluster) -> Result<()> {
    let server = cluster.start_velero(VELERO_NAMESPACE, &[])?;
    let location = wait_for_phase(cluster, "bsl", "default", "Unavailable");
    let location = location.with_context(|| server.tail())?;
    let status = at(&location, "/status").to_string();
    ensure!(
        status.contains("x509: certificate signed by unknown authority"),
        "it is unavailable for another reason: {status}"
    );
    Ok(())
}

fn fill_shop(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", SHOP])?;
    let in_shop = ["-n", SHOP, "create"];
    let map = ["configmap", "prices", "--from-literal=apple=3"];
    kubectl.ok(&[&in_shop[..], &map].concat())?;
    let secret = ["secret", "generic", "safe", "--from-literal=code=0815"];
    kubectl.ok(&[&in_shop[..], &secret].concat())?;
    Ok(())
}

fn shop_is_back(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let prices = kubectl.get(&["configmap", "prices", "-n", SHOP])?;
    ensure!(*at(&prices, "/data") == json!({"apple": "3"}), "{prices}");
    let safe = kubectl.get(&["secret", "safe", "-n", SHOP])?;
    // The base64 encoding of 0815.
    ensure!(
        *at(&safe, "/data") == json!({"code": "MDgxNQ=="}),
        "{}",
        at(&safe, "/metadata")
    );
    Ok(())
}
