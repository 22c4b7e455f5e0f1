//! Failures of the API server that velero-trust reads from: velero-trust still responds, in time
//! and with an explanation, to the API server that calls it.

use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use velero_trust::admission::{HANDLERS, Mode};
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{https, scratch, velero, wait};

/// The timeout of the webhook for locations, as set in the manifests.
const BUDGET: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "trouble::with_the_api_server_is_told_within_the_budget",
        told_within_the_budget,
    )]
}

/// The API server that calls the webhook and the one that velero-trust reads from are two, so that
/// the second one can be stopped.
fn told_within_the_budget() -> Result<()> {
    let caller = ApiServer::start()?;
    let asked = ApiServer::start()?;
    let folder = scratch::folder("trouble")?;
    let certificates = folder.path().display().to_string();
    Cli::new(binary().to_owned(), None)?.ok(&["certs", "--dir", &certificates])?;
    let file = |name: &str| format!("{certificates}/{name}");
    let serve = Serve::new(binary(), folder.path());
    let webhook = serve.kubeconfig(asked.kubeconfig()).start()?;
    let ca = fs::read_to_string(file("ca.crt"))?;

    let kubectl = caller.kubectl()?;
    velero::apply_crds(&kubectl)?;
    kubectl.apply(&configuration(&webhook, &ca).to_string())?;
    wait::poll("the webhook to be asked", wait::PATIENCE, || {
        let output = kubectl.create(&location().to_string())?;
        ensure!(output.stderr.contains("[VT001]"), "{output:?}");
        Ok(())
    })
    .with_context(|| webhook.log())?;

    asked.signal("STOP")?;
    let silent = "timed out";
    answers_503(&webhook, &ca, silent, BUDGET).context("stopped")?;
    kubectl_ends(&kubectl, BUDGET).context("stopped")?;
    asked.signal("CONT")?;
    wait::poll("the answer to come back", wait::PATIENCE, || {
        let output = kubectl.create(&location().to_string())?;
        ensure!(output.stderr.contains("[VT001]"), "{output:?}");
        Ok(())
    })?;

    drop(asked);
    answers_503(&webhook, &ca, "refused", BUDGET).context("gone")?;
    kubectl_ends(&kubectl, BUDGET).context("gone")?;
    let log = webhook.log();
    for words in ["timed out", "refused"] {
        let line = log
            .lines()
            .find(|line| line.contains("review not decided") && line.contains(words));
        ensure!(line.is_some(), "the log does not say `{words}`: {log}");
    }
    // It keeps running, and requests that need no facts are decided as usual.
    let mut inline = location();
    inline["spec"]["objectStorage"] = json!({"bucket": "b", "caCert": "bm90aGluZw=="});
    let output = kubectl.create(&inline.to_string())?;
    ensure!(output.stderr.contains("[VT010]"), "{output:?}");
    Ok(())
}

/// Sends a review that needs a Secret. The response must be 503 with a message for the user, never
/// a denial.
fn answers_503(webhook: &Webhook, ca: &str, words: &str, budget: Duration) -> Result<()> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "trouble",
            "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
            "name": "bsl",
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": location(),
        },
    });
    let path = "/validate/backupstoragelocations";
    let url = format!("{}{path}?timeout={}s", webhook.url, BUDGET.as_secs());
    let headers = [("Content-Type", "application/json")];
    let began = Instant::now();
    let answer = https::send("POST", &url, ca, &headers, &review.to_string())?;
    let took = began.elapsed();
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(took < budget, "it took {took:?}");
    ensure!(
        answer.head.to_lowercase().contains("\r\nretry-after: 1"),
        "{}",
        answer.head
    );
    let status: Value = serde_json::from_str(&answer.body)?;
    ensure!(
        status["kind"] == "Status" && status["code"] == 503,
        "{status}"
    );
    let message = status["message"].as_str().unwrap_or_default();
    let begins = "velero-trust: cannot read Secret default/ca: the API server ";
    ensure!(message.starts_with(begins), "{message}");
    ensure!(message.contains(words), "no `{words}` in {message}");
    Ok(())
}

/// kubectl is not blocked, nothing is stored, and the user learns which webhook failed. (They do
/// not learn why: the API server retries until the timeout, and then reports only the timeout.)
fn kubectl_ends(kubectl: &Cli, budget: Duration) -> Result<()> {
    let began = Instant::now();
    let output = kubectl.create(&location().to_string())?;
    let took = began.elapsed();
    ensure!(output.code == Some(1), "{output:?}");
    let name = r#"failed calling webhook "backupstoragelocations.velero-trust.io""#;
    ensure!(output.stderr.contains(name), "{output:?}");
    // The start of kubectl and the work of the API server are added to the budget.
    ensure!(took < budget * 2, "it took {took:?}");
    Ok(())
}

/// Returns a configuration that sends everything that is validated to `webhook`.
fn configuration(webhook: &Webhook, ca: &str) -> Value {
    let validated = HANDLERS
        .iter()
        .filter(|handler| handler.mode == Mode::Validate);
    let webhooks = validated.map(|handler| {
        json!({
            "name": format!("{}.velero-trust.io", handler.resource),
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": BUDGET.as_secs(),
            "clientConfig": {
                "url": format!("{}{}", webhook.url, handler.path),
                "caBundle": ByteString(ca.as_bytes().to_vec()),
            },
            "rules": [{
                "apiGroups": [handler.group],
                "apiVersions": ["v1"],
                "resources": [handler.resource],
                "operations": ["CREATE"],
            }],
        })
    });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "velero-trust"},
        "webhooks": webhooks.collect::<Vec<_>>(),
    })
}

/// Returns a location that references a Secret that does not exist.
fn location() -> Value {
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "bsl", "namespace": "default"},
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
            "config": {"region": "minio", "s3Url": "https://127.0.0.1:1"},
        },
    })
}
