//! The CustomResourceDefinitions of velero-trust. `manifests/crds` is generated from them.
//!
//! Both kinds are cluster-scoped: the ledger must outlive our namespace and those of Velero.

mod backup_record;
mod record_name;
mod trusted_key;
mod verification;

pub use backup_record::{
    BackupRecord, BackupRecordSpec, BackupRecordStatus, Gone, Imported, PendingUpload,
    RecordedFinalPhase, RecordedLocation, RecordedSigner,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::CustomResourceExt as _;
pub use record_name::{name_prefix, record_name};
pub use trusted_key::{KeyScope, KeyState, TrustedKey, TrustedKeySpec};
pub use verification::{
    AcceptedRestore, ListedFile, Progress, ReadingMark, RecordedFailure, RecordedFile,
    RecordedReading, TaintedRestore, Verification,
};

/// The API group and version of both kinds.
pub const API_VERSION: &str = "velero-trust.io/v1alpha1";

/// Whether `records`, the definition of BackupRecords in a cluster, keeps what is read for Restores. That of an
/// earlier version does not.
pub fn keeps_readings(records: &CustomResourceDefinition) -> bool {
    let keeps = |version: &CustomResourceDefinitionVersion| {
        let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        let status = schema.properties.as_ref()?.get("status")?;
        Some(status.properties.as_ref()?.contains_key("verification"))
    };
    records
        .spec
        .versions
        .iter()
        .any(|version| keeps(version) == Some(true))
}

/// Returns the definitions as they are installed.
pub fn all() -> [CustomResourceDefinition; 2] {
    [BackupRecord::crd(), TrustedKey::crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_kind_keeps_no_readings() {
        let [shipped, keys] = all();
        assert!(keeps_readings(&shipped));
        assert!(!keeps_readings(&keys));
        let mut old = serde_json::to_value(&shipped).unwrap();
        let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
        let fields = old.pointer_mut(schema).unwrap().as_object_mut().unwrap();
        assert!(fields.remove("verification").is_some());
        assert!(!keeps_readings(&serde_json::from_value(old).unwrap()));
    }
}
