//! The webhooks become active by themselves, stay so, and do not where the API server cannot reach them.

use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;
use velero_trust_testing::webhook::Webhook;

/// A namespace other than that of the manifests: the selector of the canary is not in them.
const ELSEWHERE: &str = "guards";

/// Time limit for what the leader tries again every five seconds.
const SOON: Duration = Duration::from_secs(40);

/// Kind and name of the configuration that is changed here.
const RESTORES: [&str; 2] = ["validatingwebhookconfiguration", "velero-trust-restores"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("activation::keeps_the_webhooks_active", keeps_active),
        alone("activation::needs_the_way_to_us", needs_the_way),
    ]
}

/// After `kubectl apply` and a certificate, nobody runs a command.
fn keeps_active() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), ELSEWHERE)?.activating();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    installer.apply()?;
    installer.put_certificate(&Authority::new("ours")?)?;
    let webhook = installer.serve(&[])?;
    problem(&installer, "is not rolled out")?;
    ensure!(rules(kubectl)?.is_null(), "active before the rollout");
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    ensure!(
        webhook
            .metrics()?
            .contains(r#"velero_trust_canary{result="answered"} 1"#),
        "no metric of the canary: {}",
        webhook.metrics()?
    );
    is_told(
        kubectl,
        "WebhooksActivated",
        "5 webhook configurations were made active",
    )?;
    // The canary is never stored, and refuses nobody else's ConfigMap.
    let canary = ["get", "configmap", "velero-trust-canary", "-n", ELSEWHERE];
    ensure!(
        kubectl.run(&canary)?.code == Some(1),
        "the canary is stored"
    );
    let other = [
        "create",
        "configmap",
        "velero-trust-canary",
        "-n",
        "default",
    ];
    kubectl.ok(&other)?;
    let labelled = ["label", "configmap", "velero-trust-canary", "-n", "default"];
    kubectl.ok(&[&labelled[..], &["velero-trust.io/canary=true"]].concat())?;

    taken_is_set_again(&cluster, &installer, &webhook)?;
    an_upgrade_hangs(&cluster, &installer, &webhook)?;

    // Somebody says that nothing may be active, and takes the rules away.
    let off = ["configmap", "velero-trust-off", "-n", ELSEWHERE];
    kubectl.ok(&[&["create"], &off[..]].concat())?;
    problem(
        &installer,
        "velero-trust-off is there, so no webhook is made active",
    )?;
    replace(&cluster, &installer)?;
    // The controller that tells of it waits longer than that which would set them again.
    wait::poll("the leader to tell of it", SOON, || {
        let state = r#"velero_trust_webhook{webhook="restores",state="noRules"} 1"#;
        ensure!(webhook.metrics()?.contains(state), "not yet");
        Ok(())
    })?;
    ensure!(rules(kubectl)?.is_null(), "set again while it is off");
    kubectl.ok(&[&["delete"], &off[..]].concat())?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    no_problem(&installer)
}

/// What is taken away comes back, and what a person changes besides stays.
fn taken_is_set_again(cluster: &Cluster, installer: &Installer, webhook: &Webhook) -> Result<()> {
    let kubectl = cluster.kubectl();
    let whole = rules(kubectl)?;
    for number in 1..=3 {
        replace(cluster, installer)?;
        let began = Instant::now();
        wait::poll("the rules to be set again", SOON, || {
            ensure!(rules(kubectl)? == whole, "not yet: {}", webhook.tail());
            Ok(())
        })?;
        eprintln!(
            "activation: replace {number} mended after {:?}",
            began.elapsed()
        );
    }
    is_told(kubectl, "WebhookRestored", "velero-trust-restores")?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    for patch in [
        json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
            {"op": "remove", "path": "/webhooks/0/rules"}]),
        json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle",
            "value": wrong_ca()?}]),
        json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["*"]}]),
        json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["DELETE"]}]),
    ] {
        let patch = patch.to_string();
        kubectl.ok(&[&["patch"], &RESTORES[..], &["--type=json", "-p", &patch]].concat())?;
        wait::poll("what was changed to be set again", SOON, || {
            let live = live(kubectl)?;
            ensure!(live["rules"] == whole, "{live}");
            let ca = live["clientConfig"]["caBundle"].as_str();
            ensure!(ca != Some(&wrong_ca()?), "{live}");
            Ok(())
        })
        .with_context(|| patch.clone())?;
    }
    ensure!(live(kubectl)?["failurePolicy"] == "Ignore", "it was fought");
    problem(
        installer,
        "the failurePolicy of ValidatingWebhookConfiguration",
    )
}

/// The image of an upgrade cannot be pulled. The replicas from before serve on, and keep the webhooks active.
fn an_upgrade_hangs(cluster: &Cluster, installer: &Installer, webhook: &Webhook) -> Result<()> {
    let kubectl = cluster.kubectl();
    let whole = rules(kubectl)?;
    let deployment = ["deployment/velero-trust", "-n", ELSEWHERE];
    let image = "velero-trust=registry.example.com/velero-trust:none";
    kubectl.ok(&[&["set", "image"], &deployment[..], &[image]].concat())?;
    wait::poll("a new Pod that is not ready", SOON, || {
        let live = kubectl.get(&["deployment", "velero-trust", "-n", ELSEWHERE])?;
        let (updated, ready) = (
            &live["status"]["updatedReplicas"],
            &live["status"]["readyReplicas"],
        );
        ensure!(*updated == 1 && *ready == 2, "{}", live["status"]);
        Ok(())
    })?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    replace(cluster, installer)?;
    wait::poll("the rules to be set again meanwhile", SOON, || {
        ensure!(rules(kubectl)? == whole, "not yet: {}", webhook.tail());
        Ok(())
    })?;
    kubectl.ok(&[&["rollout", "undo"], &deployment[..]].concat())?;
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())
}

/// Nothing becomes active where the API server does not reach the server, and all does when it can.
fn needs_the_way() -> Result<()> {
    let cluster = Cluster::start()?;
    let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?.activating();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", VELERO_NAMESPACE])?;
    // A port at which nobody listens, as where the Service has a wrong targetPort.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = closed.local_addr()?.port();
    drop(closed);
    apply(kubectl, installer.objects()?, Some(port))?;
    let (ours, other) = (Authority::new("ours")?, Authority::new("other")?);
    installer.put_certificate(&ours)?;
    let webhook = installer.serve(&[])?;
    installer.set_ready(true)?;
    problem(&installer, "connect: connection refused")?;
    problem(&installer, "nothing listens where the Service points")?;
    is_told(kubectl, "WebhooksHeld", "connection refused")?;
    ensure!(
        webhook
            .metrics()?
            .contains(r#"velero_trust_canary{result="connectionRefused"} 1"#),
        "no metric of the canary"
    );
    let doctor = installer.command.run(&["doctor"])?;
    ensure!(doctor.stdout.contains("connection refused"), "{doctor:?}");
    ensure!(rules(kubectl)?.is_null(), "active though nobody listens");

    kubectl.ok(&[
        "delete",
        "service",
        "velero-trust",
        "-n",
        installer::NAMESPACE,
    ])?;
    problem(&installer, "service \"velero-trust\" not found")?;
    apply(kubectl, installer.objects()?, None)?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    no_problem(&installer)?;
    drop(webhook);

    // The same again, with a server that presents a certificate of another CA than that beside it.
    for object in installer.objects()? {
        if object["webhooks"].is_array() {
            let replace = ["replace", "-f", "-"];
            let output = kubectl.run_with_input(&replace, &object.to_string())?;
            ensure!(output.code == Some(0), "{output:?}");
        }
    }
    installer.put_certificate_beside(&ours, &other)?;
    let webhook = installer.serve(&[])?;
    problem(
        &installer,
        "ca.crt beside the serving certificate does not verify it",
    )?;
    ensure!(rules(kubectl)?.is_null(), "active with a wrong CA");
    installer.put_certificate(&ours)?;
    installer.mount_certificate()?;
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    no_problem(&installer)
}

fn apply(kubectl: &Cli, mut objects: Vec<Value>, port: Option<u16>) -> Result<()> {
    for object in &mut objects {
        let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
        for webhook in webhooks.into_iter().flatten() {
            if let Some(port) = port {
                webhook["clientConfig"]["service"]["port"] = json!(port);
            }
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    kubectl.apply(&list.to_string()).map(drop)
}

/// Replaces the configuration as `kubectl replace` and `helm upgrade --force` do.
fn replace(cluster: &Cluster, installer: &Installer) -> Result<()> {
    let mut objects = installer.objects()?.into_iter();
    let plain = objects.find(|object| {
        object["kind"] == "ValidatingWebhookConfiguration"
            && object["metadata"]["name"] == RESTORES[1]
    });
    let plain = plain.context("no such configuration")?.to_string();
    let kubectl = cluster.kubectl();
    let output = kubectl.run_with_input(&["replace", "-f", "-"], &plain)?;
    ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}

fn live(kubectl: &Cli) -> Result<Value> {
    Ok(kubectl.get(&RESTORES)?["webhooks"][0].clone())
}

fn rules(kubectl: &Cli) -> Result<Value> {
    Ok(live(kubectl)?["rules"].clone())
}

/// Returns a caBundle that verifies nothing here; always the same one.
fn wrong_ca() -> Result<String> {
    use std::sync::OnceLock;
    static WRONG: OnceLock<String> = OnceLock::new();
    if let Some(wrong) = WRONG.get() {
        return Ok(wrong.clone());
    }
    let pem = Authority::new("wrong")?.pem();
    let encoded = serde_json::to_value(k8s_openapi::ByteString(pem.into_bytes()))?;
    let encoded = encoded.as_str().context("no text")?.to_owned();
    Ok(WRONG.get_or_init(|| encoded).clone())
}

/// Waits until `status` has a problem with these words.
fn problem(installer: &Installer, words: &str) -> Result<()> {
    wait::poll(&format!("status to say {words:?}"), SOON, || {
        let problems = problems(installer)?;
        ensure!(
            problems.iter().any(|one| one.contains(words)),
            "{problems:?}"
        );
        Ok(())
    })
}

/// Waits until `status` has no problem with webhooks.
fn no_problem(installer: &Installer) -> Result<()> {
    wait::poll("status to be content with the webhooks", SOON, || {
        let problems = problems(installer)?;
        let is_ours = |one: &&String| one.contains("ebhook") || one.contains("API server");
        let wrong: Vec<_> = problems.iter().filter(is_ours).collect();
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(())
    })
}

fn problems(installer: &Installer) -> Result<Vec<String>> {
    let namespace = ["--namespace", installer.namespace()];
    let output = installer
        .command
        .run(&[&["status", "--output", "json"], &namespace[..]].concat())?;
    let status: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let problems = status["problems"].as_array().context("no problems")?;
    let problems = problems.iter().filter_map(Value::as_str);
    Ok(problems.map(str::to_owned).collect())
}

/// Waits for an Event with this reason and these words.
fn is_told(kubectl: &Cli, reason: &str, words: &str) -> Result<()> {
    wait::poll(&format!("an Event {reason}"), SOON, || {
        let events = kubectl.get(&["events", "--all-namespaces"])?;
        let events = events["items"].as_array().context("no list")?;
        let has = events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == reason && message.contains(words)
        });
        ensure!(has, "none");
        Ok(())
    })
}
