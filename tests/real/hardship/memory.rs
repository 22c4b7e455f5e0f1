//! The stored state in the namespace of velero-trust: unexpected content, and restarts.

use super::{Steady, comes_from};
use crate::bundle::{BUNDLE, PATIENCE, holds, location, location_with, secret, squeezed};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{installer, wait};

/// Unreadable state is replaced. State of a newer version is not. The bundle is published in both
/// cases.
pub(super) fn strange(steady: &Steady) -> Result<()> {
    let servers = &steady.servers;
    let newer = r#"{"version":2,"more":[]}"#;
    for (namespace, text) in [("garbage", "}{"), ("newer", newer)] {
        servers.namespace(namespace)?;
        remember(&servers.kubectl, namespace, text)?;
        let ca = Authority::new(namespace)?.pem();
        secret(&servers.kubectl, namespace, &ca)?;
        location(&servers.kubectl, namespace)?;
        holds(&servers.kubectl, namespace, &ca).context(namespace)?;
    }
    let told = steady.replica.events("bundle not as it should be");
    let of_garbage = told.iter().find(|event| event["namespace"] == "garbage");
    let reason = of_garbage.context("nothing was said of the garbage")?["reason"].to_string();
    ensure!(
        reason.contains("it is not what velero-trust wrote"),
        "{reason}"
    );
    steady.has_issues("garbage", &[])?;
    let text = remembered(&servers.kubectl, "garbage")?;
    ensure!(text.starts_with(r#"{"version":1,"#), "{text}");

    let only = "it has version 2, and only version 1 is known";
    steady.has_issues("newer", &[only])?;
    // This holds for later attempts as well.
    steady.made_often("newer", 3)?;
    steady.has_issues("newer", &[only]).context("later")?;
    ensure!(
        remembered(&servers.kubectl, "newer")? == newer,
        "it was overwritten"
    );

    // The same without permission to read Secrets.
    servers.kubectl.ok(&["create", "namespace", "unbound"])?;
    secret(
        &servers.kubectl,
        "unbound",
        &Authority::new("unread")?.pem(),
    )?;
    location(&servers.kubectl, "unbound")?;
    steady.has_issues("unbound", &["kubectl -n unbound create rolebinding"])
}

/// Somebody deletes the stored state. The next change writes it again, with the same content.
pub(super) fn deleted(steady: &Steady) -> Result<()> {
    let namespace = "deleted-memory";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let [old, new, last] = [
        Authority::new("old")?.pem(),
        Authority::new("new")?.pem(),
        Authority::new("last")?.pem(),
    ];
    secret(kubectl, namespace, &old)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &old)?;
    servers.change_secret(namespace, &new)?;
    comes_from(servers, namespace, "locations=1 retained=1")?;

    let map = ["configmap", &name(namespace), "-n", installer::NAMESPACE];
    kubectl.ok(&[&["delete"], &map[..]].concat())?;
    servers.change_secret(namespace, &last)?;
    comes_from(servers, namespace, "locations=1 retained=2")?;
    wait::poll("the memory", PATIENCE, || {
        let text = remembered(kubectl, namespace)?;
        let memory: Value = serde_json::from_str(&text)?;
        let of = |key: &str| memory[key].as_array().map_or(0, Vec::len);
        let is_whole = (of("certificates"), of("retained")) == (3, 2);
        ensure!(is_whole, "{text}");
        Ok(())
    })?;
    steady.has_issues(namespace, &[])
}

/// What is stored is read again for every build, even if nothing is to be remembered that was not
/// before.
pub(super) fn read_again(steady: &Steady) -> Result<()> {
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    let newer = r#"{"version":2,"more":[]}"#;
    let [ca, planted] = [Authority::new("own")?.pem(), Authority::new("other")?.pem()];
    for (namespace, before) in [("gone-memory", None), ("later-memory", Some(newer))] {
        servers.namespace(namespace)?;
        if let Some(text) = before {
            remember(kubectl, namespace, text)?;
        }
        secret(kubectl, namespace, &ca)?;
        location(kubectl, namespace)?;
        holds(kubectl, namespace, &ca)?;
        wait::poll("the memory", PATIENCE, || remembered(kubectl, namespace))?;

        let map = ["configmap", &name(namespace), "-n", installer::NAMESPACE];
        kubectl.ok(&[&["delete"], &map[..]].concat())?;
        let remembers = || {
            let text = remembered(kubectl, namespace)?;
            ensure!(text.starts_with(r#"{"version":1,"#), "{text}");
            Ok(text)
        };
        build(kubectl, namespace)?;
        let text = wait::poll("the memory to be back", PATIENCE, remembers)
            .with_context(|| namespace.to_owned())?;
        steady.has_issues(namespace, &[])?;

        // Velero restores another one from a forged backup. The label comes with it: the watch would take the
        // content without it for what an operator wrote.
        let theirs = text.replace(&body(&ca), &body(&planted));
        ensure!(theirs != text, "{text}");
        let mut restored = memory(namespace, &theirs);
        restored["metadata"]["labels"] = json!({"velero.io/restore-name": "r"});
        apply(kubectl, &restored)?;
        build(kubectl, namespace)?;
        wait::poll("the memory to be ours", PATIENCE, || {
            let text = remembers()?;
            ensure!(!text.contains(&body(&planted)), "{text}");
            let map = kubectl.get(&map)?;
            let restored = &map["metadata"]["labels"]["velero.io/restore-name"];
            ensure!(restored.is_null(), "{map}");
            Ok(())
        })
        .with_context(|| namespace.to_owned())?;
        let bundle = servers.bundle(namespace)?;
        ensure!(!bundle.to_string().contains(&body(&planted)), "it is in");
    }
    Ok(())
}

/// Makes the bundle be built again, with nothing new in it.
fn build(kubectl: &Cli, namespace: &str) -> Result<()> {
    let strip = r#"{"metadata":{"annotations":{"velero-trust.io/certificates":null}}}"#;
    let map = ["patch", "configmap", BUNDLE, "-n", namespace];
    kubectl.ok(&[&map[..], &["--type=merge", "-p", strip]].concat())?;
    Ok(())
}

/// Returns the base64 of the only certificate in `pem`.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// The CA of a deleted location is kept for the retention, even across restarts.
pub(super) fn restarts() -> Result<()> {
    let servers = Servers::start()?;
    let (namespace, kubectl) = ("default", &servers.kubectl);
    installer::bind(kubectl, namespace)?;
    let [old, other, third] = [
        Authority::new("old")?.pem(),
        Authority::new("other")?.pem(),
        Authority::new("third")?.pem(),
    ];
    let replica = servers.replica(&[])?;
    secret(kubectl, namespace, &old)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &old)?;
    kubectl.ok(&["delete", "bsl", "minio", "-n", namespace])?;
    kubectl.ok(&["delete", "secret", "ca", "-n", namespace])?;
    comes_from(&servers, namespace, "retained=1").with_context(|| replica.log())?;
    drop(replica);

    let replica = servers.replica(&[])?;
    let inline = location_with(namespace, "other", &other);
    kubectl.apply(&inline.to_string())?;
    holds(kubectl, namespace, &other)?;
    holds(kubectl, namespace, &old).with_context(|| replica.log())?;
    comes_from(&servers, namespace, "locations=1 retained=1")?;
    drop(replica);

    // An operator removes it with `--retention=0s`.
    let replica = servers.replica(&["--retention=0s"])?;
    comes_from(&servers, namespace, "locations=1").with_context(|| replica.log())?;

    // The stored state is invalid and, at the same time, the Secret cannot be read: the CA is known
    // from the bundle only.
    secret(kubectl, namespace, &third)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &third).with_context(|| replica.log())?;
    drop(replica);
    let unbind = ["delete", "rolebinding", "velero-trust-secret-reader"];
    kubectl.ok(&[&unbind[..], &["-n", namespace]].concat())?;
    remember(kubectl, namespace, "}{")?;
    let replica = servers.replica(&["--retention=0s"])?;
    wait::poll("it to be left alone", PATIENCE, || {
        let report = servers.report(namespace)?;
        let issues = report["issues"].to_string();
        ensure!(issues.contains("the bundle is left as it is"), "{issues}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    let bundle = servers.bundle(namespace)?;
    let text = squeezed(bundle["data"]["ca-bundle.crt"].as_str().unwrap_or_default());
    ensure!(text.contains(&squeezed(&third)), "the CA is gone");
    installer::bind(kubectl, namespace)?;
    wait::poll("it to be well again", PATIENCE, || {
        let report = servers.report(namespace)?;
        ensure!(report["issues"].is_null(), "{report}");
        Ok(())
    })
    .with_context(|| replica.log())?;
    holds(kubectl, namespace, &third).map(drop)
}

pub(super) fn name(namespace: &str) -> String {
    format!("velero-trust-memory.{namespace}")
}

pub(super) fn remember(kubectl: &Cli, namespace: &str, text: &str) -> Result<()> {
    apply(kubectl, &memory(namespace, text))
}

fn memory(namespace: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": installer::NAMESPACE, "name": name(namespace)},
        "data": {"memory.json": text},
    })
}

fn apply(kubectl: &Cli, map: &Value) -> Result<()> {
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let output = kubectl.run_with_input(&apply, &map.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}

pub(super) fn remembered(kubectl: &Cli, namespace: &str) -> Result<String> {
    let map = ["configmap", &name(namespace), "-n", installer::NAMESPACE];
    let map: Value = kubectl.get(&map)?;
    let text = map["data"]["memory.json"].as_str();
    Ok(text.context("no memory in it")?.to_owned())
}
