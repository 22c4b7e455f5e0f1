//! What `velero-trust status` knows, in the shape of its JSON, which docs/operations.md describes.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::injection::coverage::State;
use crate::kubernetes::report;

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    /// Nothing needs a person.
    pub(super) clean: bool,
    /// Where all of it was read.
    pub(super) source: Source,
    pub(super) leader: Leader,
    pub(super) namespaces: Vec<Namespace>,
    /// What needs a person beyond a single namespace.
    pub(super) problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    #[default]
    Cluster,
    /// A folder of YAML files, which knows no leader and dials nobody.
    Objects,
}

/// Who runs the controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader {
    pub(super) state: LeaderState,
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    /// Why it is not known, or that there is no Lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LeaderState {
    Leading,
    /// It has not renewed its Lease for long.
    Stale,
    /// There is no Lease, or nobody holds it.
    #[default]
    Absent,
    /// The Lease could not be read.
    Unknown,
}

/// A Velero namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Namespace {
    pub(super) name: String,
    /// Velero's version, by the tag of the server's image.
    pub(super) velero: Option<String>,
    pub(super) bundle: Bundle,
    pub(super) locations: Vec<Location>,
    /// Why the report of the controllers is not known; what depends on it is null then.
    pub(super) no_report: Option<String>,
    /// What is wrong with the bundle.
    pub(super) issues: Vec<report::Issue>,
    pub(super) pods: Pods,
    /// Deployments and DaemonSets whose template keeps the bundle out.
    pub(super) templates: Vec<CoverageEntry>,
    /// What could not be known and is no fault, such as a Secret that only the cluster decrypts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
    /// What needs a person.
    pub(super) problems: Vec<String>,
}

/// The bundle ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundle {
    pub(super) state: BundleState,
    pub(super) hash: Option<String>,
    pub(super) certificates: Option<usize>,
    pub(super) origins: Option<String>,
    pub(super) earliest_expiry: Option<Timestamp>,
    pub(super) last_added: Option<Timestamp>,
    /// Why the namespace is held; null when it is not.
    pub(super) held: Option<String>,
    /// The hash of the bundle that is there, where this one was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<String>,
    /// Its certificates, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Vec<BundleCertificate>>,
}

/// A certificate of the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BundleCertificate {
    #[serde(flatten)]
    pub(super) certificate: report::Certificate,
    /// Who names it; empty when that is not known: it was given at installation, or is retained.
    pub(super) from: Vec<String>,
    /// It is one of the public roots.
    pub(super) public: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BundleState {
    Published,
    /// What it would hold, computed from files.
    Computed,
    #[default]
    Absent,
    /// A ConfigMap of its name is there that is not ours.
    Foreign,
}

/// A BackupStorageLocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location {
    pub(super) name: String,
    /// What Velero says of it; null before it looked.
    pub(super) phase: Option<String>,
    /// What the controllers report of it; null when that is not known.
    pub(super) report: Option<report::Location>,
}

/// The Pods of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pods {
    /// Those that should carry the bundle: all but the opted out.
    pub(super) wanted: usize,
    /// Those of them that do.
    pub(super) current: usize,
    pub(super) opted_out: usize,
    pub(super) items: Vec<CoverageEntry>,
}

/// A Pod, or the template of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoverageEntry {
    /// Of the Pod; of the workload, such as `deployment/velero`, where it is a template.
    pub(super) name: String,
    /// What it runs, such as `server`; null where it is not Velero's and asks for the bundle.
    pub(super) kind: Option<&'static str>,
    /// What made the Pod; null for those that Velero spawns.
    pub(super) workload: Option<String>,
    pub(super) state: State,
    /// Why it is in that state; empty if there is nothing to say.
    pub(super) message: String,
}
