//! The JSON patch of the injection. It only adds, to existing lists or to lists that it creates.
//!
//! The patch contains no `test` operation, which would turn a conflict with another webhook into a
//! refusal that ignores the failure policy. It never replaces an existing list, because another
//! webhook may have added to that list in the meantime.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

use super::plan::{Additions, Variable};
use crate::names::{BUNDLE, MOUNT_PATH};

/// Builds the patch that makes the additions to `containers` and applies the change to the volumes.
pub(super) fn build(containers: &[Additions], volume: VolumeChange) -> Vec<PatchOperation> {
    let mut patch = Vec::with_capacity(1 + 3 * containers.len());
    match volume {
        VolumeChange::AlreadyPresent => {}
        VolumeChange::Append => patch.push(append(&["spec", "volumes"], bundle_volume())),
        VolumeChange::CreateList => {
            patch.push(create_list(&["spec", "volumes"], vec![bundle_volume()]));
        }
    }
    for additions in containers {
        let index = additions.position.index.to_string();
        let list = |field| {
            [
                "spec",
                additions.position.list.field(),
                index.as_str(),
                field,
            ]
        };
        let variables = additions.variables.iter().map(variable);
        let env = list("env");
        if additions.has_variables {
            patch.extend(variables.map(|value| append(&env, value)));
        } else if !additions.variables.is_empty() {
            patch.push(create_list(&env, variables.collect()));
        }
        let mounts = list("volumeMounts");
        match (additions.mount, additions.has_mounts) {
            (false, _) => {}
            (true, true) => patch.push(append(&mounts, mount())),
            (true, false) => patch.push(create_list(&mounts, vec![mount()])),
        }
    }
    patch
}

/// The change to the Pod's volumes that adds the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumeChange {
    /// None: the Pod has the volume.
    AlreadyPresent,
    /// Append the volume to the list.
    Append,
    /// Create the list with the volume.
    CreateList,
}

fn append(list: &[&str], value: Value) -> PatchOperation {
    add(list.iter().copied().chain(["-"]), value)
}

fn create_list(list: &[&str], values: Vec<Value>) -> PatchOperation {
    add(list.iter().copied(), Value::Array(values))
}

fn add<'b>(path: impl Iterator<Item = &'b str>, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(path),
        value,
    })
}

fn variable((name, value): &Variable) -> Value {
    json!({"name": name, "value": value})
}

/// Returns the mount of the bundle: a directory without a `subPath`, so that a new bundle reaches
/// running containers.
fn mount() -> Value {
    json!({"name": BUNDLE, "mountPath": MOUNT_PATH, "readOnly": true})
}

/// Returns the volume with the bundle's ConfigMap.
///
/// The ConfigMap is required, not `optional`. When the ConfigMap is deleted, the kubelet empties an
/// optional volume under the running container but leaves a required volume unchanged. A new Pod
/// then waits for the ConfigMap, with an event that names it, instead of running with an
/// AWS_CA_BUNDLE that is no file, which would break every AWS location. The webhook has made sure
/// that the ConfigMap exists.
///
/// The file is world-readable, because Velero's server and its node agents run as different users.
fn bundle_volume() -> Value {
    json!({"name": BUNDLE, "configMap": {"name": BUNDLE, "defaultMode": 0o444}})
}
