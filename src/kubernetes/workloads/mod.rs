//! Velero's Pods, and the Deployments and DaemonSets that create them, as far as the audit of the
//! injection needs them.

mod object;
mod read;
mod rollout;

use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{Api, ApiResource, DynamicObject};

pub use read::{RESTARTED_AT, RunningPod, WorkloadTemplate};
pub use rollout::{is_complete, is_observed, is_rolled_out};

/// A kind of workload that can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Deployment.
    Deployment,
    /// A DaemonSet.
    DaemonSet,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Deployment, Self::DaemonSet];

    /// Returns the kind as objects name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        }
    }

    /// Returns the API for the workloads of this kind in `namespace`.
    pub fn api(self, client: kube::Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client, namespace, &self.resource())
    }
}

/// Returns the API for the Pods of `namespace`.
pub fn pods(client: kube::Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<Pod>(&()))
}

/// A Deployment or a DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// Writes `deployment/velero`, as kubectl accepts it.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str().to_lowercase(), self.name)
    }
}

impl Workload {
    /// Returns a reference for Events about the workload. Without its `uid`, `kubectl describe`
    /// does not find them.
    pub fn reference(&self, namespace: &str, uid: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(self.kind.as_str().to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(self.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }
    }
}
