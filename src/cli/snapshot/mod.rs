//! What `status` and `rollout` read of a Velero namespace, with the rights of the person who asks.
//! Never a Secret.

mod namespaces;
mod reports;
mod rollouts;

pub(super) use namespaces::{namespaces, nothing_in};
pub(super) use reports::report;
pub(super) use rollouts::{UnderWay, is_through};

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PartialObjectMeta,
};
use kube::{Api, Client, ResourceExt as _};

use super::cluster::cannot;
use crate::injection::coverage::{self, State, Tally};
use crate::kubernetes::bundle_annotations::BundleAnnotations;
use crate::kubernetes::workloads::{self, Kind, RunningPod, Workload, WorkloadTemplate};
use crate::names;

/// A Velero namespace as it is now.
#[derive(Clone, Debug, Default)]
pub(super) struct NamespaceSnapshot {
    pub(super) namespace: String,
    pub(super) bundle: Bundle,
    /// The Pods that the injection is for, by name.
    pub(super) pods: BTreeMap<String, RunningPod>,
    /// The workloads whose Pods the injection is for.
    pub(super) templates: BTreeMap<Workload, WorkloadTemplate>,
    /// The restarts that are not through yet.
    pub(super) under_way: BTreeMap<Workload, UnderWay>,
}

/// What stands at the bundle's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Bundle {
    #[default]
    Absent,
    /// A ConfigMap that we did not make.
    Foreign,
    Published(BundleAnnotations),
}

impl NamespaceSnapshot {
    /// Reads the namespace.
    pub(super) async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let pods = workloads::pods(client.clone(), namespace);
        let pods = list(&pods, &format!("Pods in {namespace}")).await?;
        let pods = pods
            .iter()
            .filter_map(|pod| Some((pod.name_any(), RunningPod::read(pod)?)));
        let pods = pods.collect();
        let mut templates = BTreeMap::new();
        let mut under_way = BTreeMap::new();
        for kind in Kind::ALL {
            let of_kind = kind.api(client.clone(), namespace);
            let what = format!("{}s in {namespace}", kind.as_str());
            for object in list(&of_kind, &what).await? {
                let name = object.name_any();
                let workload = Workload { kind, name };
                if let Some(template) = WorkloadTemplate::read(&object) {
                    let rollout = UnderWay::read(kind, &object);
                    under_way.extend(rollout.map(|rollout| (workload.clone(), rollout)));
                    templates.insert(workload, template);
                }
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            bundle: Bundle::read(client, namespace).await?,
            pods,
            templates,
            under_way,
        })
    }

    /// What the bundle says to the Pods.
    pub(super) fn facts(&self) -> coverage::Bundle {
        match &self.bundle {
            Bundle::Published(published) => published.for_coverage(),
            Bundle::Absent | Bundle::Foreign => coverage::Bundle::default(),
        }
    }

    /// Nothing of Velero runs here, and no bundle of ours is there.
    pub(super) fn is_bare(&self) -> bool {
        let published = matches!(self.bundle, Bundle::Published(_));
        self.pods.is_empty() && self.templates.is_empty() && !published
    }

    /// The state of a Pod or a template.
    pub(super) fn state(&self, coverage: &coverage::PodCoverage) -> State {
        coverage.state(self.facts())
    }

    /// How many Pods are in which state.
    pub(super) fn tally(&self) -> Tally {
        let states = self.pods.values().map(|pod| self.state(&pod.coverage));
        states.collect()
    }
}

impl Bundle {
    async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let map: Option<PartialObjectMeta<ConfigMap>> = maps
            .get_metadata_opt(names::BUNDLE)
            .await
            .map_err(|error| {
                let what = format!("ConfigMap {namespace}/{}", names::BUNDLE);
                cannot("read", &what, &error)
            })?;
        Ok(map.map_or(Self::Absent, |map| Self::of(&map.metadata)))
    }

    /// Of a ConfigMap of its name.
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        BundleAnnotations::read(metadata).map_or(Self::Foreign, Self::Published)
    }
}

/// The BSLs of `namespace`.
pub(super) async fn locations(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    velero(client, namespace, "BackupStorageLocation").await
}

/// The phases in which Velero works on a Backup or a Restore.
const AT_WORK: [&str; 5] = [
    "InProgress",
    "WaitingForPluginOperations",
    "WaitingForPluginOperationsPartiallyFailed",
    "Finalizing",
    "FinalizingPartiallyFailed",
];

/// The Backups and Restores of `namespace` that Velero works on, such as `Backup nightly
/// (InProgress)`. A restart makes those that are InProgress fail.
pub(super) async fn at_work(client: &Client, namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for kind in ["Backup", "Restore"] {
        for object in velero(client, namespace, kind).await? {
            let phase = phase(&object);
            if AT_WORK.contains(&phase) {
                found.push(format!("{kind} {} ({phase})", object.name_any()));
            }
        }
    }
    Ok(found)
}

/// `status.phase`, or the empty string.
pub(super) fn phase(object: &DynamicObject) -> &str {
    let phase = object.data.pointer("/status/phase");
    phase.and_then(|phase| phase.as_str()).unwrap_or_default()
}

async fn velero(
    client: &Client,
    namespace: &str,
    kind: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("velero.io", "v1", kind));
    let api = Api::namespaced_with(client.clone(), namespace, &resource);
    list(&api, &format!("{kind}s in {namespace}")).await
}

async fn list(api: &Api<DynamicObject>, what: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let list = api.list(&ListParams::default()).await;
    Ok(list.map_err(|error| cannot("list", what, &error))?.items)
}
