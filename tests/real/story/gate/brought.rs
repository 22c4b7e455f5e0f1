//! What a backup may bring along, although nobody changed it.

use super::{Bed, restore_of};
use crate::story::{PATIENCE, at, ensure_passed, ensure_refused, velero, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::cluster::VELERO_NAMESPACE;
use velero_trust_testing::installer::{AS_VELERO_TRUST, NAMESPACE};
use velero_trust_testing::wait;

const CONFIGURATION: &str = "validatingwebhookconfiguration/velero-trust-restores";

/// What is not to come back, and what the policies say of it.
const PLANTED: [(&str, &str); 2] = [
    (
        "trustedkey/planted",
        "BackupRecords and TrustedKeys are not restored from a backup",
    ),
    // By either of two policies.
    ("backuprecord/planted.u", "BackupRecords"),
];

/// A TrustedKey and a BackupRecord are not restored. A webhook configuration is, because the API server asks
/// no webhook and no policy about it; an Event tells.
pub(super) fn story(bed: &mut Bed) -> Result<()> {
    // So that nobody tells of it before.
    bed.installation.kill()?;
    plant(bed)?;
    bed.installation.start_again(&[])?;
    bed.are_recorded(&["planted"])?;
    into_our_namespace(bed)?;
    let restore = ["restore", "create", "planted", "--from-backup", "planted"];
    let update = ["--existing-resource-policy", "update"];
    let created = velero(&bed.cluster, &[&restore[..], &update].concat())?;
    ensure_passed("the Restore", &created)?;
    let done = wait::poll("the Restore to be done", PATIENCE, || {
        let restore = restore_of(&bed.cluster, "planted")?;
        let done = at(&restore, "/status/completionTimestamp");
        ensure!(done.is_string(), "{}", restore["status"]);
        Ok(restore)
    })?;
    ensure!(at(&done, "/status/phase") == "PartiallyFailed", "{done}");
    let describe = ["restore", "describe", "planted", "--details"];
    let insecure = ["--insecure-skip-tls-verify"];
    let described = velero(&bed.cluster, &[&describe[..], &insecure].concat())?;
    let kubectl = bed.cluster.kubectl();
    for (object, says) in PLANTED {
        let (_, name) = object.split_once('/').context("no name")?;
        let named = format!("/{name}: ");
        let mut errors = described.stdout.lines();
        let is_told = errors.any(|line| line.contains(&named) && line.contains(says));
        ensure!(is_told, "{object} is not refused: {described:?}");
        let found = kubectl.run(&["get", object])?;
        ensure!(found.stderr.contains("NotFound"), "{found:?}");
    }
    is_told(bed)
}

/// A user maps another namespace to ours.
fn into_our_namespace(bed: &Bed) -> Result<()> {
    let restore = ["restore", "create", "mapped", "--from-backup", "planted"];
    let mapped = format!("default:{NAMESPACE}");
    let mapped = [&restore[..], &["--namespace-mappings", &mapped]].concat();
    let refused = velero(&bed.cluster, &mapped)?;
    ensure_refused(
        "a Restore into our namespace",
        &refused,
        &["[VT109]", NAMESPACE],
    )
}

/// Makes a backup with all of that, and takes it away.
fn plant(bed: &Bed) -> Result<()> {
    let kubectl = bed.cluster.kubectl();
    let keys = kubectl.get(&["trustedkeys"])?;
    let key = json!({
        "apiVersion": "velero-trust.io/v1alpha1", "kind": "TrustedKey",
        "metadata": {"name": "planted"},
        "spec": at(&keys, "/items/0/spec"),
    });
    ensure_passed("a key", &kubectl.create(&key.to_string())?)?;
    let record = json!({
        "apiVersion": "velero-trust.io/v1alpha1", "kind": "BackupRecord",
        "metadata": {"name": "planted.u"},
        "spec": {"namespace": VELERO_NAMESPACE, "backup": "planted", "uid": "u", "observed": true},
    });
    let create = ["create", "-f", "-", AS_VELERO_TRUST];
    let created = kubectl.run_with_input(&create, &record.to_string())?;
    ensure_passed("a record", &created)?;
    let ours = kubectl.get(&[CONFIGURATION])?;
    let mut nothing = ours.clone();
    let mut changed = json!({
        "metadata": {"labels": {"velero.io/exclude-from-backup": null}, "resourceVersion": null},
        "webhooks": null,
    });
    json_patch::merge(&mut nothing, &changed);
    let replace = |configuration: &Value| {
        let replace = ["replace", "-f", "-"];
        let replaced = kubectl.run_with_input(&replace, &configuration.to_string())?;
        ensure_passed("a configuration", &replaced)
    };
    replace(&nothing)?;

    let kinds = "trustedkeys.velero-trust.io,backuprecords.velero-trust.io,\
                 validatingwebhookconfigurations.admissionregistration.k8s.io";
    let create = [
        "backup",
        "create",
        "planted",
        "--include-namespaces",
        "default",
    ];
    let create = [&create[..], &["--include-cluster-scoped-resources", kinds]].concat();
    ensure_passed("planted", &velero(&bed.cluster, &create)?)?;
    wait_for_phase(&bed.cluster, "backup", "planted", "Completed")?;

    changed = ours;
    json_patch::merge(
        &mut changed,
        &json!({"metadata": {"resourceVersion": null}}),
    );
    replace(&changed)?;
    for (object, _) in PLANTED {
        kubectl.ok(&["delete", object])?;
    }
    Ok(())
}

fn is_told(bed: &Bed) -> Result<()> {
    let kubectl = bed.cluster.kubectl();
    let restored = kubectl.get(&[CONFIGURATION])?;
    ensure!(
        at(&restored, "/webhooks").is_null(),
        "it is guarded: {restored}"
    );
    wait::poll("an Event on our Deployment", PATIENCE, || {
        let events = kubectl.get(&["events", "-n", NAMESPACE])?;
        let mut events = at(&events, "/items").as_array().into_iter().flatten();
        let is_it = |event: &&Value| {
            let says = "Restores that are created or changed pass unjudged";
            event["reason"] == "WebhookInactive" && event.to_string().contains(says)
        };
        let event = events.find(is_it).context("nobody tells")?;
        let about = at(event, "/involvedObject/kind");
        ensure!(about == "Deployment", "{event}");
        Ok(())
    })
}
