//! What `status` and `rollout` read of a Velero namespace, with the rights of the person who asks.
//! Never a Secret.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PartialObjectMeta,
};
use kube::{Api, Client, ResourceExt as _};

use crate::ca::coverage::{self, State, Tally};
use crate::kubernetes::published::Published;
use crate::kubernetes::workloads::{self, Kind, Running, Template, Workload};
use crate::kubernetes::{report, trouble};
use crate::names;

/// A Velero namespace as it is now.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) namespace: String,
    pub(super) bundle: Bundle,
    /// The Pods that the injection is for, by name.
    pub(super) pods: BTreeMap<String, Running>,
    /// The workloads whose Pods the injection is for.
    pub(super) templates: BTreeMap<Workload, Template>,
}

/// What stands at the bundle's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Bundle {
    #[default]
    Absent,
    /// A ConfigMap that we did not make.
    Foreign,
    Published(Published),
}

impl Live {
    /// Reads the namespace.
    pub(super) async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let pods = workloads::pods(client.clone(), namespace);
        let pods = list(&pods, &format!("Pods in {namespace}")).await?;
        let pods = pods
            .iter()
            .filter_map(|pod| Some((pod.name_any(), Running::read(pod)?)));
        let pods = pods.collect();
        let mut templates = BTreeMap::new();
        for kind in Kind::ALL {
            let of_kind = kind.api(client.clone(), namespace);
            let what = format!("{}s in {namespace}", kind.as_str());
            for object in list(&of_kind, &what).await? {
                let name = object.name_any();
                if let Some(template) = Template::read(&object) {
                    templates.insert(Workload { kind, name }, template);
                }
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            bundle: Bundle::read(client, namespace).await?,
            pods,
            templates,
        })
    }

    /// What the bundle says to the Pods.
    pub(super) fn facts(&self) -> coverage::Bundle {
        match &self.bundle {
            Bundle::Published(published) => published.facts(),
            Bundle::Absent | Bundle::Foreign => coverage::Bundle::default(),
        }
    }

    /// The state of a Pod or a template.
    pub(super) fn state(&self, standing: &coverage::Standing) -> State {
        standing.state(self.facts())
    }

    /// How many Pods are in which state.
    pub(super) fn tally(&self) -> Tally {
        let states = self.pods.values().map(|pod| self.state(&pod.standing));
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
        Published::read(metadata).map_or(Self::Foreign, Self::Published)
    }
}

/// The Velero namespaces: those that were `asked` for; else all that hold a BSL, carry our label or
/// are reported on in `ours`.
pub(super) async fn namespaces(
    client: &Client,
    ours: &str,
    asked: &[String],
) -> anyhow::Result<Vec<String>> {
    if !asked.is_empty() {
        let asked: BTreeSet<_> = asked.iter().cloned().collect();
        return Ok(asked.into_iter().collect());
    }
    let mut found = BTreeSet::new();
    let all = locations(client, None).await;
    for location in all.context("name the namespace of Velero with --velero-namespace")? {
        found.extend(location.namespace());
    }
    let labelled = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
    let labelled = ListParams::default().labels(&labelled);
    let namespaces = Api::<Namespace>::all(client.clone());
    // Both only add to what the BSLs say; who may not read them is not stopped.
    if let Ok(list) = namespaces.list_metadata(&labelled).await {
        found.extend(list.items.iter().map(PartialObjectMeta::name_any));
    }
    let maps = Api::<ConfigMap>::namespaced(client.clone(), ours);
    if let Ok(list) = maps.list_metadata(&ListParams::default()).await {
        let names = list.items.iter().map(PartialObjectMeta::name_any);
        found.extend(names.filter_map(|name| report::namespace_of(&name).map(str::to_owned)));
    }
    Ok(found.into_iter().collect())
}

/// The BSLs of `namespace`, or of all.
pub(super) async fn locations(
    client: &Client,
    namespace: Option<&str>,
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
        for object in velero(client, Some(namespace), kind).await? {
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
    namespace: Option<&str>,
    kind: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("velero.io", "v1", kind));
    let client = client.clone();
    match namespace {
        Some(namespace) => {
            let api = Api::namespaced_with(client, namespace, &resource);
            list(&api, &format!("{kind}s in {namespace}")).await
        }
        None => list(&Api::all_with(client, &resource), &format!("{kind}s")).await,
    }
}

async fn list(api: &Api<DynamicObject>, what: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let list = api.list(&ListParams::default()).await;
    Ok(list.map_err(|error| cannot("list", what, &error))?.items)
}

/// An error for the person who asked.
pub(super) fn cannot(verb: &str, what: &str, error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            anyhow!("cannot {verb} {what}: there is no such thing; is Velero installed?")
        }
        error => anyhow!("cannot {verb} {what}: {}", trouble::reason(error).message),
    }
}
