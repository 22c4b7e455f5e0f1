//! Other writers of the ConfigMap with the name of the bundle.

use super::{Steady, times};
use crate::bundle::{BUNDLE, PATIENCE, holds, location, location_with, secret};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::Instant;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// Any change to the bundle by a user or a GitOps tool is soon undone, with one write each.
pub(super) fn touched(steady: &Steady) -> Result<()> {
    let namespace = "touched";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let ca = Authority::new("touched")?.pem();
    secret(kubectl, namespace, &ca)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &ca)?;
    steady.has_issues(namespace, &[])?;
    let good = essence(&servers.bundle(namespace)?);
    let object = ["configmap", BUNDLE, "-n", namespace];
    let label = [&["label"], &object[..], &["app.kubernetes.io/managed-by-"]].concat();
    let annotations = good["annotations"].as_object().context("no annotations")?;
    let removed: Vec<_> = annotations.keys().map(|key| format!("{key}-")).collect();
    let removed: Vec<_> = removed.iter().map(String::as_str).collect();
    let annotate = [&["annotate"], &object[..], &removed[..]].concat();
    let other = r#"{"data": {"ca-bundle.crt": "", "other": "x"}}"#;
    let patch = [&["patch"], &object[..], &["--patch", other]].concat();
    let delete = [&["delete"], &object[..]].concat();
    for touch in [label, annotate, patch, delete] {
        let what = touch[0].to_owned();
        let wrote = || steady.of_bundle("PATCH", namespace).len();
        let before = wrote();
        kubectl.ok(&touch)?;
        let began = Instant::now();
        wait::poll("the bundle as it was", PATIENCE, || {
            let now = essence(&servers.bundle(namespace)?);
            ensure!(now == good, "{}", now["annotations"]);
            Ok(())
        })
        .with_context(|| format!("{touch:?}"))?;
        let wrote = wrote() - before;
        eprintln!(
            "touched: {what}: restored after {:.1?}, {wrote} writes",
            began.elapsed()
        );
        // An additional key takes a second write.
        ensure!(wrote <= 2, "{wrote} writes");
    }
    Ok(())
}

/// Returns the content of a bundle without what the API server adds.
fn essence(map: &Value) -> Value {
    let metadata = &map["metadata"];
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        // When the bundle is recreated, all its certificates are newly added.
        annotations.remove("velero-trust.io/last-added");
    }
    json!({"annotations": annotations, "labels": metadata["labels"], "data": map["data"]})
}

/// Somebody makes the bundle immutable. This is reported with the fix, and the fix works.
pub(super) fn immutable(steady: &Steady) -> Result<()> {
    let namespace = "immutable";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let [old, new] = [Authority::new("old")?.pem(), Authority::new("new")?.pem()];
    secret(kubectl, namespace, &old)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &old)?;
    let object = ["configmap", BUNDLE, "-n", namespace];
    let patch = ["--patch", r#"{"immutable": true}"#];
    kubectl.ok(&[&["patch"], &object[..], &patch].concat())?;
    let says = "is immutable";
    steady.has_issues(namespace, &[says])?;
    let before = essence(&servers.bundle(namespace)?);
    let (made, wrote) = (
        steady.made(namespace),
        steady.of_bundle("PATCH", namespace).len(),
    );
    secret(kubectl, namespace, &new)?;
    steady.made_often(namespace, made + 1)?;
    steady.has_issues(namespace, &[says])?;
    let event = wait::poll("the Event", PATIENCE, || {
        let events = kubectl.get(&["events.events.k8s.io", "-n", namespace])?;
        let all = events["items"].as_array().cloned().unwrap_or_default();
        let mut all = all.into_iter();
        let it = all.find(|event| event["reason"] == "CABundleImmutable");
        it.context("none")
    })?;
    ensure!(event["note"].to_string().contains("delete it"), "{event}");
    // Not even the annotations, which would describe other content.
    let now = essence(&servers.bundle(namespace)?);
    ensure!(now == before, "{}", now["annotations"]);
    let more = steady.of_bundle("PATCH", namespace).split_off(wrote);
    ensure!(more.is_empty(), "it was tried: {more:?}");

    // The fix that the Event suggests.
    kubectl.ok(&[&["delete"], &object[..]].concat())?;
    let bundle = holds(kubectl, namespace, &new)?;
    ensure!(
        crate::bundle::squeezed(&bundle).contains(&crate::bundle::squeezed(&old)),
        "what is retained is gone"
    );
    steady.has_issues(namespace, &[])
}

/// A ConfigMap of others is never overwritten, however often it changes. This is reported once, in
/// two places.
pub(super) fn foreign(steady: &Steady) -> Result<()> {
    let namespace = "foreign";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let create = ["create", "configmap", BUNDLE, "-n", namespace];
    kubectl.ok(&[&create[..], &["--from-literal=ca-bundle.crt=mine"]].concat())?;
    let ca = Authority::new("kept out")?.pem();
    kubectl.apply(&location_with(namespace, "one", &ca).to_string())?;
    steady.has_issues(namespace, &["is not velero-trust's; it is left alone"])?;
    let events = || -> Result<Vec<Value>> {
        let events = kubectl.get(&["events.events.k8s.io", "-n", namespace])?;
        let all = events["items"].as_array().cloned().unwrap_or_default();
        let is_ours = |event: &Value| event["reason"] == "CABundleNotOwned";
        let ours = all.into_iter().filter(is_ours);
        Ok(ours.collect())
    };
    let event = wait::poll("the Event", PATIENCE, || events()?.pop().context("none"))?;
    ensure!(event["regarding"]["name"] == BUNDLE, "{event}");

    let (began, made) = (Instant::now(), steady.made(namespace));
    for number in 0..20 {
        let patch = json!({"data": {"ca-bundle.crt": format!("mine {number}")}}).to_string();
        let patch = ["--patch", patch.as_str()];
        kubectl.ok(&[&["patch", "configmap", BUNDLE, "-n", namespace], &patch[..]].concat())?;
    }
    steady.made_often(namespace, made + 1)?;
    let made = steady.made(namespace) - made;
    ensure!(
        made <= times(began.elapsed(), super::DEBOUNCE) + 1,
        "looked {made} times"
    );
    let map = servers.bundle(namespace)?;
    ensure!(map["data"]["ca-bundle.crt"] == "mine 19", "{}", map["data"]);
    let wrote = steady.of_bundle("PATCH", namespace);
    ensure!(wrote.is_empty(), "it was written: {wrote:?}");
    let count = events()?.len();
    ensure!(count == 1, "{count} Events");

    // The fix that the Event suggests.
    kubectl.ok(&["delete", "configmap", BUNDLE, "-n", namespace])?;
    holds(kubectl, namespace, &ca)?;
    steady.has_issues(namespace, &[])
}
