//! What was seen of a cluster; the checks know nothing else.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};

use crate::cli::snapshot::NamespaceSnapshot;
use crate::kubernetes::report::Issue;
use crate::kubernetes::workloads;
use crate::names;
use crate::velero::bsl::Bsl;

/// Something that was looked at, or why it could not be.
pub(super) type Read<T> = Result<T, String>;

/// What was seen of a cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterSnapshot {
    /// The moment, seconds since 1970.
    pub(super) now: i64,
    /// Our namespace.
    pub(super) namespace: String,
    /// The version of Kubernetes.
    pub(super) kubernetes: Read<(u32, u32)>,
    /// Our Deployment.
    pub(super) deployment: Read<Option<Deployment>>,
    /// The webhooks of our configurations.
    pub(super) webhooks: Read<Vec<Webhook>>,
    /// The serving certificate and its chain, PEM, from the Secret; never the key.
    pub(super) certificate: Read<Option<String>>,
    /// What our ServiceAccount may not do although the manifests say so, Velero's namespaces aside,
    /// each as `verb resource`.
    pub(super) missing_rights: Read<Vec<String>>,
    /// Why namespaces with our label, which hold no BSL, are not among the Velero namespaces.
    pub(super) labelled: Read<()>,
    /// The Velero namespaces: those that hold a BSL, or that have our label.
    pub(super) velero: Read<Vec<VeleroNamespace>>,
}

/// A webhook of one of our configurations.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    /// Kind and name of the configuration.
    pub(super) configuration: String,
    /// Its own name.
    pub(super) name: String,
    /// The path or URL that it asks.
    pub(super) path: String,
    /// The name that its certificate must be for.
    pub(super) host: String,
    /// Whether it is sent anything.
    pub(super) has_rules: bool,
    /// The CAs that the API server trusts it by, PEM.
    pub(super) ca: Vec<u8>,
}

/// A Velero namespace.
#[derive(Clone, Debug)]
pub(super) struct VeleroNamespace {
    /// Its name.
    pub(super) namespace: String,
    /// What it may not do with Secrets here.
    pub(super) missing_secret_rights: Read<Vec<String>>,
    /// What it may not do with the bundle.
    pub(super) missing_bundle_rights: Read<Vec<String>>,
    /// What is there under the bundle's name.
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
    /// The template of its Pods.
    pub(super) template: PodTemplateSpec,
}

impl ClusterSnapshot {
    /// Our ServiceAccount: the Deployment says which; the manifests' when there is none.
    pub(super) fn account(&self) -> &str {
        let deployment = self.deployment.as_ref().ok().and_then(Option::as_ref);
        account(deployment)
    }

    /// Whether velero-trust is not in the namespace that was named.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.deployment, Ok(None))
    }
}

/// The ServiceAccount of our Deployment.
pub(super) fn account(deployment: Option<&Deployment>) -> &str {
    let spec = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    account.unwrap_or(names::APP)
}
