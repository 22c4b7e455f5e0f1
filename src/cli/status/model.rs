//! The data model of `velero-trust status`, which is also the schema of its JSON.
//! docs/operations.md describes it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::admission::webhook_state::WebhookStatus;
use crate::cli::snapshot::{KeyTrouble, Leader, NotRecorded, Others, SecretGone};
use crate::injection::coverage::State;
use crate::kubernetes::published_activation::ActivationReport;
use crate::kubernetes::report;

/// What separates a problem from its fix: for people, the fix has a line of its own.
pub(in crate::cli) const FIX_SEPARATOR: char = '\n';

/// Serializes each problem and its fix as one line.
fn serialize_problems<S: Serializer>(problems: &[String], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(
        problems
            .iter()
            .map(|problem| problem.replace(FIX_SEPARATOR, "; ")),
    )
}

/// The status of all shown namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    /// Whether nothing needs attention.
    pub(super) clean: bool,
    /// Where the status was read from.
    pub(super) source: Source,
    pub(super) leader: Leader,
    /// Whether the API server asks velero-trust; empty for a folder of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) webhooks: Vec<WebhookStatus>,
    /// What became of the activation of the webhooks; absent if the leader did not publish it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) activation: Option<ActivationReport>,
    /// The certificate that the leader presents; absent for a folder of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serving_certificate: Option<ServingCertificateStatus>,
    /// The admission policies; absent for a folder of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policies: Option<Policies>,
    /// The records of backups; absent for a folder of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) records: Option<Records>,
    pub(super) namespaces: Vec<Namespace>,
    /// Problems that need attention and concern no single namespace.
    #[serde(serialize_with = "serialize_problems")]
    pub(super) problems: Vec<String>,
}

/// The certificate that the leader presents to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServingCertificateStatus {
    pub(super) state: ServingCertificateState,
    pub(super) not_after: Option<Timestamp>,
    /// What to do if it expires soon, or why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ServingCertificateState {
    Valid,
    ExpiresSoon,
    Expired,
    /// The leader has not published it, or it could not be read.
    Unknown,
}

/// The admission policies, which hold while velero-trust is down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policies {
    /// Whether they are those of the manifests, and know velero-trust's account; null if that is not
    /// known.
    pub(super) enforced: Option<bool>,
    /// What is missing, or why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

/// The records of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Records {
    /// Whether the cluster has their kinds; null if that is not known.
    pub(super) installed: Option<bool>,
    /// The key that signs; null if there is none, or it is not known.
    pub(super) signing_key: Option<SigningKey>,
    /// What is wrong with TrustedKeys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) key_trouble: Vec<KeyTrouble>,
    /// Why something is not known, or that the kinds are not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// The key that signs the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SigningKey {
    /// The name of its TrustedKey.
    pub(super) trusted_key: String,
    /// Whether a person has a copy of its private half.
    pub(super) exported: bool,
    /// The type that a new key would have, if the one that signs is of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wanted_type: Option<String>,
    /// The TrustedKeys whose Secret was lost before, if the private half was not exported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<String>,
    /// What to do about its Secret, if that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_gone: Option<SecretGone>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    #[default]
    Cluster,
    /// A folder of YAML files. The leader and the states of endpoints are not known.
    Objects,
}

/// A Velero namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Namespace {
    pub(super) name: String,
    /// Velero's version, from the tag of the server's image.
    pub(super) velero: Option<String>,
    pub(super) bundle: Bundle,
    pub(super) locations: Vec<Location>,
    /// The backups that could be restored; absent for a folder of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backups: Option<Backups>,
    /// The Restores that Velero did not begin yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) waiting_restores: Vec<WaitingRestore>,
    /// The CAs that were given at installation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extra_cas: Vec<report::ExtraCa>,
    /// The CAs that no location names any longer and that are still in the bundle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) retained: Vec<report::RetainedCa>,
    /// Whether the controllers leave the namespace alone.
    #[serde(skip)]
    pub(super) is_excluded: bool,
    /// Why the report of the controllers is not known. Fields that depend on it are null then.
    pub(super) no_report: Option<String>,
    /// Whether the leader probed the endpoints on request; absent if it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<LiveProbe>,
    /// Issues of the bundle.
    pub(super) issues: Vec<report::Issue>,
    pub(super) pods: Pods,
    /// Deployments and DaemonSets whose template prevents the injection of the bundle.
    pub(super) templates: Vec<CoverageEntry>,
    /// Values that are not known although nothing is wrong, such as a Secret that only the cluster
    /// can decrypt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<String>,
    /// Problems that need attention.
    #[serde(serialize_with = "serialize_problems")]
    pub(super) problems: Vec<String>,
}

/// A Restore that Velero did not begin yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitingRestore {
    pub(super) name: String,
    /// The backup; null if a schedule is named.
    pub(super) backup: Option<String>,
    /// When it was created.
    pub(super) created: Option<String>,
    /// What it waits for; empty if that is Velero.
    pub(super) why: String,
}

/// A request for a probe of the endpoints now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LiveProbe {
    /// When it was made, by the clock of this machine.
    pub(super) requested: Timestamp,
    /// How long the command waited at most, in seconds.
    #[serde(skip)]
    pub(super) seconds: u64,
    /// Whether there is a report to write the request on.
    #[serde(skip)]
    pub(super) is_asked: bool,
    /// Whether each endpoint was probed after it.
    #[serde(rename = "done")]
    pub(super) is_done: bool,
}

/// The backups of a namespace, and how many of them could be restored now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backups {
    /// How Restores are reviewed now: `enforce`, `warn` or `off`; null if that is not known.
    pub(super) restores: Option<&'static str>,
    /// The number of backups; null if they could not be read.
    pub(super) total: Option<usize>,
    /// The number of backups that could be restored; null if that is not known.
    pub(super) restorable: Option<usize>,
    /// The numbers of all other backups by the reason.
    pub(super) reasons: BTreeMap<String, usize>,
    /// What `--restores=enforce` would refuse; null if that is not known.
    pub(super) enforced: Option<Enforced>,
    /// The number of backups whose files are recorded; null if that is not known.
    pub(super) recorded: Option<usize>,
    /// The numbers of these by who vouches for the files: `observed`, `late` or `adopted`.
    pub(super) levels: BTreeMap<String, usize>,
    /// The numbers of those that were imported by the TrustedKey that vouched for them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) imported: BTreeMap<String, usize>,
    /// The backups that are not recorded, by the reason.
    pub(super) not_recorded: Vec<NotRecordedBackups>,
    /// Why something is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// The backups that no Restore could name under `--restores=enforce`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enforced {
    /// Their number.
    pub(super) refused: usize,
    /// Their numbers by the rule that would deny the Restore.
    pub(super) reasons: BTreeMap<String, usize>,
}

/// The backups that are not recorded for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotRecordedBackups {
    #[serde(flatten)]
    pub(super) why: NotRecorded,
    #[serde(flatten)]
    pub(super) backups: Others,
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
    /// Why the namespace is held; null if it is not.
    pub(super) held: Option<String>,
    /// The hash of the published bundle, if this one was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<String>,
    /// Its certificates, if they were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Vec<BundleCertificate>>,
}

/// A certificate of the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BundleCertificate {
    #[serde(flatten)]
    pub(super) certificate: report::Certificate,
    /// What names it; empty if that is not known. Such a certificate is retained, or is a public root.
    pub(super) from: Vec<String>,
    /// The end of its retention, RFC 3339, if nothing names it any longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retained_until: Option<String>,
    /// Whether it is one of the public roots.
    pub(super) public: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BundleState {
    Published,
    /// The expected content, computed from files.
    Computed,
    #[default]
    Absent,
    /// A ConfigMap with its name exists that velero-trust does not own.
    Foreign,
}

/// A BackupStorageLocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location {
    pub(super) name: String,
    /// The phase that Velero reports; null before Velero has checked the location.
    pub(super) phase: Option<String>,
    /// The report of the controllers; null if it is not known.
    pub(super) report: Option<report::Location>,
}

/// The Pods of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pods {
    /// Number of Pods that should carry the bundle: all but those that are opted out.
    pub(super) wanted: usize,
    /// Number of Pods among them that carry the current bundle.
    pub(super) current: usize,
    pub(super) opted_out: usize,
    pub(super) items: Vec<CoverageEntry>,
}

/// The coverage of a Pod, or of the Pod template of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoverageEntry {
    /// The name of the Pod; for a template, the workload, such as `deployment/velero`.
    pub(super) name: String,
    /// What the Pod runs, such as `server`; null if it is not Velero's and requests the bundle.
    pub(super) kind: Option<&'static str>,
    /// The workload that owns the Pod; null for Pods that Velero itself creates.
    pub(super) workload: Option<String>,
    pub(super) state: State,
    /// The reason for the state; empty if it needs no explanation.
    pub(super) message: String,
}
