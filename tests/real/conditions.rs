//! The `matchConditions` of the manifests on the real API server: which requests are sent to the
//! webhooks, and that no expression fails, whatever an object lacks. An error in an expression
//! refuses the request, so an object could neither be changed nor deleted any more.
//!
//! The webhooks point to a port where nobody answers and fail closed: a request that is sent is
//! refused with a message of its own, and one that is not sent passes.

use crate::servers::Servers;
use crate::shared::alone;
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use velero_trust::admission::HANDLERS;
use velero_trust::names::RESERVED_BACKUP_ANNOTATIONS;
use velero_trust_testing::{installer, ports, wait};

const NAMESPACE: &str = "conditions";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("conditions::send_what_is_checked_and_nothing_else", updates),
        alone("conditions::never_fail", never_fail),
    ]
}

/// Runs `tests/updates`.
fn updates() -> Result<()> {
    let bed = Bed::start()?;
    let mut rows = Vec::new();
    for (resource, kind) in [
        ("backupstoragelocations", "BackupStorageLocation"),
        ("restores", "Restore"),
    ] {
        let path = installer::manifests().join(format!("../tests/updates/{resource}.yaml"));
        let table: Vec<Value> = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
        for (index, row) in table.into_iter().enumerate() {
            let name = format!("update-{index}");
            let old = bed.create(&object("velero.io/v1", kind, &name, &row["old"]))?;
            let mut new = object("velero.io/v1", kind, &name, &row["new"]);
            merge(
                &mut new,
                &json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}}),
            );
            rows.push((row, new));
        }
    }
    bed.activate()?;
    for (row, new) in rows {
        let sent = bed.replace(&new).with_context(|| row.to_string())?;
        let is_to_be = row["checked"] == true || row["begins"] == true;
        ensure!(is_to_be == sent, "sent: {sent}, {row}");
    }
    Ok(())
}

/// Every change between objects that lack something, and the creation of each.
fn never_fail() -> Result<()> {
    let bed = Bed::start()?;
    let bare = [
        json!({}),
        json!({"status": {}}),
        json!({"metadata": {"annotations": {}, "labels": {}}}),
        json!({"metadata": {"annotations": {"note": "x"}, "finalizers": ["example.com/x"]}}),
        json!({"status": {"phase": "Available"}}),
        json!({"spec": {"provider": "aws", "objectStorage": {"bucket": "b"}}}),
        json!({"spec": {}, "status": {"phase": "New"}}),
        json!({"spec": {"backupName": "b"}, "metadata": {"annotations": {"velero-trust.io/x": "y"}}}),
    ];
    let mut changes = Vec::new();
    for (kind, count) in [("BackupStorageLocation", 6), ("Restore", bare.len())] {
        // A status of the other kind, or a location's `spec: {}`, does not match the schema.
        let shapes = bare[..count]
            .iter()
            .filter(|shape| kind != "Restore" || shape["status"]["phase"] != "Available");
        let shapes: Vec<_> = shapes.collect();
        for (index, old) in shapes.iter().enumerate() {
            let name = format!("bare-{index}");
            let stored = bed.create(&object("velero.io/v1", kind, &name, old))?;
            let version = &stored["metadata"]["resourceVersion"];
            for new in &shapes {
                let mut new = object("velero.io/v1", kind, &name, new);
                merge(&mut new, &json!({"metadata": {"resourceVersion": version}}));
                changes.push(new);
            }
        }
    }
    bed.activate()?;
    for new in &changes {
        bed.replace(new).with_context(|| new.to_string())?;
    }
    for kind in ["BackupStorageLocation", "Restore"] {
        let sent = bed.post(&object("velero.io/v1", kind, "new", &json!({})))?;
        ensure!(sent, "a new {kind} without a spec was not sent");
    }
    for spec in [
        json!({}),
        json!({"spec": {}}),
        json!({"spec": {"containers": null}}),
        json!({"spec": {"containers": []}}),
        json!({"spec": {"containers": [{}]}}),
        json!({"spec": {"containers": [{"command": null, "args": null}], "initContainers": null}}),
        json!({"metadata": {"labels": null, "annotations": null}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    ] {
        let pod = object("v1", "Pod", "bare", &spec);
        let sent = bed.post(&pod).with_context(|| spec.to_string())?;
        ensure!(!sent, "this Pod is not Velero's: {spec}");
    }
    new_backups(&bed)
}

/// A Backup waits for velero-trust only if it comes with a reserved annotation.
fn new_backups(bed: &Bed) -> Result<()> {
    for fields in [
        json!({}),
        json!({"metadata": {"annotations": null, "labels": null}}),
        json!({"metadata": {"annotations": {}}, "spec": {}, "status": {}}),
        json!({"metadata": {"annotations": {"velero-trust.io/other": "x"}}}),
    ] {
        let backup = object("velero.io/v1", "Backup", "bare", &fields);
        let sent = bed.post(&backup).with_context(|| fields.to_string())?;
        ensure!(!sent, "this Backup has nothing to remove: {fields}");
    }
    for annotation in RESERVED_BACKUP_ANNOTATIONS {
        let fields = json!({"metadata": {"annotations": {annotation: ""}}});
        let backup = object("velero.io/v1", "Backup", "bare", &fields);
        ensure!(bed.post(&backup)?, "{annotation} would stay");
    }
    Ok(())
}

/// Returns an object with these fields.
fn object(version: &str, kind: &str, name: &str, fields: &Value) -> Value {
    let mut object = fields.clone();
    merge(
        &mut object,
        &json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
        }),
    );
    object
}

/// An API server whose webhooks point nowhere.
struct Bed(Servers);

impl Bed {
    /// Starts the server; the webhooks are not active yet.
    fn start() -> Result<Self> {
        let servers = Servers::start()?;
        servers.kubectl.ok(&["create", "namespace", NAMESPACE])?;
        // Pods need it.
        let account = ["create", "serviceaccount", "default", "-n", NAMESPACE];
        servers.kubectl.ok(&account)?;
        Ok(Self(servers))
    }

    /// Applies the configurations of the manifests with their conditions and rules, and waits until
    /// each is in use.
    fn activate(&self) -> Result<()> {
        let port = ports::free()?;
        let rules: BTreeMap<_, _> = HANDLERS
            .iter()
            .map(|handler| {
                let operations = handler.operations.iter();
                let operations: Vec<_> = operations.map(|operation| operation.as_str()).collect();
                let rule = json!({
                    "apiGroups": [handler.group],
                    "apiVersions": ["v1"],
                    "resources": handler.resources(),
                    "operations": operations,
                });
                (handler.path, rule)
            })
            .collect();
        for file in ["validating.yaml", "mutating.yaml"] {
            let text = fs::read_to_string(installer::manifests().join(file))?;
            let configurations: Vec<Value> = serde_saphyr::from_multiple(&text)?;
            for mut configuration in configurations {
                let webhook = &mut configuration["webhooks"][0];
                let path = webhook["clientConfig"]["service"]["path"].take();
                let path = path.as_str().context("no path")?;
                webhook["rules"] = json!([rules.get(path).context("no handler")?]);
                webhook["failurePolicy"] = json!("Fail");
                webhook["clientConfig"] = json!({"url": format!("https://127.0.0.1:{port}{path}")});
                self.0.kubectl.apply(&configuration.to_string())?;
            }
        }
        let reserved = json!({"metadata": {"annotations": {"velero-trust.io/checksum": ""}}});
        let annotated = json!({"metadata": {"labels": {"velero-trust.io/inject": "true"}}, "spec": {"containers": []}});
        for (version, kind, fields) in [
            ("velero.io/v1", "BackupStorageLocation", json!({})),
            ("velero.io/v1", "Restore", json!({})),
            ("velero.io/v1", "Backup", reserved),
            ("v1", "Pod", annotated),
        ] {
            let probe = object(version, kind, "probe", &fields);
            wait::poll("the webhooks to be asked", wait::PATIENCE, || {
                ensure!(self.post(&probe)?, "{kind} is not sent yet");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn create(&self, object: &Value) -> Result<Value> {
        let (api, object) = self.api(object)?;
        let created = self
            .0
            .runtime
            .block_on(api.create(&PostParams::default(), &object));
        Ok(serde_json::to_value(created?)?)
    }

    /// Creates an object in a dry run. Returns whether the request was sent to a webhook.
    fn post(&self, object: &Value) -> Result<bool> {
        let (api, object) = self.api(object)?;
        was_sent(self.0.runtime.block_on(api.create(&dry_run(), &object)))
    }

    /// Replaces an object in a dry run. Returns whether the request was sent to a webhook.
    fn replace(&self, new: &Value) -> Result<bool> {
        let name = new["metadata"]["name"]
            .as_str()
            .context("no name")?
            .to_owned();
        let (api, new) = self.api(new)?;
        was_sent(
            self.0
                .runtime
                .block_on(api.replace(&name, &dry_run(), &new)),
        )
    }

    fn api(&self, object: &Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.clone().context("no kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let client = self.0.client.clone();
        Ok((Api::namespaced_with(client, NAMESPACE, &resource), object))
    }
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// Returns whether a request was sent to a webhook. A request that was not sent passes, or is
/// refused by the schema of its kind.
fn was_sent<T>(result: kube::Result<T>) -> Result<bool> {
    match result {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.code == 422 && status.reason == "Invalid" => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
