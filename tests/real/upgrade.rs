//! Upgrades and rollbacks of the webhook configurations, under the two ways of applying them.

use crate::installed::bad_location;
use crate::shared::{alone, binary};
use crate::words::is_refused;
use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use velero_trust::names;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, Installer, NAMESPACE};
use velero_trust_testing::wait::PATIENCE;

/// The configuration of the first versions, of either kind.
const BEFORE: &str = "velero-trust";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone(
            "upgrade::takes_the_rules_from_what_an_earlier_version_left",
            from_an_earlier_version,
        ),
        alone(
            "upgrade::a_release_with_one_webhook_fewer_can_be_applied",
            one_webhook_fewer,
        ),
    ]
}

fn from_an_earlier_version() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let installer = Installer::new(&cluster, binary(), NAMESPACE)?;
    let before = of_an_earlier_version(&installer)?;
    for configuration in &before {
        apply(kubectl, "earlier", configuration)?;
        apply(kubectl, names::FIELD_MANAGER, &activated(configuration))?;
    }
    installer.apply()?;
    let (webhook, output) = installer.activate()?;
    ensure!(output.code == Some(0), "{output:?}");
    for (kind, title) in [
        (VALIDATING, "ValidatingWebhookConfiguration"),
        (MUTATING, "MutatingWebhookConfiguration"),
    ] {
        let line = format!(
            "{title} {BEFORE} is of an earlier version: it is sent nothing from now on; delete it \
             with `kubectl delete {kind} {BEFORE}`"
        );
        ensure!(output.stdout.contains(&line), "no `{line}` in {output:?}");
        for webhook in webhooks(&kubectl.get(&[kind, BEFORE])?) {
            ensure!(webhook["rules"].is_null(), "still sent requests: {webhook}");
        }
    }
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    is_refused(&bad_location(kubectl)?, &["[VT010]"])?;

    // Rules that somebody else set are not ours to remove.
    let [first, ..] = &before[..] else {
        anyhow::bail!("no configuration");
    };
    apply(kubectl, "somebody-else", &activated(first))?;
    let output = installer.certs(PATIENCE)?;
    let line =
        "is of an earlier version: somebody else has set its rules, so it is still sent requests";
    ensure!(output.code == Some(0), "{output:?}");
    ensure!(output.stdout.contains(line), "{output:?}");
    for kind in [VALIDATING, MUTATING] {
        kubectl.ok(&["delete", kind, BEFORE])?;
    }
    let output = installer.certs(PATIENCE)?;
    ensure!(!output.stdout.contains("earlier version"), "{output:?}");
    Ok(())
}

/// As Helm 4 and Flux do: server-side apply of what is in the release, and deletion of what is no
/// longer in it.
fn one_webhook_fewer() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let installer = Installer::new(&cluster, binary(), NAMESPACE)?;
    let objects = installer.objects()?;
    for object in &objects {
        apply(kubectl, "release", object)?;
    }
    let (webhook, output) = installer.activate()?;
    ensure!(output.code == Some(0), "{output:?}");
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())?;
    let removed = "velero-trust-restores";
    let kept = objects
        .iter()
        .filter(|object| object["metadata"]["name"] != removed);
    for object in kept {
        apply(kubectl, "release", object)?;
    }
    kubectl.ok(&["delete", VALIDATING, removed])?;
    for (kind, name) in [
        (VALIDATING, "velero-trust-backupstoragelocations"),
        (MUTATING, "velero-trust-pods"),
        (MUTATING, "velero-trust-backups"),
    ] {
        for webhook in webhooks(&kubectl.get(&[kind, name])?) {
            ensure!(webhook["rules"].is_array(), "no longer active: {webhook}");
        }
    }
    // And the release that has it again.
    for object in &objects {
        apply(kubectl, "release", object)?;
    }
    let output = installer.certs(PATIENCE)?;
    ensure!(output.code == Some(0), "{output:?}");
    installer::wait_until_asked(kubectl).with_context(|| webhook.log())
}

const VALIDATING: &str = "validatingwebhookconfiguration";
const MUTATING: &str = "mutatingwebhookconfiguration";

/// Returns the configurations of the first versions: one of each kind, with all of its webhooks.
fn of_an_earlier_version(installer: &Installer) -> Result<Vec<Value>> {
    let objects = installer.objects()?;
    let of = |kind: &str| {
        let all = objects.iter().filter(|object| object["kind"] == kind);
        let webhooks: Vec<_> = all.flat_map(webhooks).cloned().collect();
        ensure!(!webhooks.is_empty(), "no {kind}");
        Ok(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": BEFORE, "labels": {"app.kubernetes.io/name": names::APP}},
            "webhooks": webhooks,
        }))
    };
    Ok(vec![
        of("ValidatingWebhookConfiguration")?,
        of("MutatingWebhookConfiguration")?,
    ])
}

/// Returns what activates a configuration.
fn activated(configuration: &Value) -> Value {
    let webhooks = webhooks(configuration).map(|webhook| {
        json!({
            "name": webhook["name"],
            "rules": [{
                "apiGroups": ["example.com"],
                "apiVersions": ["v1"],
                "resources": ["examples"],
                "operations": ["CREATE"],
            }],
        })
    });
    json!({
        "apiVersion": configuration["apiVersion"],
        "kind": configuration["kind"],
        "metadata": {"name": configuration["metadata"]["name"]},
        "webhooks": webhooks.collect::<Vec<_>>(),
    })
}

fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration["webhooks"].as_array().into_iter().flatten()
}

fn apply(kubectl: &Cli, manager: &str, object: &Value) -> Result<()> {
    let manager = format!("--field-manager={manager}");
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        &manager,
        "-f",
        "-",
    ];
    let output = kubectl.run_with_input(&arguments, &object.to_string())?;
    ensure!(output.code == Some(0), "{output:?}");
    Ok(())
}
