//! The baseline bundle that a review of a Pod writes. Anybody who reaches the port of the webhook can
//! send such a review, so it writes only where a live read finds Velero, and nothing follows from it.

use crate::bundle::{BUNDLE, PATIENCE, location_at};
use crate::pods;
use crate::servers::Servers;
use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::proxy::Seen;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{https, installer, wait};

/// The label that makes a namespace Velero's.
const LABEL: &str = "velero-trust.io/velero";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone(
            "baseline::a_review_writes_only_where_velero_is",
            only_where_velero_is,
        ),
        alone(
            "baseline::what_only_a_review_wrote_is_not_followed",
            not_followed,
        ),
    ]
}

fn only_where_velero_is() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    for namespace in ["tenant", "by-deployment", "by-daemon-set"] {
        kubectl.ok(&["create", "namespace", namespace])?;
    }
    workload(kubectl, "tenant", "Deployment", "foreign-minio", "minio")?;
    // Velero's workload is on the second page of the list.
    for number in 0..10 {
        let name = format!("app-{number}");
        workload(
            kubectl,
            "by-deployment",
            "Deployment",
            "foreign-plain",
            &name,
        )?;
    }
    workload(
        kubectl,
        "by-deployment",
        "Deployment",
        "server-helm",
        "velero",
    )?;
    workload(
        kubectl,
        "by-daemon-set",
        "DaemonSet",
        "node-agent-install",
        "node-agent",
    )?;
    let replica = servers.replica(&[])?;

    for (namespace, why) in [
        ("tenant", "no BSL"),
        ("there-is-none", "does not exist"),
        (installer::NAMESPACE, "velero-trust's own"),
    ] {
        for name in ["server-install", "asked-by-label"] {
            let answer = review(&servers, &replica, namespace, name)?;
            let response = &answer["response"];
            let warnings = response["warnings"].to_string();
            ensure!(response["allowed"] == true, "{namespace}: {answer}");
            ensure!(response["patch"].is_null(), "{namespace}: {answer}");
            for part in ["VT207", why] {
                ensure!(warnings.contains(part), "{namespace}: {warnings}");
            }
        }
        ensure!(
            servers.bundle(namespace).is_err(),
            "{namespace} has a bundle"
        );
    }
    for namespace in ["by-deployment", "by-daemon-set"] {
        let answer = review(&servers, &replica, namespace, "server-install")?;
        ensure!(
            answer["response"]["patch"].is_string(),
            "{namespace}: {answer}"
        );
        let bundle = servers.bundle(namespace)?;
        let managers = bundle["metadata"]["managedFields"].to_string();
        ensure!(
            managers.contains("velero-trust-bootstrap"),
            "{namespace}: {managers}"
        );
    }

    // A Pod that asks for the bundle gets it as soon as somebody says that the namespace is Velero's.
    kubectl.ok(&["label", "namespace", "tenant", &format!("{LABEL}=true")])?;
    wait::poll("the Pod to be patched", PATIENCE, || {
        let answer = review(&servers, &replica, "tenant", "asked-by-label")?;
        ensure!(answer["response"]["patch"].is_string(), "{answer}");
        Ok(())
    })
    .with_context(|| replica.log())
}

/// An earlier version wrote a baseline into every namespace that a review named. And whoever may
/// write ConfigMaps in a namespace can make one that looks like a bundle of the controllers.
fn not_followed() -> Result<()> {
    let servers = Servers::start()?;
    let kubectl = &servers.kubectl;
    for namespace in ["left-over", "forged"] {
        kubectl.ok(&["create", "namespace", namespace])?;
    }
    baseline(&servers, "left-over")?;
    bundle_of(&servers, "forged", "velero-trust")?;
    // The garbage collector deletes the report of a namespace that is not Velero's, as soon as all
    // Velero namespaces are known.
    let report = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "velero-trust-report.left-over", "namespace": installer::NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
        },
        "data": {"report.json": "{\"namespace\":\"left-over\"}"},
    });
    kubectl.apply(&report.to_string())?;
    servers.namespace("velero")?;
    let location = location_at("velero", "minio");
    kubectl.apply(&location.to_string())?;

    let proxy = servers.proxy()?;
    let replica = servers.replica_behind(&proxy, &[])?;
    wait::poll("the report to be deleted", PATIENCE, || {
        ensure!(servers.report("left-over").is_err(), "it is there");
        servers.report("velero").map(drop)
    })
    .with_context(|| replica.log())?;
    let about = |seen: &Seen| {
        let is_about = |namespace| seen.path.contains(namespace);
        ["left-over", "forged"].into_iter().any(is_about) && seen.method != "DELETE"
    };
    let seen = proxy.seen(about);
    ensure!(seen.is_empty(), "one is followed: {seen:?}");

    let admin = Cli::new(binary().to_owned(), Some(servers.kubeconfig()))?;
    let output = admin.run(&["doctor"])?;
    for part in [
        "ConfigMap left-over/velero-trust-ca: nothing of Velero is in the namespace",
        "-> kubectl -n left-over delete configmap velero-trust-ca",
        "ConfigMap forged/velero-trust-ca: nothing of Velero is in the namespace",
    ] {
        ensure!(output.stdout.contains(part), "no `{part}`: {output:?}");
    }

    // A namespace that was only a baseline becomes a Velero namespace with its first location.
    let location = location_at("left-over", "minio");
    kubectl.apply(&location.to_string())?;
    wait::poll("the report", PATIENCE, || servers.report("left-over"))
        .with_context(|| replica.log())?;
    Ok(())
}

/// Writes a bundle as a review of an earlier version did.
pub(crate) fn baseline(servers: &Servers, namespace: &str) -> Result<()> {
    bundle_of(servers, namespace, "velero-trust-bootstrap")
}

/// Writes a bundle as a field manager of velero-trust.
fn bundle_of(servers: &Servers, namespace: &str, manager: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": BUNDLE, "namespace": namespace,
            "annotations": {"velero-trust.io/bundle-hash": "sha256:00"},
            "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
        },
        "data": {"ca-bundle.crt": "# empty\n"},
    });
    let manager = format!("--field-manager={manager}");
    let apply = ["apply", "--server-side", &manager, "-f", "-"];
    let output = servers.kubectl.run_with_input(&apply, &map.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}

/// Creates a workload whose Pods would be like the Pod of a file. A Deployment has none.
pub(crate) fn workload(
    kubectl: &Cli,
    namespace: &str,
    kind: &str,
    pod: &str,
    name: &str,
) -> Result<()> {
    let pod = pods::one(pod, namespace)?;
    let mut labels = pod["metadata"]["labels"].clone();
    labels["test"] = name.into();
    let mut template = json!({"metadata": {"labels": labels}, "spec": pod["spec"]});
    template["spec"]["restartPolicy"] = "Always".into();
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"test": name}}, "template": template},
    });
    if kind == "Deployment" {
        workload["spec"]["replicas"] = 0.into();
    }
    kubectl.apply(&workload.to_string())?;
    Ok(())
}

/// Sends the review of a Pod, as anybody can.
fn review(servers: &Servers, replica: &Webhook, namespace: &str, pod: &str) -> Result<Value> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "forged",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": namespace,
            "object": pods::one(pod, namespace)?,
        },
    });
    let url = format!("{}/mutate/pods?timeout=3s", replica.url);
    let headers = [("Content-Type", "application/json")];
    let body = review.to_string();
    let response = https::send("POST", &url, &servers.ca()?, &headers, &body)?;
    ensure!(response.status == 200, "{response:?}");
    Ok(serde_json::from_str(&response.body)?)
}
