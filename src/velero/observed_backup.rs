//! What the recorder follows of a Backup in the cluster.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::backup_fields::{BackupFields, Document};
use super::lenient::null_is_default;
use super::text::seconds;
use crate::digest::DigestText;

/// How far Velero is with a backup (`pkg/apis/velero/v1/backup_types.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Velero still works on it, or waits.
    Running,
    /// Velero writes none of its files any more, and can restore it.
    Complete,
    /// It failed, or is being deleted: there is nothing to record.
    Over,
}

/// Most bytes in the name of a user who vouches for a backup, and in what is declared. Those with more
/// are as if they were not there.
pub const MAX_ADOPTION_BYTES: usize = 512;

/// A Backup, as far as the recorder depends on it. It has some hundred bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedBackup {
    /// The fields that are signed.
    pub fields: BackupFields,
    /// `spec.storageLocation`.
    pub storage_location: String,
    /// Whether its deletion began.
    pub is_deleted: bool,
    /// The annotation with the checksum of the tarball.
    pub checksum: Option<DigestText>,
    /// The annotation with the digest of what is signed.
    pub manifest: Option<DigestText>,
    /// Who vouches for the files and asks to record them.
    pub adoption: Option<Adoption>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    /// When the API server stored the phase, by its own clock, in seconds since 1970. The fraction
    /// of the second is lost.
    pub phase_stored: Option<i64>,
    /// `status.expiration`: when its time to live is over, in seconds since 1970.
    pub expires: Option<i64>,
}

/// The annotations with which a person vouches for a backup. They are anybody's who could create the
/// Backup with them, as a Schedule does, until the recorder has removed those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The name of the user.
    pub by: String,
    /// The checksum of the tarball, not validated, if the files are not to be read.
    pub declared: Option<String>,
}

impl Adoption {
    fn is_short(&self) -> bool {
        let mut texts = [Some(&self.by), self.declared.as_ref()]
            .into_iter()
            .flatten();
        texts.all(|text| text.len() <= MAX_ADOPTION_BYTES)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    #[serde(deserialize_with = "null_is_default")]
    metadata: RestOfMetadata,
    #[serde(deserialize_with = "null_is_default")]
    spec: RestOfSpec,
    #[serde(deserialize_with = "null_is_default")]
    status: RestOfStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RestOfStatus {
    expiration: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RestOfMetadata {
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    annotations: Annotations,
    #[serde(deserialize_with = "null_is_default")]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "velero-trust.io/checksum")]
    checksum: Option<String>,
    #[serde(rename = "velero-trust.io/manifest")]
    manifest: Option<String>,
    #[serde(rename = "velero-trust.io/adopt")]
    adopt: Option<String>,
    #[serde(rename = "velero-trust.io/declared-checksum")]
    declared: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RestOfSpec {
    #[serde(deserialize_with = "null_is_default")]
    storage_location: String,
}

/// An entry of `metadata.managedFields`: who wrote which fields, and when last.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ManagedFields {
    time: Option<String>,
    #[serde(rename = "fieldsV1", deserialize_with = "null_is_default")]
    fields: Fields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:status", deserialize_with = "null_is_default")]
    status: StatusFields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusFields {
    #[serde(rename = "f:phase")]
    phase: Option<IgnoredAny>,
}

impl ObservedBackup {
    /// Reads a Backup from its JSON. Returns `None` if a field is of another type than in Velero's
    /// schema.
    pub fn from_json(text: &str) -> Option<Self> {
        let document: Document = serde_json::from_str(text).ok()?;
        let Rest {
            metadata,
            spec,
            status,
        } = serde_json::from_str(text).ok()?;
        let writers = metadata.managed_fields.iter();
        let writers = writers.filter(|writer| writer.fields.status.phase.is_some());
        let times = writers.filter_map(|writer| seconds(writer.time.as_deref()?));
        let Annotations {
            checksum,
            manifest,
            adopt,
            declared,
        } = metadata.annotations;
        Some(Self {
            fields: document.into(),
            storage_location: spec.storage_location,
            is_deleted: metadata.deletion_timestamp.is_some(),
            checksum: checksum.as_deref().map(DigestText::from),
            manifest: manifest.as_deref().map(DigestText::from),
            adoption: adopt
                .map(|by| Adoption { by, declared })
                .filter(Adoption::is_short),
            created: metadata.creation_timestamp.as_deref().and_then(seconds),
            // All who own the field wrote the value that it has, the first of them first.
            phase_stored: times.min(),
            expires: status.expiration.as_deref().and_then(seconds),
        })
    }

    /// Whether Velero deletes the backup, with its files.
    pub fn is_being_deleted(&self) -> bool {
        self.fields.phase == "Deleting"
    }

    /// Returns how far Velero is.
    pub fn progress(&self) -> Progress {
        match self.fields.phase.as_str() {
            _ if self.is_deleted => Progress::Over,
            "Completed" | "PartiallyFailed" => Progress::Complete,
            "Failed" | "FailedValidation" | "Deleting" => Progress::Over,
            _ => Progress::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{
        ADOPT_ANNOTATION, CHECKSUM_ANNOTATION, DECLARED_CHECKSUM_ANNOTATION, MANIFEST_ANNOTATION,
    };
    use serde_json::{Value, json};

    fn backup() -> Value {
        json!({
            "metadata": {
                "namespace": "velero", "name": "b", "uid": "u",
                "annotations": {CHECKSUM_ANNOTATION: "sha256:x", MANIFEST_ANNOTATION: "sha256:y"},
                "managedFields": [
                    {"manager": "velero", "time": "1970-01-01T00:00:09Z",
                     "fieldsV1": {"f:spec": {"f:ttl": {}}}},
                    {"manager": "velero-server", "time": "1970-01-01T00:00:05Z",
                     "fieldsV1": {"f:status": {".": {}, "f:phase": {}, "f:progress": {}}}},
                    {"manager": "old", "time": "1970-01-01T00:00:06Z",
                     "fieldsV1": {"f:status": {"f:phase": {}}}},
                    {"manager": "without a time", "fieldsV1": {"f:status": {"f:phase": {}}}},
                ],
            },
            "spec": {"storageLocation": "default"},
            "status": {"phase": "Completed", "expiration": "1970-01-01T00:00:07Z"},
        })
    }

    fn read(backup: &Value) -> Option<ObservedBackup> {
        ObservedBackup::from_json(&backup.to_string())
    }

    #[test]
    fn reads_what_the_recorder_follows() {
        let observed = read(&backup()).unwrap();
        assert_eq!(observed.fields.uid, "u");
        assert_eq!(observed.storage_location, "default");
        assert_eq!(observed.checksum, Some("sha256:x".into()));
        assert_eq!(observed.manifest, Some("sha256:y".into()));
        assert_eq!(
            (observed.phase_stored, observed.expires),
            (Some(5), Some(7))
        );
        let bare = read(&json!({"metadata": {"managedFields": null}})).unwrap();
        assert_eq!((bare.phase_stored, bare.checksum), (None, None));
        assert_eq!((bare.adoption, bare.created), (None, None));
        let mut adopted = backup();
        adopted["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:03Z");
        let annotations = &mut adopted["metadata"]["annotations"];
        annotations[DECLARED_CHECKSUM_ANNOTATION] = json!("sha256:z");
        assert_eq!(read(&adopted).unwrap().adoption, None, "by nobody");
        adopted["metadata"]["annotations"][ADOPT_ANNOTATION] = json!("jane");
        let observed = read(&adopted).unwrap();
        let adoption = Adoption {
            by: "jane".into(),
            declared: Some("sha256:z".into()),
        };
        assert_eq!(
            (observed.adoption, observed.created),
            (Some(adoption), Some(3))
        );
        for key in [ADOPT_ANNOTATION, DECLARED_CHECKSUM_ANNOTATION] {
            let mut long = adopted.clone();
            long["metadata"]["annotations"][key] = json!("x".repeat(MAX_ADOPTION_BYTES + 1));
            assert_eq!(read(&long).unwrap().adoption, None);
        }
        let mut wrong = backup();
        wrong["status"]["phase"] = json!(1);
        assert_eq!(read(&wrong), None);
    }

    #[test]
    fn only_what_velero_can_restore_is_complete() {
        let progress = |phase: &str, is_deleted: bool| {
            let mut backup = backup();
            backup["status"]["phase"] = json!(phase);
            if is_deleted {
                backup["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
            }
            read(&backup).unwrap().progress()
        };
        for phase in ["Completed", "PartiallyFailed"] {
            assert_eq!(progress(phase, false), Progress::Complete);
            assert_eq!(progress(phase, true), Progress::Over);
        }
        for phase in ["Failed", "FailedValidation", "Deleting"] {
            assert_eq!(progress(phase, false), Progress::Over);
        }
        for phase in [
            "",
            "New",
            "Queued",
            "ReadyToStart",
            "InProgress",
            "Finalizing",
            "WaitingForPluginOperations",
            "FinalizingPartiallyFailed",
            "of a later version",
        ] {
            assert_eq!(progress(phase, false), Progress::Running, "{phase}");
        }
    }
}
