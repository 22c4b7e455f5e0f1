//! Two Velero namespaces, and CAs that are added to all bundles.

use super::comes_from;
use crate::bundle::{PATIENCE, location, secret, squeezed};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{installer, scratch, wait};

/// Both namespaces have a Secret of the same name.
const BOTH: [&str; 2] = ["apart-a", "apart-b"];

const EXTRA: &str = "ConfigMap corp key ca.crt";

/// The CAs of one namespace never get into the bundle of the other: not by retention, not after a
/// restart, not when everything is deleted and recreated. CAs of the installation get into both.
pub(super) fn apart() -> Result<()> {
    let servers = Servers::start()?;
    let folder = scratch::folder("extra")?;
    let file = folder.path().join("extra.pem");
    let [of_a, of_b, next_of_a, last_of_a] = ["a", "b", "next a", "last a"].map(pem);
    let (of_a, of_b, next_of_a, last_of_a) = (of_a?, of_b?, next_of_a?, last_of_a?);
    let (in_file, labelled) = (pem("file")?, pem("labelled")?);
    fs::write(&file, &in_file)?;
    let extra = format!("--extra-ca={}", file.display());
    let replica = servers.replica(&[&extra])?;
    for (namespace, ca) in BOTH.into_iter().zip([&of_a, &of_b]) {
        servers.namespace(namespace)?;
        secret(&servers.kubectl, namespace, ca)?;
        location(&servers.kubectl, namespace)?;
    }
    let bundles = |a: &[&String], b: &[&String]| {
        let all = [&of_a, &of_b, &next_of_a, &last_of_a, &in_file, &labelled];
        has_exactly(&servers, BOTH[0], a, &all)?;
        has_exactly(&servers, BOTH[1], b, &all)
    };
    bundles(&[&of_a, &in_file], &[&of_b, &in_file]).with_context(|| replica.log())?;

    servers.change_secret(BOTH[0], &next_of_a)?;
    bundles(&[&of_a, &next_of_a, &in_file], &[&of_b, &in_file]).context("retained")?;
    comes_from(&servers, BOTH[0], "locations=1 extra=1 retained=1")?;
    comes_from(&servers, BOTH[1], "locations=1 extra=1")?;
    drop(replica);

    let replica = servers.replica(&[&extra])?;
    give(&servers, installer::NAMESPACE, &labelled)?;
    // A labelled ConfigMap in a Velero namespace is ignored.
    give(&servers, BOTH[0], &last_of_a)?;
    let b = [&of_b, &in_file, &labelled];
    bundles(&[&of_a, &next_of_a, &in_file, &labelled], &b).context("after a restart")?;
    all_of_a_again(&servers, &last_of_a)?;
    let a = [&of_a, &next_of_a, &last_of_a, &in_file, &labelled];
    bundles(&a, &b).context("made again")?;
    comes_from(&servers, BOTH[1], "locations=1 extra=2")?;

    file_changes(&servers, &replica, &file, &in_file).with_context(|| replica.log())?;
    extras(&servers, &replica, &labelled).with_context(|| replica.log())?;
    let a = [&of_a, &next_of_a, &last_of_a, &in_file];
    bundles(&a, &[&of_b, &in_file]).context("after all of that")?;
    drop(replica);

    // Nothing references the other CAs any longer, and nothing is retained.
    servers
        .kubectl
        .ok(&["delete", "configmap", "corp", "-n", installer::NAMESPACE])?;
    let replica = servers.replica(&["--retention=0s"])?;
    bundles(&[&last_of_a], &[&of_b]).with_context(|| replica.log())
}

/// Deletes everything in the first namespace, and recreates it with another CA.
fn all_of_a_again(servers: &Servers, ca: &str) -> Result<()> {
    let (kubectl, namespace) = (&servers.kubectl, BOTH[0]);
    for object in ["bsl/minio", "secret/ca", "configmap/velero-trust-ca"] {
        kubectl.ok(&["delete", object, "-n", namespace])?;
    }
    wait::poll("the namespace to be forgotten", PATIENCE, || {
        let report = servers.report(namespace);
        // It is no longer a Velero namespace, or its bundle was recreated first.
        let location = report.map(|report| report["locations"]["minio"].clone());
        ensure!(location.unwrap_or_default().is_null(), "it is still there");
        Ok(())
    })?;
    secret(kubectl, namespace, ca)?;
    location(kubectl, namespace)
}

/// A file of `--extra-ca` gets another CA, and then becomes invalid.
fn file_changes(servers: &Servers, replica: &Webhook, file: &Path, before: &String) -> Result<()> {
    let more = pem("more")?;
    fs::write(file, format!("{before}{more}"))?;
    for namespace in BOTH {
        has_exactly(servers, namespace, &[before, &more], &[])?;
    }
    fs::write(file, "nonsense")?;
    wait::poll("the fault in the log", PATIENCE, || {
        let told = replica.events("roots stay as they were");
        let error = told.last().context("nothing")?["error"].to_string();
        ensure!(error.contains("is no CA bundle"), "{error}");
        Ok(())
    })?;
    for namespace in BOTH {
        has_exactly(servers, namespace, &[before, &more], &[])?;
    }
    Ok(())
}

/// A labelled ConfigMap changes, becomes invalid and is removed.
fn extras(servers: &Servers, replica: &Webhook, labelled: &str) -> Result<()> {
    let next = pem("changed")?;
    give(servers, installer::NAMESPACE, &next)?;
    for namespace in BOTH {
        // Only what locations name is retained.
        has_exactly(servers, namespace, &[&next], &[&labelled.to_owned()])?;
    }
    give(servers, installer::NAMESPACE, "nonsense")?;
    wait::poll("the fault in the log", PATIENCE, || {
        let told = replica.events("extra CA left out, because it is broken");
        let told: Vec<_> = told.iter().filter(|one| one["extra"] == EXTRA).collect();
        ensure!(told.len() == 1, "{told:?}");
        Ok(())
    })?;
    for namespace in BOTH {
        wait::poll("the report to tell of it", PATIENCE, || {
            let issues = servers.report(namespace)?["issues"].to_string();
            let wanted = format!("the extra CA of {EXTRA} is broken");
            ensure!(issues.contains(&wanted), "{issues}");
            Ok(())
        })?;
        has_exactly(servers, namespace, &[&next], &[])?;
    }
    // When the label is removed, the ConfigMap is ignored.
    let unlabel = ["label", "configmap", "corp", "velero-trust.io/ca-"];
    let unlabel = [&unlabel[..], &["-n", installer::NAMESPACE]].concat();
    servers.kubectl.ok(&unlabel)?;
    for namespace in BOTH {
        wait::poll("the report without it", PATIENCE, || {
            let issues = &servers.report(namespace)?["issues"];
            ensure!(issues.is_null(), "{issues}");
            Ok(())
        })?;
        has_exactly(servers, namespace, &[], &[&next])?;
    }
    Ok(())
}

fn pem(name: &str) -> Result<String> {
    Ok(Authority::new(name)?.pem())
}

/// Creates a ConfigMap that is labelled as a CA for all bundles.
fn give(servers: &Servers, namespace: &str, content: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": namespace,
            "name": "corp",
            "labels": {"velero-trust.io/ca": "true"},
        },
        "data": {"ca.crt": content},
    });
    servers.kubectl.apply(&map.to_string())?;
    Ok(())
}

/// Waits until the bundle has `wanted`. Fails if it has another one of `all`.
fn has_exactly(
    servers: &Servers,
    namespace: &str,
    wanted: &[&String],
    all: &[&String],
) -> Result<()> {
    wait::poll(&format!("the bundle of {namespace}"), PATIENCE, || {
        let map = servers.bundle(namespace)?;
        let text = squeezed(map["data"]["ca-bundle.crt"].as_str().unwrap_or_default());
        let has = |pem: &String| text.contains(&squeezed(pem));
        let missing = wanted.iter().filter(|pem| !has(pem)).count();
        let others = all.iter().filter(|pem| has(pem) && !wanted.contains(pem));
        let others = others.count();
        ensure!(
            missing + others == 0,
            "{missing} are missing, {others} are too many"
        );
        Ok(())
    })
}
