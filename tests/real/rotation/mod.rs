//! The rotation of a store's CA without a failed backup, as described in `docs/rotation.md`:
//! backups run one after another in the real Velero during the steps of the rotation.

mod backups;

use crate::shared::{alone, binary};
use crate::story::{injected_into_server, wait_for_injection};
use anyhow::{Context as _, Result, bail, ensure};
use backups::Backups;
use k8s_openapi::api::core::v1::ConfigMap;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{kubelet, wait};

/// The locations, each with a bucket of the same name. The name says how the location references
/// the CA.
const LOCATIONS: [&str; 2] = ["by-annotation", "by-reference"];

/// The Secret that both reference.
const SECRET: &str = "store-ca";

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone("rotation::without_a_failed_backup", rotation)]
}

fn rotation() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_velero(VELERO_NAMESPACE, &[])?;
    let mut installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?.install()?;
    let names = ["first", "second", "third", "fourth"];
    let [first, second, third, fourth] = names.map(Authority::new);
    let authorities = [first?, second?, third?, fourth?];
    let outcome = rotate(&cluster, &mut installation, &authorities);
    outcome.with_context(|| format!("our log:\n{}", installation.webhook.log()))
}

fn rotate(
    cluster: &Cluster,
    installation: &mut Installation,
    [first, second, third, fourth]: &[Authority; 4],
) -> Result<()> {
    let minio = cluster.minio()?;
    minio.show_certificate_of(first)?;
    named(cluster, &[first])?;
    for name in LOCATIONS {
        minio.make_bucket(name)?;
        cluster
            .kubectl()
            .apply(&location(cluster, name)?.to_string())?;
    }
    in_bundle(cluster, &[first], &[])?;

    // A Pod created now mounts the bundle. Its files change when the trial writes them again.
    let kubectl = cluster.kubectl();
    kubectl.ok(&[
        "-n",
        VELERO_NAMESPACE,
        "rollout",
        "restart",
        "deployment/velero",
    ])?;
    wait_for_injection(cluster)?;
    let injected = injected_into_server(cluster)?;
    let mount = injected.mounts.get("/certs").context("no mount")?;
    let environment: Vec<_> = injected
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let server = cluster.start_velero(VELERO_NAMESPACE, &environment)?;
    for name in LOCATIONS {
        available(cluster, name).with_context(|| server.tail())?;
    }

    let began = Instant::now();
    let backups = Backups::of(cluster, &LOCATIONS);
    let ended = backups.run_while(|backups| {
        let step = |what: &str| {
            let ended = backups.wait_for(2 * LOCATIONS.len());
            eprintln!("rotation: {:5.1} s: {what}", began.elapsed().as_secs_f64());
            ended.context(what.to_owned())
        };
        step("the store shows the first CA's certificate, the Secret holds the first CA")?;
        named(cluster, &[first, second])?;
        in_bundle(cluster, &[first, second], &[])?;
        step("the Secret and the ConfigMap hold both")?;
        mounted(cluster, mount)?;
        step("the kubelet has laid out both")?;
        minio.show_certificate_of(second)?;
        step("the store shows the second CA's certificate")?;
        named(cluster, &[second])?;
        in_bundle(cluster, &[second], &[first])?;
        mounted(cluster, mount)?;
        step("the Secret holds the second CA, and the first is retained")?;

        // In the wrong order: the Secret is replaced in one step, before the certificate of the
        // store.
        named(cluster, &[third])?;
        in_bundle(cluster, &[third], &[first, second])?;
        step("the Secret holds the third CA only, the store still shows the second")?;
        mounted(cluster, mount)?;
        step("the kubelet has laid out what is retained too")?;
        minio.show_certificate_of(third)?;
        step("the store shows the third CA's certificate")
    })?;
    let failed: Vec<_> = ended
        .iter()
        .filter(|one| one.phase != "Completed")
        .collect();
    eprintln!(
        "rotation: {} of {} backups failed",
        failed.len(),
        ended.len()
    );
    ensure!(failed.is_empty(), "these failed: {failed:#?}");

    // Without retention, the same order of steps fails.
    installation.kill()?;
    installation.start_again(&["--retention=0s"])?;
    named(cluster, &[fourth])?;
    in_bundle(cluster, &[fourth], &[])?;
    mounted(cluster, mount)?;
    for name in LOCATIONS {
        let failure = backups.one(name, PATIENCE)?;
        ensure!(
            failure.phase != "Completed",
            "it passed without its CA: {failure:?}"
        );
        let why = unavailable(cluster, name).with_context(|| format!("{failure:?}"))?;
        eprintln!("rotation: {name}: {}: {why}", failure.phase);
    }
    Ok(())
}

/// Writes these CAs to the Secret.
fn named(cluster: &Cluster, authorities: &[&Authority]) -> Result<()> {
    let text: Vec<_> = authorities.iter().map(|one| one.pem()).collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": VELERO_NAMESPACE},
        "stringData": {"ca.crt": text.concat()},
    });
    cluster.kubectl().apply(&secret.to_string())?;
    Ok(())
}

fn location(cluster: &Cluster, name: &str) -> Result<Value> {
    let mut location = cluster.minio()?.location(VELERO_NAMESPACE, name, name);
    location["spec"]["validationFrequency"] = "1s".into();
    if name == "by-reference" {
        let reference = json!({"name": SECRET, "key": "ca.crt"});
        location["spec"]["objectStorage"]["caCertRef"] = reference;
    } else {
        let annotation = json!({"velero-trust.io/ca-secret": format!("{SECRET}/ca.crt")});
        location["metadata"]["annotations"] = annotation;
    }
    Ok(location)
}

fn bundle(cluster: &Cluster) -> Result<ConfigMap> {
    let map = ["configmap", "velero-trust-ca", "-n", VELERO_NAMESPACE];
    Ok(serde_json::from_value(cluster.kubectl().get(&map)?)?)
}

/// Waits until the bundle in the cluster holds exactly the CAs `named` by the locations, the
/// `retained` ones and public roots.
fn in_bundle(cluster: &Cluster, named: &[&Authority], retained: &[&Authority]) -> Result<()> {
    wait::poll("the bundle", PATIENCE, || {
        let map = bundle(cluster)?;
        let text = map.data.unwrap_or_default().remove("ca-bundle.crt");
        let text = text.context("no bundle in it")?;
        for authority in named.iter().chain(retained) {
            ensure!(text.contains(authority.pem().trim()), "one is missing");
        }
        let annotations = map.metadata.annotations.unwrap_or_default();
        let origins = annotations.get("velero-trust.io/origins");
        let origins: Vec<_> = origins.context("no origins")?.split(' ').collect();
        let mut wanted = vec![format!("locations={}", named.len())];
        if !retained.is_empty() {
            wanted.push(format!("retained={}", retained.len()));
        }
        let others = origins.iter().filter(|one| !one.starts_with("public="));
        ensure!(others.eq(wanted.iter()), "it has {origins:?}");
        Ok(())
    })
}

/// Updates the mounted files, as a kubelet does some time after the ConfigMap changed.
fn mounted(cluster: &Cluster, mount: &Path) -> Result<()> {
    let data = bundle(cluster)?.data.unwrap_or_default();
    kubelet::lay_out(mount, &data)?;
    let seen = fs::read_to_string(mount.join("ca-bundle.crt"))?;
    ensure!(
        data.get("ca-bundle.crt") == Some(&seen),
        "it was not laid out"
    );
    Ok(())
}

fn status(cluster: &Cluster, location: &str) -> Result<Value> {
    let object = cluster
        .kubectl()
        .get(&["bsl", location, "-n", VELERO_NAMESPACE])?;
    Ok(object["status"].clone())
}

fn available(cluster: &Cluster, location: &str) -> Result<()> {
    wait::poll("the location to be available", PATIENCE, || {
        let status = status(cluster, location)?;
        ensure!(status["phase"] == "Available", "{status}");
        Ok(())
    })
}

/// Waits until Velero reports that it cannot use a location because of its certificate.
fn unavailable(cluster: &Cluster, location: &str) -> Result<String> {
    wait::poll("the location to be unavailable", PATIENCE, || {
        let status = status(cluster, location)?;
        let Some(why) = status["message"].as_str() else {
            bail!("{status}");
        };
        let x509 = "x509: certificate signed by unknown authority";
        ensure!(why.contains(x509), "{why}");
        Ok(x509.to_owned())
    })
}
