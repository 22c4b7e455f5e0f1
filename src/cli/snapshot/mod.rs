//! The state of a Velero namespace, for `status`, `rollout` and `doctor`. It is read with the
//! permissions of the user's kubeconfig. What is in Secrets is never read.

mod activation;
mod backup_tally;
mod backups;
mod installations;
mod key_trouble;
mod leader;
mod ledger;
mod namespaces;
mod policies;
mod record_tally;
mod records;
mod reports;
mod restores;
mod rollouts;
mod server_policy;
mod signing_secret;
mod trusted_keys;
mod webhooks;

pub(super) use activation::{
    ReadActivation, activation, activation_problem, issuer, read_activation,
};
pub(super) use backup_tally::BackupTally;
pub(super) use backups::{KnownBackup, read_backups};
pub(super) use installations::other_installations;
pub(super) use key_trouble::{KeyTrouble, Scopable, key_trouble};
pub(super) use leader::{Leader, LeaderState, read_leader};
pub(super) use ledger::Ledger;
pub(super) use namespaces::{find_namespaces, nothing_found, require_exists};
pub(super) use policies::{Policies, read_policies};
pub(super) use record_tally::{NotRecorded, NotRecordedState, Others, RecordTally};
pub(super) use records::{
    INSTALL_LEDGER, LedgerError, Records, for_each_record, read_trusted_keys,
};
pub(super) use reports::{NoReport, read_report};
pub(super) use restores::{WaitingRestore, keeps_readings, waiting_restores};
pub(super) use rollouts::OngoingRollout;
pub(super) use server_policy::{is_excluded, read_key_type, read_restores_policy};
pub(super) use signing_secret::{SecretGone, has_signing_secret, restart, secret_gone};
pub(super) use trusted_keys::{
    exported_at, is_exported, lost_keys, own_keys, public_key, signing_key,
};
pub(super) use webhooks::{read_published, read_webhooks};

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PartialObjectMeta,
};
use kube::{Api, Client, ResourceExt as _};

use super::cluster::api_error;
use crate::injection::coverage::{self, State, Tally};
use crate::kubernetes::bundle_annotations::BundleAnnotations;
use crate::kubernetes::location;
use crate::kubernetes::workloads::{self, Kind, RunningPod, Workload, WorkloadTemplate};
use crate::names;
use crate::velero::bsl::Bsl;

/// The current state of a Velero namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct NamespaceSnapshot {
    pub(super) namespace: String,
    pub(super) bundle: NamespaceBundle,
    /// The Pods that the injection applies to, by name.
    pub(super) pods: BTreeMap<String, RunningPod>,
    /// The Pod templates of the workloads that the injection applies to.
    pub(super) templates: BTreeMap<Workload, WorkloadTemplate>,
    /// The restarts that are not complete yet.
    pub(super) ongoing: BTreeMap<Workload, OngoingRollout>,
}

/// The ConfigMap with the name of the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum NamespaceBundle {
    #[default]
    Absent,
    /// A ConfigMap that velero-trust did not create.
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
        let mut ongoing = BTreeMap::new();
        for kind in Kind::ALL {
            let api = kind.api(client.clone(), namespace);
            let what = format!("{}s in {namespace}", kind.as_str());
            for object in list(&api, &what).await? {
                let name = object.name_any();
                let workload = Workload { kind, name };
                if let Some(template) = WorkloadTemplate::read(&object) {
                    let rollout = OngoingRollout::read(kind, &object);
                    ongoing.extend(rollout.map(|rollout| (workload.clone(), rollout)));
                    templates.insert(workload, template);
                }
            }
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            bundle: NamespaceBundle::read(client, namespace).await?,
            pods,
            templates,
            ongoing,
        })
    }

    /// Returns the facts about the bundle that the state of a Pod depends on.
    pub(super) fn bundle_summary(&self) -> coverage::BundleSummary {
        match &self.bundle {
            NamespaceBundle::Published(published) => published.for_coverage(),
            NamespaceBundle::Absent | NamespaceBundle::Foreign => {
                coverage::BundleSummary::default()
            }
        }
    }

    /// Returns whether nothing of Velero runs in the namespace and it has no published bundle.
    pub(super) fn is_empty(&self) -> bool {
        let published = matches!(self.bundle, NamespaceBundle::Published(_));
        self.pods.is_empty() && self.templates.is_empty() && !published
    }

    /// Returns the state of a Pod or a template.
    pub(super) fn state(&self, coverage: &coverage::PodCoverage) -> State {
        coverage.state(self.bundle_summary())
    }

    /// Counts the Pods by state.
    pub(super) fn tally(&self) -> Tally {
        let states = self.pods.values().map(|pod| self.state(&pod.coverage));
        states.collect()
    }
}

impl NamespaceBundle {
    async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let map: Option<PartialObjectMeta<ConfigMap>> = config_maps
            .get_metadata_opt(names::BUNDLE)
            .await
            .map_err(|error| {
                let what = format!("ConfigMap {namespace}/{}", names::BUNDLE);
                api_error("read", &what, &error)
            })?;
        Ok(map.map_or(Self::Absent, |map| Self::of(&map.metadata)))
    }

    /// Classifies the ConfigMap with the name of the bundle by its metadata.
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        BundleAnnotations::read(metadata).map_or(Self::Foreign, Self::Published)
    }
}

/// Lists the BSLs of `namespace`.
pub(super) async fn list_locations(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Vec<Bsl<'static>>> {
    let objects = list_velero(client, namespace, "BackupStorageLocation").await?;
    Ok(objects.iter().map(location::read).collect())
}

/// The phases in which Velero is processing a Backup or a Restore.
const IN_PROGRESS_PHASES: [&str; 5] = [
    "InProgress",
    "WaitingForPluginOperations",
    "WaitingForPluginOperationsPartiallyFailed",
    "Finalizing",
    "FinalizingPartiallyFailed",
];

/// Lists the Backups and Restores in `namespace` that Velero is processing, such as `Backup nightly
/// (InProgress)`. A restart of Velero makes those in phase `InProgress` fail.
pub(super) async fn list_in_progress(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for kind in ["Backup", "Restore"] {
        for object in list_velero(client, namespace, kind).await? {
            let phase = phase(&object);
            if IN_PROGRESS_PHASES.contains(&phase) {
                found.push(format!("{kind} {} ({phase})", object.name_any()));
            }
        }
    }
    Ok(found)
}

/// Returns `status.phase`, or an empty string.
fn phase(object: &DynamicObject) -> &str {
    let phase = object.data.pointer("/status/phase");
    phase.and_then(|phase| phase.as_str()).unwrap_or_default()
}

async fn list_velero(
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
    Ok(list.map_err(|error| api_error("list", what, &error))?.items)
}
