//! A snapshot of a cluster, which is the only input of the checks.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use super::buckets::BucketAccess;
use super::identity::CloudIdentity;
use super::ledger::LedgerSnapshot;
use crate::admission::webhook_state::WebhookStatus;
use crate::ca::references::{CaTarget, ca_references};
use crate::ca::serving_certificate::ServingCertificate;
use crate::cli::install::takes_files;
use crate::cli::snapshot::{Leader, NamespaceSnapshot, Policies, ReadActivation};
use crate::kubernetes::report::NamespaceReport;
use crate::kubernetes::workloads;
use crate::names;
use crate::velero::bsl::Bsl;

/// The result of reading something from the cluster, or why it could not be read.
pub(super) type Read<T> = Result<T, String>;

/// A snapshot of a cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterSnapshot {
    /// The time of the snapshot, in seconds since 1970.
    pub(super) now: i64,
    /// Our namespace.
    pub(super) namespace: String,
    /// The version of Kubernetes.
    pub(super) kubernetes: Read<(u32, u32)>,
    /// Our namespace itself.
    pub(super) own_namespace: Read<NamespaceState>,
    /// The permissions to install velero-trust that the user lacks, each as `verb/verb resource`;
    /// empty where it is installed.
    pub(super) missing_user_rights: Read<Vec<String>>,
    /// Velero's CRDs.
    pub(super) crds: Read<VeleroCrds>,
    /// What the records of backups need.
    pub(super) ledger: LedgerSnapshot,
    /// Our Deployment.
    pub(super) deployment: Read<Option<Deployment>>,
    /// What is known of the identity of our ServiceAccount in a cloud.
    pub(super) identity: Read<CloudIdentity>,
    /// The webhooks of our configurations.
    pub(super) webhooks: Read<Vec<Webhook>>,
    /// What became of their activation, as the leader says.
    pub(super) activation: ReadActivation,
    /// What becomes of the requests that each webhook should judge, as `status` shows it.
    pub(super) states: Vec<WebhookStatus>,
    /// The holder of the controllers' Lease.
    pub(super) leader: Leader,
    /// The certificate that the leader presents; `None` if it is not known.
    pub(super) presented: Option<ServingCertificate>,
    /// The admission policies.
    pub(super) policies: Read<Policies>,
    /// The namespaces of Deployments of other installations.
    pub(super) other_installations: Read<Vec<String>>,
    /// The serving certificate and its chain, PEM, from the Secret; never the key.
    pub(super) certificate: Read<Option<String>>,
    /// The permissions of the manifests that our ServiceAccount lacks, each as `verb resource`.
    /// Those in Velero's namespaces are in [`VeleroNamespace`].
    pub(super) missing_rights: Read<Vec<String>>,
    /// Whether namespaces with our label could be listed. If not, those without a BSL are not among
    /// the Velero namespaces.
    pub(super) labelled: Read<()>,
    /// The Velero namespaces: those that contain a BSL or have our label.
    pub(super) velero: Read<Vec<VeleroNamespace>>,
    /// The bundles in all other namespaces.
    pub(super) other_bundles: Read<Vec<OtherBundle>>,
}

/// The state of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamespaceState {
    Present,
    /// It is being deleted, so that nothing can be created in it.
    Terminating,
    Absent,
}

/// Velero's CRDs, as far as velero-trust depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VeleroCrds {
    /// The names of those that the cluster does not have.
    pub(super) missing: Vec<&'static str>,
    /// Whether a BackupStorageLocation keeps `spec.objectStorage.caCertRef`. The API server drops
    /// fields that are not in the schema.
    pub(super) has_ca_cert_ref: bool,
}

impl VeleroCrds {
    /// The CRDs whose objects velero-trust reads or judges. The first is that of
    /// BackupStorageLocations.
    pub(super) const NAMES: [&'static str; 3] = [
        "backupstoragelocations.velero.io",
        "backups.velero.io",
        "restores.velero.io",
    ];

    /// Whether Velero is not installed in the cluster.
    pub(super) fn are_absent(&self) -> bool {
        self.missing.len() == Self::NAMES.len()
    }
}

/// A bundle of ours in a namespace that contains no BSL and has no label.
#[derive(Clone, Debug)]
pub(super) struct OtherBundle {
    /// The namespace.
    pub(super) namespace: String,
    /// Who may mount it.
    pub(super) users: Read<BundleUsers>,
}

/// Who may mount a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BundleUsers {
    /// Velero runs in the namespace.
    Velero,
    /// Pods of others asked for it.
    Others,
    /// Nobody.
    None,
}

/// A webhook of one of our configurations.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    /// Kind and name of the configuration.
    pub(super) configuration: String,
    /// The command that deletes the configuration.
    pub(super) delete: String,
    /// Whether an earlier version left the configuration behind.
    pub(super) is_retired: bool,
    /// Whether the API server refuses the request if it cannot call the webhook.
    pub(super) refuses_on_failure: bool,
    /// The namespace of the other installation that it calls; `None` if it calls ours.
    pub(super) other_namespace: Option<String>,
    /// Its own name.
    pub(super) name: String,
    /// The path or URL that it calls.
    pub(super) path: String,
    /// The host name that its certificate must be valid for.
    pub(super) host: String,
    /// Whether it has rules. Without rules, it receives no requests.
    pub(super) has_rules: bool,
    /// Its caBundle: the CAs that the API server verifies it with, PEM.
    pub(super) ca: Vec<u8>,
}

/// A Velero namespace.
#[derive(Clone, Debug)]
pub(super) struct VeleroNamespace {
    /// Its name.
    pub(super) namespace: String,
    /// Whether the controllers leave it alone.
    pub(super) is_excluded: bool,
    /// The permissions on its Secrets that our ServiceAccount lacks.
    pub(super) missing_secret_rights: Read<Vec<String>>,
    /// The permissions on its bundle that our ServiceAccount lacks.
    pub(super) missing_bundle_rights: Read<Vec<String>>,
    /// The ConfigMap with the name of the bundle.
    pub(super) bundle: Read<Option<ConfigMap>>,
    /// The report of the controllers.
    pub(super) report: Read<NamespaceReport>,
    /// Deployments and DaemonSets, Velero's and others.
    pub(super) workloads: Read<Vec<Workload>>,
    /// Its Pods and templates, as `status` reads them.
    pub(super) snapshot: Read<NamespaceSnapshot>,
    /// Its BSLs.
    pub(super) locations: Vec<Bsl<'static>>,
    /// What is known of the bucket of each BSL, by the name of the BSL.
    pub(super) buckets: Vec<(String, BucketAccess)>,
    /// Whether its repositories of volume data have the password that everybody knows.
    pub(super) has_default_password: Read<bool>,
}

/// Returns the names of the Secrets of `namespace` that its `locations` name as CAs.
pub(super) fn named_secrets(namespace: &str, locations: &[Bsl<'_>]) -> BTreeSet<String> {
    let references = locations
        .iter()
        .flat_map(|bsl| ca_references(namespace, bsl));
    let names = references.filter_map(|reference| match reference.target {
        CaTarget::Secret(reference) => Some(reference.secret.name),
        CaTarget::Base64(_) | CaTarget::Pem(_) | CaTarget::Invalid(_) => None,
    });
    names.collect()
}

/// A Deployment or DaemonSet.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Its kind and name.
    pub(super) id: workloads::Workload,
    /// Its Pod template.
    pub(super) template: PodTemplateSpec,
}

impl VeleroNamespace {
    /// Whether nothing in it could be read, of what the checks need.
    fn is_unread(&self) -> bool {
        !self.is_excluded
            && self.bundle.is_err()
            && self.workloads.is_err()
            && self.snapshot.is_err()
    }
}

impl ClusterSnapshot {
    /// Whether the servers issue their own certificates, as far as known.
    pub(super) fn issues_itself(&self) -> bool {
        let deployment = self.deployment.as_ref().ok().and_then(Option::as_ref);
        deployment.is_some_and(|deployment| !takes_files(deployment))
    }

    /// Returns the name of our ServiceAccount, from the Deployment; without a Deployment, the name
    /// in the manifests.
    pub(super) fn account(&self) -> &str {
        let deployment = self.deployment.as_ref().ok().and_then(Option::as_ref);
        account(deployment)
    }

    /// Whether velero-trust is not installed in the namespace.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.deployment, Ok(None))
    }

    /// Returns the numbers of replicas that our Deployment has available and wants; `None` if there
    /// is none or it could not be read.
    pub(super) fn replicas(&self) -> Option<(i32, i32)> {
        let deployment = self.deployment.as_ref().ok()?.as_ref()?;
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let status = deployment.status.as_ref();
        let available = status.and_then(|status| status.available_replicas);
        Some((available.unwrap_or_default(), wanted.unwrap_or(1)))
    }

    /// Returns the time of the snapshot.
    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap_or_default()
    }

    /// Whether nothing inside a Velero namespace could be read.
    pub(super) fn has_unread_namespace(&self) -> bool {
        let mut namespaces = self.velero.iter().flatten();
        namespaces.any(VeleroNamespace::is_unread)
    }

    /// Whether the API server refuses requests that it cannot send to this installation.
    pub(super) fn refuses_without_replicas(&self) -> bool {
        let mut webhooks = self.own_webhooks();
        webhooks.any(|webhook| webhook.has_rules && webhook.refuses_on_failure)
    }

    /// Returns the webhooks of this installation that the manifests of this version have, as far as
    /// they are known.
    pub(super) fn own_webhooks(&self) -> impl Iterator<Item = &Webhook> {
        let all = self.webhooks.iter().flatten();
        all.filter(|webhook| !webhook.is_retired && webhook.other_namespace.is_none())
    }
}

/// Returns the name of the ServiceAccount of our Deployment.
pub(super) fn account(deployment: Option<&Deployment>) -> &str {
    let spec = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    account.unwrap_or(names::APP)
}
