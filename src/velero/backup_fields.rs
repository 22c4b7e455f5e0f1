//! The fields of a Backup that decide what a restore does, in the cluster and in `velero-backup.json`.

use serde::Deserialize;

use super::lenient::null_is_default;
use super::unique_keys::{self, UniqueKeysError};
pub use crate::decision::BackupFields;

/// Maximum size of a `velero-backup.json` that is read, in bytes. etcd stores no object of this size,
/// so Velero cannot have written it.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// Most bytes of a field that is signed. A name has up to 253.
pub const MAX_FIELD_BYTES: usize = 512;

/// Why `velero-backup.json` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than [`MAX_DOCUMENT_BYTES`].
    #[error("it has {0} bytes, and no Backup has more than {MAX_DOCUMENT_BYTES}")]
    TooLong(usize),
    /// A key that stands twice in one object: readers differ in which of the two they take.
    #[error("{0}")]
    Keys(#[from] UniqueKeysError),
    /// Not the JSON of a Backup.
    #[error("it is not the JSON of a Backup: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field that is longer than [`MAX_FIELD_BYTES`].
    #[error("its field {0} is longer than any of Velero's")]
    TooLongField(&'static str),
    /// The JSON of another kind of object.
    #[error("it has the kind \"{}\", not Backup", super::text::shown(.0))]
    Kind(String),
}

/// A Backup, with the fields that are signed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    #[serde(deserialize_with = "null_is_default")]
    kind: String,
    #[serde(deserialize_with = "null_is_default")]
    metadata: DocumentMetadata,
    #[serde(deserialize_with = "null_is_default")]
    spec: Spec,
    #[serde(deserialize_with = "null_is_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DocumentMetadata {
    #[serde(deserialize_with = "null_is_default")]
    namespace: String,
    #[serde(deserialize_with = "null_is_default")]
    name: String,
    #[serde(deserialize_with = "null_is_default")]
    uid: String,
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labels {
    #[serde(rename = "velero.io/schedule-name")]
    schedule: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "null_is_default")]
    snapshot_move_data: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "null_is_default")]
    phase: String,
    start_timestamp: Option<String>,
    completion_timestamp: Option<String>,
    format_version: Option<String>,
}

impl BackupFields {
    /// Reads the fields from the content of `velero-backup.json`.
    pub fn from_document(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLong(bytes.len()));
        }
        let document: Document = serde_json::from_slice(bytes)?;
        unique_keys::check(bytes)?;
        if document.kind != "Backup" {
            return Err(DocumentError::Kind(document.kind));
        }
        let fields = Self::from(document);
        fields.check_lengths()?;
        Ok(fields)
    }

    /// What is signed is kept in a record, which the API server bounds.
    fn check_lengths(&self) -> Result<(), DocumentError> {
        let texts = [
            ("metadata.namespace", Some(&self.namespace)),
            ("metadata.name", Some(&self.name)),
            ("metadata.uid", Some(&self.uid)),
            (
                "metadata.labels[velero.io/schedule-name]",
                self.schedule.as_ref(),
            ),
            ("status.phase", Some(&self.phase)),
            ("status.startTimestamp", self.started.as_ref()),
            ("status.completionTimestamp", self.completed.as_ref()),
            ("status.formatVersion", self.format_version.as_ref()),
        ];
        let is_long = |text: Option<&String>| text.is_some_and(|text| text.len() > MAX_FIELD_BYTES);
        match texts.into_iter().find(|(_, text)| is_long(*text)) {
            Some((name, _)) => Err(DocumentError::TooLongField(name)),
            None => Ok(()),
        }
    }
}

impl From<Document> for BackupFields {
    fn from(document: Document) -> Self {
        let Document {
            metadata,
            spec,
            status,
            ..
        } = document;
        Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            phase: status.phase,
            schedule: metadata.labels.schedule,
            started: status.start_timestamp,
            completed: status.completion_timestamp,
            format_version: status.format_version,
            snapshot_move_data: spec.snapshot_move_data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn document() -> Value {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {
                "namespace": "velero", "name": "b", "uid": "u",
                "labels": {"velero.io/schedule-name": "daily", "a": "b"},
                "annotations": null,
            },
            "spec": {"snapshotMoveData": true, "ttl": "720h0m0s", "hooks": {}},
            "status": {
                "phase": "Completed", "formatVersion": "1.1.0", "version": 1,
                "startTimestamp": "2026-01-01T00:00:00Z",
                "completionTimestamp": "2026-01-01T00:01:00Z",
            },
        })
    }

    fn read(document: &Value) -> Result<BackupFields, String> {
        let fields = BackupFields::from_document(document.to_string().as_bytes());
        fields.map_err(|error| error.to_string())
    }

    #[test]
    fn reads_the_fields_that_are_signed() {
        let fields = read(&document()).unwrap();
        let expected = BackupFields {
            namespace: "velero".into(),
            name: "b".into(),
            uid: "u".into(),
            phase: "Completed".into(),
            schedule: Some("daily".into()),
            started: Some("2026-01-01T00:00:00Z".into()),
            completed: Some("2026-01-01T00:01:00Z".into()),
            format_version: Some("1.1.0".into()),
            snapshot_move_data: true,
        };
        assert_eq!(fields, expected);
        let bare = read(&json!({"kind": "Backup", "metadata": null, "spec": null}));
        assert_eq!(bare, Ok(BackupFields::default()));
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let pointers = [
            ("/metadata/namespace", "metadata.namespace"),
            ("/metadata/name", "metadata.name"),
            ("/metadata/uid", "metadata.uid"),
            (
                "/metadata/labels/velero.io~1schedule-name",
                "metadata.labels[velero.io/schedule-name]",
            ),
            ("/status/phase", "status.phase"),
            ("/status/startTimestamp", "status.startTimestamp"),
            ("/status/completionTimestamp", "status.completionTimestamp"),
            ("/status/formatVersion", "status.formatVersion"),
        ];
        let fields = read(&document()).unwrap();
        assert!(fields.differences(&fields).is_empty());
        for (pointer, name) in pointers {
            let mut other = document();
            *other.pointer_mut(pointer).unwrap() = json!("x");
            assert_eq!(fields.differences(&read(&other).unwrap()), [name]);
        }
        let mut other = document();
        other["spec"] = json!({});
        assert_eq!(
            fields.differences(&read(&other).unwrap()),
            ["spec.snapshotMoveData"]
        );
    }

    #[test]
    fn what_velero_did_not_write_is_not_read() {
        let mut wrong = document();
        wrong["kind"] = json!("Restore\n");
        assert!(read(&wrong).unwrap_err().contains("kind \"Restore\\n\""));
        wrong = document();
        wrong["status"]["phase"] = json!(1);
        assert!(
            read(&wrong)
                .unwrap_err()
                .contains("not the JSON of a Backup")
        );
        let text = document().to_string();
        let twice = text.replacen(
            "\"spec\":",
            "\"spec\":{\"ttl\":\"1h\",\"t\\u0074l\":\"2h\"},\"x\":",
            1,
        );
        let error = BackupFields::from_document(twice.as_bytes()).unwrap_err();
        assert!(matches!(error, DocumentError::Keys(_)), "{error}");
        assert!(
            error.to_string().contains("the key \"ttl\" stands twice"),
            "{error}"
        );
        let long = vec![b' '; MAX_DOCUMENT_BYTES + 1];
        let error = BackupFields::from_document(&long).unwrap_err();
        assert!(matches!(error, DocumentError::TooLong(_)), "{error}");
    }
}
