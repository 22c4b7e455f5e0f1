//! Pods on the real API server: those that the controllers create, and one of every kind created by
//! hand. Which of them the webhook is called for proves the `matchConditions` of the manifests.

use crate::baseline;
use crate::shared::Shared;
use crate::words::is_admitted;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Deserializer, Value, json};
use std::collections::BTreeSet;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::Installation;
use velero_trust_testing::pods::{Fixture, fixtures};
use velero_trust_testing::wait;

/// Name of the injected volume and of its ConfigMap.
const BUNDLE: &str = "velero-trust-ca";
pub(crate) const MOUNT: &str = "/certs";
pub(crate) const VARIABLES: [(&str, &str); 2] = [
    ("AWS_CA_BUNDLE", "/certs/ca-bundle.crt"),
    ("SSL_CERT_DIR", "/certs:/etc/ssl/certs:/etc/pki/tls/certs"),
];

pub(crate) fn trials(shared: &Shared) -> Vec<Trial> {
    vec![
        shared.installed(
            "pods::of_velero_install_carry_the_bundle",
            of_velero_install,
        ),
        shared.installed("pods::of_every_kind_get_what_is_theirs", of_every_kind),
        shared.installed(
            "pods::tried_in_a_dry_run_leave_nothing_behind",
            tried_in_a_dry_run,
        ),
        shared.installed("pods::of_kube_system_are_left_alone", of_kube_system),
    ]
}

fn of_velero_install(cluster: &Cluster, _: &Installation) -> Result<()> {
    let namespace = cluster.namespace("install")?;
    cluster.install_velero(&namespace, &[])?;
    for (label, name) in [
        ("deploy=velero", "velero"),
        ("name=node-agent", "node-agent"),
    ] {
        let what = format!("a Pod with the label {label}");
        let pod = wait::poll(&what, wait::PATIENCE, || {
            let pods = cluster
                .kubectl()
                .get(&["pods", "-n", &namespace, "-l", label])?;
            let pod = pods["items"][0].clone();
            ensure!(pod.is_object(), "there is none");
            Ok(pod)
        })?;
        ensure!(
            pod["metadata"]["ownerReferences"][0]["controller"] == true,
            "{pod}"
        );
        let container = containers(&pod).find(|container| container["name"] == name);
        let container = container.with_context(|| format!("no container {name} in {pod}"))?;
        for (name, value) in VARIABLES {
            ensure!(
                has(container, "env", &json!({"name": name, "value": value})),
                "no {name}: {container}"
            );
        }
        let mount = json!({"name": BUNDLE, "mountPath": MOUNT, "readOnly": true});
        ensure!(
            has(container, "volumeMounts", &mount),
            "no mount: {container}"
        );
        has_volume(&pod)?;
    }
    // The ConfigMap that they mount exists and is not empty. An empty bundle would cut Velero off.
    let map = cluster
        .kubectl()
        .get(&["configmap", BUNDLE, "-n", &namespace])?;
    let text = map["data"]["ca-bundle.crt"]
        .as_str()
        .context("no bundle in it")?;
    let count = text.matches("-----BEGIN CERTIFICATE-----").count();
    ensure!(count > 100, "the bundle has {count} certificates");
    Ok(())
}

fn of_every_kind(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = cluster.namespace("kinds")?;
    // The namespace holds neither a location nor a workload.
    let label = [
        "label",
        "namespace",
        &namespace,
        "velero-trust.io/velero=true",
    ];
    cluster.kubectl().ok(&label)?;
    for account in ["velero", "velero-server"] {
        cluster
            .kubectl()
            .ok(&["create", "serviceaccount", account, "-n", &namespace])?;
    }
    let fixtures = fixtures()?;
    let items: Vec<_> = fixtures
        .iter()
        .map(|fixture| placed(fixture, &namespace))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    // Read from the response, because the controllers remove Pods without an existing owner.
    let output = cluster
        .kubectl()
        .run_with_input(&["create", "-o", "json", "-f", "-"], &list)?;
    is_admitted(&output, &[])?;
    let stored = Deserializer::from_str(&output.stdout).into_iter::<Value>();
    let mut stored = stored.collect::<Result<Vec<_>, _>>()?;
    if let [list] = stored.as_mut_slice()
        && let Some(items) = list["items"].as_array_mut()
    {
        stored = std::mem::take(items);
    }
    ensure!(
        stored.len() == fixtures.len(),
        "{} of {} Pods",
        stored.len(),
        fixtures.len()
    );
    for ((fixture, before), after) in fixtures.iter().zip(&items).zip(&stored) {
        ensure!(after["metadata"]["name"] == fixture.name, "{after}");
        let changed = changed(before, after).with_context(|| fixture.name.clone())?;
        ensure!(
            changed == fixture.injected,
            "{}: {changed:?} was injected",
            fixture.name
        );
        if !changed.is_empty() {
            has_volume(after).with_context(|| fixture.name.clone())?;
        }
    }

    let expected = fixtures.iter().filter(|fixture| fixture.sent);
    let expected: BTreeSet<_> = expected.map(|fixture| fixture.name.clone()).collect();
    let sent = sent(installation, &namespace);
    let missing: Vec<_> = expected.difference(&sent).collect();
    let surplus: Vec<_> = sent.difference(&expected).collect();
    ensure!(
        missing.is_empty(),
        "the API server did not send {missing:?}"
    );
    ensure!(
        surplus.is_empty(),
        "the API server sent {surplus:?} as well"
    );
    Ok(())
}

fn tried_in_a_dry_run(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = cluster.namespace("dry-run")?;
    // This makes the namespace Velero's for a review, but not for the controllers.
    baseline::workload(
        cluster.kubectl(),
        &namespace,
        "Deployment",
        "server-install",
        "velero",
    )?;
    let pod = one("server-install", &namespace)?.to_string();
    let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = cluster.kubectl().run_with_input(&arguments, &pod)?;
    is_admitted(&output, &[])?;
    // The response shows the mutated Pod ...
    has_volume(&serde_json::from_str(&output.stdout)?)?;
    ensure!(
        sent(installation, &namespace).len() == 1,
        "the webhook was not asked"
    );
    // ... and no bundle is created.
    let map = cluster
        .kubectl()
        .run(&["get", "configmap", BUNDLE, "-n", &namespace])?;
    ensure!(
        map.stderr.contains("(NotFound)"),
        "a bundle was written: {map:?}"
    );

    cluster.kubectl().apply(&pod)?;
    cluster
        .kubectl()
        .get(&["configmap", BUNDLE, "-n", &namespace])?;
    Ok(())
}

fn of_kube_system(cluster: &Cluster, installation: &Installation) -> Result<()> {
    let namespace = "kube-system";
    let before = one("server-install", namespace)?;
    let arguments = ["create", "-o", "json", "-f", "-"];
    let output = cluster
        .kubectl()
        .run_with_input(&arguments, &before.to_string())?;
    is_admitted(&output, &[])?;
    let after = serde_json::from_str(&output.stdout)?;
    let changed = changed(&before, &after)?;
    ensure!(changed.is_empty(), "{changed:?} was injected");
    let sent = sent(installation, namespace);
    ensure!(sent.is_empty(), "the webhook was asked about {sent:?}");
    Ok(())
}

/// Returns the Pod of one file without its service account, which does not exist in the namespace.
pub(crate) fn one(name: &str, namespace: &str) -> Result<Value> {
    let fixtures = fixtures()?;
    let fixture = fixtures.iter().find(|fixture| fixture.name == name);
    let mut pod = placed(fixture.context("no such fixture")?, namespace);
    let spec = pod["spec"].as_object_mut().context("no spec")?;
    spec.remove("serviceAccountName");
    Ok(pod)
}

/// Returns the Pod of a file with a unique name, in `namespace`, and without the service account
/// volume that the API server adds to every Pod.
fn placed(fixture: &Fixture, namespace: &str) -> Value {
    let mut pod = fixture.pod.clone();
    pod["metadata"]["namespace"] = namespace.into();
    pod["metadata"]["name"] = fixture.name.clone().into();
    pod["spec"]["automountServiceAccountToken"] = false.into();
    pod
}

/// Returns the names of the Pods in `namespace` that the webhook was called for.
fn sent(installation: &Installation, namespace: &str) -> BTreeSet<String> {
    let reviews = installation.webhook.events("review admitted");
    let here = reviews
        .iter()
        .filter(|review| review["kind"] == "Pod" && review["namespace"] == namespace);
    here.filter_map(|review| Some(review["name"].as_str()?.to_owned()))
        .collect()
}

/// Returns the names of the containers with an environment or mounts other than those they were
/// created with.
fn changed(before: &Value, after: &Value) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (before, after) in containers(before).zip(containers(after)) {
        ensure!(
            before["name"] == after["name"],
            "the containers are others: {after}"
        );
        let added = |list: &str, key: &str| {
            let known: Vec<_> = elements(before, list)
                .map(|element| &element[key])
                .collect();
            let new = elements(after, list).filter(|element| !known.contains(&&element[key]));
            new.cloned().collect::<Vec<_>>()
        };
        let (variables, mounts) = (added("env", "name"), added("volumeMounts", "mountPath"));
        for variable in &variables {
            let ours = VARIABLES
                .iter()
                .any(|(name, value)| *variable == json!({"name": name, "value": value}));
            ensure!(ours, "a variable that is not ours: {variable}");
        }
        for mount in &mounts {
            ensure!(
                mount["name"] == BUNDLE && mount["mountPath"] == MOUNT,
                "a mount that is not ours: {mount}"
            );
        }
        if variables.len() + mounts.len() > 0 {
            names.push(after["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(names)
}

fn has_volume(pod: &Value) -> Result<()> {
    let mut volumes = elements(&pod["spec"], "volumes");
    let found =
        volumes.any(|volume| volume["name"] == BUNDLE && volume["configMap"]["name"] == BUNDLE);
    ensure!(found, "no volume of the bundle in {pod}");
    Ok(())
}

/// Returns the containers, followed by the init containers.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let spec = &pod["spec"];
    elements(spec, "containers").chain(elements(spec, "initContainers"))
}

fn elements<'a>(object: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    object[list].as_array().into_iter().flatten()
}

fn has(object: &Value, list: &str, element: &Value) -> bool {
    elements(object, list).any(|candidate| candidate == element)
}
