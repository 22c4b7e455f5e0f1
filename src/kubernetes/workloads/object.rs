//! The parts of Pods and workloads that are read, borrowed from their JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Kind, Workload};
use crate::velero::lenient::null_is_default;
use crate::velero::metadata::Metadata;
use crate::velero::pod_status::Status;
use crate::velero::text::{Text, or_empty};

use std::collections::BTreeMap;

/// A Pod.
#[derive(Deserialize)]
pub(super) struct Object<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) metadata: ObjectMetadata<'a>,
    #[serde(borrow, default)]
    pub(super) spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) status: Option<Status<'a>>,
}

/// A Deployment or a DaemonSet.
#[derive(Deserialize)]
pub(super) struct WorkloadObject<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) metadata: ObjectMetadata<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) spec: WorkloadSpec<'a>,
}

/// The `spec` of a workload.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WorkloadSpec<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) template: Template<'a>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) paused: bool,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) update_strategy: UpdateStrategy<'a>,
}

/// The `updateStrategy` of a DaemonSet.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UpdateStrategy<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
}

/// The template of a Pod.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Template<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) metadata: Metadata<'a>,
    #[serde(borrow)]
    pub(super) spec: Option<&'a RawValue>,
}

/// The metadata of a stored object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObjectMetadata<'a> {
    #[serde(borrow)]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) uid: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(borrow)]
    pub(super) annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    owner_references: Vec<OwnerReference<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnerReference<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    controller: Option<bool>,
}

/// The images of a Pod's containers.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Images<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) containers: Vec<Image<'a>>,
}

/// The image of a container.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Image<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) image: Option<Text<'a>>,
}

impl ObjectMetadata<'_> {
    /// Returns the workload that created a Pod; `None` for Pods that Velero itself creates, and for
    /// those of Jobs.
    pub(super) fn workload(&self) -> Option<Workload> {
        let mut owners = self.owner_references.iter();
        let owner = owners.find(|owner| owner.controller == Some(true))?;
        let name = or_empty(owner.name.as_ref());
        match or_empty(owner.kind.as_ref()) {
            "DaemonSet" => Some(Workload {
                kind: Kind::DaemonSet,
                name: name.to_owned(),
            }),
            "ReplicaSet" => {
                // `<deployment>-<hash>`, and the hash is a label of the Pod.
                let hash = self
                    .labels
                    .as_ref()?
                    .get(&Text::from("pod-template-hash"))?;
                let name = name.strip_suffix(&**hash)?.strip_suffix('-')?;
                Some(Workload {
                    kind: Kind::Deployment,
                    name: name.to_owned(),
                })
            }
            _ => None,
        }
    }
}
