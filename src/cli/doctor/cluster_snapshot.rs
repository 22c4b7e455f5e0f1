//! A snapshot of a cluster, which is the only input of the checks.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};

use crate::admission::webhook_state::WebhookStatus;
use crate::cli::snapshot::NamespaceSnapshot;
use crate::kubernetes::report::Issue;
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
    /// Our Deployment.
    pub(super) deployment: Read<Option<Deployment>>,
    /// The webhooks of our configurations.
    pub(super) webhooks: Read<Vec<Webhook>>,
    /// What becomes of the requests that each webhook should judge, as `status` shows it.
    pub(super) states: Vec<WebhookStatus>,
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
    /// If an earlier version left the configuration behind, the command that deletes it.
    pub(super) retired: Option<String>,
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
    /// The permissions on its Secrets that our ServiceAccount lacks.
    pub(super) missing_secret_rights: Read<Vec<String>>,
    /// The permissions on its bundle that our ServiceAccount lacks.
    pub(super) missing_bundle_rights: Read<Vec<String>>,
    /// The ConfigMap with the name of the bundle.
    pub(super) bundle: Read<Option<ConfigMap>>,
    /// The issues in the report of the controllers.
    pub(super) issues: Read<Vec<Issue>>,
    /// Deployments and DaemonSets, Velero's and others.
    pub(super) workloads: Read<Vec<Workload>>,
    /// Its Pods and templates, as `status` reads them.
    pub(super) snapshot: Read<NamespaceSnapshot>,
    /// Its BSLs.
    pub(super) locations: Vec<Bsl<'static>>,
}

/// A Deployment or DaemonSet.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Its kind and name.
    pub(super) id: workloads::Workload,
    /// Its Pod template.
    pub(super) template: PodTemplateSpec,
}

impl ClusterSnapshot {
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
}

/// Returns the name of the ServiceAccount of our Deployment.
pub(super) fn account(deployment: Option<&Deployment>) -> &str {
    let spec = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    account.unwrap_or(names::APP)
}
