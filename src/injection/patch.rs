//! The patch: additions only, to lists that are there or are made.
//!
//! Never `test`, which turns a conflict with another webhook into a refusal that ignores the
//! failure policy; never a whole list where there is one, because another webhook may have added
//! to it since.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

use super::plan::{Additions, Variable};
use crate::names::{BUNDLE, MOUNT_PATH};

/// The patch that adds what `containers` name, and the volume where `volume` says that it is needed.
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

/// How the bundle's volume gets into the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumeChange {
    /// It is there.
    AlreadyPresent,
    /// It is added to the list.
    Append,
    /// The list is made for it.
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

/// A directory, not a `subPath`, so that a new bundle reaches running containers.
fn mount() -> Value {
    json!({"name": BUNDLE, "mountPath": MOUNT_PATH, "readOnly": true})
}

/// The ConfigMap is required, not `optional`: when it is deleted, the kubelet empties an optional
/// volume under the running container but leaves a required one as it is, and a new Pod waits for
/// it with an event that names it instead of running with an AWS_CA_BUNDLE that is no file, which
/// takes every AWS location down. The webhook has made sure that it is there.
///
/// World-readable, because Velero's server runs as another user than its node agents.
fn bundle_volume() -> Value {
    json!({"name": BUNDLE, "configMap": {"name": BUNDLE, "defaultMode": 0o444}})
}
