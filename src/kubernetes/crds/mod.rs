//! The CustomResourceDefinitions of velero-trust. `manifests/crds` is generated from them.
//!
//! Both kinds are cluster-scoped: the ledger must outlive our namespace and those of Velero.

mod backup_record;
mod record_name;
mod trusted_key;
mod verification;

pub use backup_record::{
    BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone, PendingUpload, RecordedFinalPhase,
    RecordedLocation,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
pub use record_name::{name_prefix, record_name};
pub use trusted_key::{KeyState, TrustedKey, TrustedKeySpec};
pub use verification::{
    AcceptedRestore, Progress, ReadingMark, RecordedFailure, RecordedFile, RecordedReading,
    TaintedRestore, Verification,
};

/// The API group and version of both kinds.
pub const API_VERSION: &str = "velero-trust.io/v1alpha1";

/// Returns the definitions as they are installed.
pub fn all() -> [CustomResourceDefinition; 2] {
    [BackupRecord::crd(), TrustedKey::crd()]
}
