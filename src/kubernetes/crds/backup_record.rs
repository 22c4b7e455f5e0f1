//! `BackupRecord`: what velero-trust knows about the files of one backup.

#![expect(
    clippy::duplicated_attributes,
    reason = "each column of a kind has the same attributes"
)]
#![expect(
    unreachable_pub,
    reason = "the derive of schemas makes public items inside of functions"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::verification::{RecordedReading, Verification};
use crate::decision::{self, Key, Place};
use crate::digest::Sha256;
use crate::integrity::departure::Departure;
use crate::integrity::final_phase::FinalPhase;
use crate::integrity::recording::{KeyChange, Record, RecordState};

/// The backup that a record is about. It never changes.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "velero-trust.io",
    version = "v1alpha1",
    kind = "BackupRecord",
    plural = "backuprecords",
    category = "velero",
    status = "BackupRecordStatus",
    derive = "PartialEq",
    doc = "What velero-trust knows about the files of one backup. It is written by velero-trust only.",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(name = "Backup", type_ = "string", json_path = ".spec.backup"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Level", type_ = "string", json_path = ".status.level"),
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.files"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes"),
    printcolumn(name = "Recorded", type_ = "date", json_path = ".status.recordedAt")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the backup of a record never changes"))]
pub struct BackupRecordSpec {
    /// Namespace of the Backup.
    pub namespace: String,
    /// Name of the Backup.
    pub backup: String,
    /// UID of the Backup, as it is in velero-backup.json.
    pub uid: String,
    /// Whether velero-trust saw the Backup before it was complete.
    #[serde(default)]
    pub observed: bool,
}

/// What is known about the files.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecordStatus {
    /// How far the recording is.
    #[serde(default)]
    pub state: RecordState,
    /// Why it is in this state, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is in this state, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who vouches for the files: observed, late, adopted or declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The user who vouches for the files, if they are adopted or declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_by: Option<String>,
    /// Why the files could not be recorded when a user vouched for them last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_adopted: Option<String>,
    /// SHA-256 of the tarball, as in the annotation of the Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// SHA-256 of what is signed, as in the annotation of the Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Number of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Number of bytes of all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Where the files were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<RecordedLocation>,
    /// The signed statement as a DSSE envelope, as it is beside the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// Whether the envelope is in the bucket as well.
    #[serde(default)]
    pub envelope_in_bucket: bool,
    /// The envelope that is being put into the bucket. It is taken away if Velero deletes the backup
    /// before that is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_upload: Option<PendingUpload>,
    /// The key by which the record was made from the signed list beside the backup, if it was. None of the files
    /// was read for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// The keys that are said to have signed lists beside a backup that came by sync, if none of them vouches
    /// for it here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<RecordedSigner>,
    /// Number of signed lists beside the backup that were not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists_not_read: Option<i64>,
    /// Digest of the TrustedKeys that did not vouch for the backup. With others it is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// When the files were recorded.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Time>,
    /// When the Backup was complete, as velero-trust saw it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_phase: Option<RecordedFinalPhase>,
    /// UID of the Backup in the cluster, if Velero made it from the bucket. In the files, it has that of
    /// the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_as: Option<String>,
    /// What was found when the files were read for Restores, and what became of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// When the time to live of the Backup is over.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// When and how the Backup went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// When and how a Backup went away that came back: somebody put its files back into the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Gone>,
}

impl BackupRecord {
    /// Returns what decides which Backup the record is about, and how far it is.
    pub fn known(&self) -> Record<'_> {
        let status = self.status.as_ref();
        let digest = |text: &Option<String>| Sha256::from_prefixed(text.as_deref()?);
        Record {
            uid: &self.spec.uid,
            state: status.map(|status| status.state).unwrap_or_default(),
            is_observed: self.spec.observed,
            has_final_phase: status.is_some_and(|status| status.final_phase.is_some()),
            has_pending_upload: status.is_some_and(|status| status.pending_upload.is_some()),
            checksum: status.and_then(|status| digest(&status.checksum)),
            manifest: status.and_then(|status| digest(&status.manifest)),
            synced_as: status.and_then(|status| status.synced_as.as_deref()),
            keys: KeyChange::Nothing,
            returned: status.and_then(|status| Some(status.returned.as_ref()?.how)),
        }
    }
}

impl From<BackupRecord> for decision::BackupRecord {
    fn from(record: BackupRecord) -> Self {
        let BackupRecord {
            metadata,
            spec,
            status,
        } = record;
        let status = status.unwrap_or_default();
        let verification = status.verification.unwrap_or_default();
        let place = status.location.as_ref().map(Into::into);
        Self {
            place,
            name: metadata.name.unwrap_or_default(),
            backup: Key::new(spec.namespace, spec.backup),
            uid: spec.uid,
            state: status.state,
            reason: status.reason,
            message: status.message,
            checksum: status.checksum,
            manifest: status.manifest,
            level: status.level,
            adopted_by: status.adopted_by,
            envelope: status.envelope,
            synced_as: status.synced_as,
            location: status.location.map(|location| location.name),
            gone: status.gone.map(|gone| gone.how),
            returned: status.returned.map(|gone| gone.how),
            imported_by: status.imported.map(|imported| imported.key),
            trust: status.trust,
            recorded_at: status.recorded_at.map(|time| time.0.as_second()),
            is_observed: spec.observed,
            reading: verification
                .reading
                .as_ref()
                .and_then(RecordedReading::fact),
            reading_failure: verification.failure.as_ref().map(Into::into),
        }
    }
}

/// Where files were read.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLocation {
    /// Name of the BackupStorageLocation.
    pub name: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix in the bucket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl From<&RecordedLocation> for Place {
    fn from(location: &RecordedLocation) -> Self {
        Self {
            bucket: location.bucket.clone(),
            prefix: location.prefix.clone(),
        }
    }
}

/// The key by which a record was made from a signed list.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Name of the TrustedKey.
    pub key: String,
    /// Id of its key.
    pub key_id: String,
}

/// A key that is said to have signed a list.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedSigner {
    /// Id of the key: SHA-256 of its SubjectPublicKeyInfo.
    pub key_id: String,
    /// The key in PEM, if the list has it and is signed by it. Whether it is to be trusted, a person has to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// An envelope that is being put into the bucket.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingUpload {
    /// Where it is put.
    pub location: RecordedLocation,
    /// The name of its file in the directory of the backup.
    pub file: String,
    /// SHA-256 of what is signed in it.
    pub manifest: String,
}

/// When a Backup was complete, as velero-trust saw it first, by the clock of the API server.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedFinalPhase {
    /// When the API server stored the final phase, as `metadata.managedFields` told. A later time
    /// counts for nothing.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Time>,
    /// When velero-trust saw the final phase.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
}

impl From<FinalPhase> for RecordedFinalPhase {
    fn from(FinalPhase { stored, seen }: FinalPhase) -> Self {
        let time = |seconds| Timestamp::from_second(seconds).ok().map(Time);
        Self {
            stored_at: stored.and_then(time),
            seen_at: seen.and_then(time),
        }
    }
}

impl From<&RecordedFinalPhase> for FinalPhase {
    fn from(recorded: &RecordedFinalPhase) -> Self {
        let seconds = |time: &Time| time.0.as_second();
        Self {
            stored: recorded.stored_at.as_ref().map(seconds),
            seen: recorded.seen_at.as_ref().map(seconds),
        }
    }
}

/// When and how a Backup went away.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gone {
    /// When velero-trust saw it.
    #[schemars(schema_with = "time")]
    pub at: Time,
    /// How it went.
    pub how: Departure,
}

/// The schema of a [`Time`], which has none of its own without a feature for all of k8s-openapi.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

pub(super) fn optional_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}
