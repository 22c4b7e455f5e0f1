//! Velero in kube-system, as some distributions install it: before and after the operator includes the
//! namespace with the component.

use crate::bundle::{location_at, location_with};
use crate::doctor::{checks, command_in, fix};
use crate::installed::told;
use crate::pods;
use crate::shared::{alone, binary};
use crate::words::{is_admitted, is_refused};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer, rendered, rendered_with};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait::{self, PATIENCE};
use velero_trust_testing::webhook::Webhook;

/// The namespace, and the component that includes it.
const KUBE_SYSTEM: &str = "kube-system";

const BUNDLE: [&str; 5] = ["get", "configmap", "velero-trust-ca", "-n", KUBE_SYSTEM];

/// What the commands say of the namespace while it is not included.
const EXCLUDED: &str = "velero-trust changes no Pod of kube-system and keeps no bundle there";

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone("kube_system::is_included_only_on_request", story)]
}

fn story() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let command = Cli::new(binary().to_owned(), Some(cluster.kubeconfig()))?;
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    let installation = Installer::new(&cluster, binary(), installer::NAMESPACE)?.install()?;
    let own = Authority::new("own")?.pem();
    kubectl.apply(&location_with(KUBE_SYSTEM, "default", &own).to_string())?;
    left_alone(kubectl, &command, &installation.webhook).context("by default")?;
    differs_in_two_things(kubectl)?;

    drop(installation);
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?
        .with_components(&[KUBE_SYSTEM])
        .with_options(&["--include-kube-system"]);
    installer.apply()?;
    let (webhook, certs) = installer.activate()?;
    ensure!(certs.code == Some(0), "{certs:?}");
    installer::wait_until_asked(kubectl)?;
    included(kubectl, &command, &webhook).context("with the component")?;
    reads_named_secrets_only(&cluster, &command).context("the Secrets of kube-system")
}

/// Nothing in the namespace is touched, and the commands say so.
fn left_alone(kubectl: &Cli, command: &Cli, webhook: &Webhook) -> Result<()> {
    let pod = create(kubectl, &velero("before")?)?;
    ensure!(!has_bundle(&pod), "{pod}");
    ensure!(sent(webhook).is_empty(), "the webhook was asked");
    let problems = status(command)?["problems"].to_string();
    ensure!(problems.contains(EXCLUDED), "{problems}");
    for arguments in [&["doctor"][..], &["rollout", "--apply"]] {
        let output = command.run(arguments)?;
        ensure!(output.stdout.contains(EXCLUDED), "{output:?}");
    }
    let none = kubectl.run(&BUNDLE)?;
    ensure!(none.stderr.contains("(NotFound)"), "{none:?}");
    Ok(())
}

/// The component changes the selector of the webhook for Pods and the arguments of the server, and
/// nothing else.
fn differs_in_two_things(kubectl: &Cli) -> Result<()> {
    let mut with = rendered_with(kubectl, installer::NAMESPACE, &[KUBE_SYSTEM.to_owned()])?;
    for object in &mut with {
        // kustomize takes policies for namespaced; the API server ignores the namespace.
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind.starts_with("ValidatingAdmissionPolicy")
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("namespace");
        }
    }
    let mut without = rendered(kubectl, installer::NAMESPACE)?;
    for object in &mut without {
        if object["metadata"]["name"] == "velero-trust-pods" {
            let webhook = object["webhooks"][0].as_object_mut();
            let webhook = webhook.context("no webhook")?;
            webhook.remove("namespaceSelector").context("no selector")?;
            ensure!(webhook["failurePolicy"] == "Ignore", "{webhook:?}");
        }
        if object["kind"] == "Deployment" {
            let arguments = &mut object["spec"]["template"]["spec"]["containers"][0]["args"];
            let arguments = arguments.as_array_mut().context("no args")?;
            arguments.push("--include-kube-system".into());
        }
    }
    ensure!(with == without, "other differences: {with:?}");
    Ok(())
}

/// Pods of Velero carry the bundle, and no other Pod is sent to the webhook.
fn included(kubectl: &Cli, command: &Cli, webhook: &Webhook) -> Result<()> {
    wait::poll("the bundle in kube-system", PATIENCE, || {
        kubectl.ok(&BUNDLE)
    })?;
    let pod = create(kubectl, &velero("after")?)?;
    ensure!(has_bundle(&pod), "{pod}");
    let other = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "coredns", "namespace": KUBE_SYSTEM, "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "coredns", "image": "coredns", "args": ["-conf", "Corefile"]}],
        },
    });
    let other = create(kubectl, &other)?;
    ensure!(!has_bundle(&other), "{other}");
    let sent = sent(webhook);
    ensure!(sent == ["after"], "{sent:?}");
    wait::poll("status to count its Pods", PATIENCE, || {
        let namespace = status(command)?;
        ensure!(namespace["bundle"]["state"] == "published", "{namespace}");
        let problems = namespace["problems"].to_string();
        ensure!(!problems.contains(EXCLUDED), "{problems}");
        ensure!(namespace["pods"]["wanted"] == 2, "{namespace}");
        Ok(())
    })?;
    told(command, &[])?;
    let doctor = command.run(&["doctor"])?;
    ensure!(!doctor.stdout.contains(EXCLUDED), "{doctor:?}");
    Ok(())
}

/// The commands that a review and `doctor` advise let velero-trust read the Secrets that BSLs name, each
/// without what was allowed before, and nothing else.
fn reads_named_secrets_only(cluster: &Cluster, command: &Cli) -> Result<()> {
    let kubectl = cluster.kubectl();
    for name in ["first-ca", "second-ca"] {
        let ca = Authority::new(name)?.pem();
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": KUBE_SYSTEM, "name": name},
            "stringData": {"ca.crt": ca},
        });
        kubectl.apply(&secret.to_string())?;
        let mut location = location_at(KUBE_SYSTEM, name);
        location["spec"]["objectStorage"]["caCertRef"]["name"] = name.into();
        let refused = kubectl.run_with_input(&["create", "-f", "-"], &location.to_string())?;
        is_refused(
            &refused,
            &["velero-trust may not read Secrets in namespace kube-system"],
        )?;
        fix(cluster, command_in(&refused.stderr)?)?;
        wait::poll("the BSL to be judged", PATIENCE, || {
            let created = kubectl.run_with_input(&["apply", "-f", "-"], &location.to_string())?;
            is_admitted(&created, &[])
        })?;
    }
    let rights = || {
        let checks = checks(&command.run(&["doctor", "--output", "json"])?)?;
        let mut checks = checks.into_iter();
        let found = checks.find(|one| {
            one["check"] == "rights" && one["subject"] == "Secrets in namespace kube-system"
        });
        found.context("doctor has no result")
    };
    let found = rights()?;
    ensure!(found["level"] == "ok", "{found}");
    let role = "velero-trust-ca-reader-second-ca";
    for kind in ["role", "rolebinding"] {
        kubectl.ok(&["delete", kind, role, "-n", KUBE_SYSTEM])?;
    }
    let found = rights()?;
    ensure!(
        found["message"] == "velero-trust may not get secrets/second-ca, and a BSL names one",
        "{found}"
    );
    fix(cluster, found["fix"].as_str().unwrap_or_default())?;
    let found = rights()?;
    ensure!(found["level"] == "ok", "{found}");
    let account = format!("--as=system:serviceaccount:{0}:{0}", installer::NAMESPACE);
    let may = kubectl.run(&[
        "auth",
        "can-i",
        "list",
        "secrets",
        "-n",
        KUBE_SYSTEM,
        &account,
    ])?;
    ensure!(may.stdout.trim() == "no", "{may:?}");
    Ok(())
}

fn status(command: &Cli) -> Result<Value> {
    let output = command.run(&["status", "--output", "json"])?;
    let status: Value = serde_json::from_str(&output.stdout)?;
    let mut namespaces = status["namespaces"].as_array().into_iter().flatten();
    let found = namespaces.find(|namespace| namespace["name"] == KUBE_SYSTEM);
    found.cloned().with_context(|| output.stdout.clone())
}

/// Creates a Pod, and returns what the API server stored.
fn create(kubectl: &Cli, pod: &Value) -> Result<Value> {
    let arguments = ["create", "-o", "json", "-f", "-"];
    let output = kubectl.run_with_input(&arguments, &pod.to_string())?;
    is_admitted(&output, &[])?;
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Returns a Pod of Velero's server in kube-system.
fn velero(name: &str) -> Result<Value> {
    let mut pod = pods::one("server-install", KUBE_SYSTEM)?;
    pod["metadata"]["name"] = name.into();
    // The garbage collector deletes the Pod of an owner that is not there.
    pod["metadata"]["ownerReferences"] = json!([]);
    Ok(pod)
}

fn has_bundle(pod: &Value) -> bool {
    pod.to_string().contains("velero-trust-ca")
}

/// Returns the names of the Pods in kube-system that the webhook was asked about.
fn sent(webhook: &Webhook) -> Vec<String> {
    let reviews = webhook.events("review admitted");
    let here = reviews
        .iter()
        .filter(|review| review["kind"] == "Pod" && review["namespace"] == KUBE_SYSTEM);
    here.filter_map(|review| Some(review["name"].as_str()?.to_owned()))
        .collect()
}
