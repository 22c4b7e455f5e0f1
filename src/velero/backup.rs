//! A view of Velero's Backup (`pkg/apis/velero/v1/backup_types.go`).

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use serde_json::Value;

use super::backup_fields::MAX_FIELD_BYTES;
use super::lenient::{Reported, reported};
use super::text::seconds;
use crate::decision::{Backup, BackupFields};

/// Label on a Backup with the name of the Schedule that created it.
pub const SCHEDULE_LABEL: &str = "velero.io/schedule-name";

/// Maximum length of a checksum and of a field that is kept, in bytes: one that is longer is neither
/// a checksum nor signed.
const MAX_TEXT_BYTES: usize = MAX_FIELD_BYTES + 1;

/// The fields of a Backup that velero-trust reads. Everything else is skipped while it is parsed: a
/// Backup has up to 1.5 MiB. A field whose type differs from Velero's schema counts as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackupView {
    #[serde(deserialize_with = "reported")]
    metadata: MetadataView,
    #[serde(deserialize_with = "reported")]
    spec: SpecView,
    #[serde(deserialize_with = "reported")]
    status: StatusView,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct MetadataView {
    #[serde(deserialize_with = "reported")]
    namespace: Option<String>,
    #[serde(deserialize_with = "reported")]
    name: Option<String>,
    #[serde(deserialize_with = "reported")]
    uid: Option<String>,
    #[serde(deserialize_with = "reported")]
    annotations: AnnotationsView,
    #[serde(deserialize_with = "reported")]
    labels: LabelsView,
}

/// The annotations, of which only [`CHECKSUM_ANNOTATION`](crate::names::CHECKSUM_ANNOTATION) is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct AnnotationsView {
    #[serde(rename = "velero-trust.io/checksum", deserialize_with = "reported")]
    checksum: Option<String>,
}

/// The labels, of which only [`SCHEDULE_LABEL`] is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct LabelsView {
    #[serde(rename = "velero.io/schedule-name", deserialize_with = "reported")]
    schedule: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecView {
    #[serde(deserialize_with = "reported")]
    storage_location: Option<String>,
    #[serde(deserialize_with = "reported")]
    snapshot_move_data: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusView {
    #[serde(deserialize_with = "reported")]
    phase: Option<String>,
    #[serde(deserialize_with = "reported")]
    start_timestamp: Option<String>,
    #[serde(deserialize_with = "reported")]
    completion_timestamp: Option<String>,
    #[serde(deserialize_with = "reported")]
    format_version: Option<String>,
}

/// Reads a part of a Backup, or nothing where there is a value of another type.
macro_rules! reported_part {
    ($($part:ident),*) => {$(
        impl<'de> Reported<'de> for $part {
            fn of_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
                Self::deserialize(MapAccessDeserializer::new(map))
            }
        }
    )*};
}

reported_part!(
    MetadataView,
    AnnotationsView,
    LabelsView,
    SpecView,
    StatusView
);

impl BackupView {
    /// Returns the name of the BackupStorageLocation that holds the backup; empty before Velero has
    /// begun with it.
    pub fn storage_location(&self) -> &str {
        self.spec.storage_location.as_deref().unwrap_or_default()
    }

    /// Returns the Backup.
    pub fn into_backup(self) -> Backup {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        Backup {
            started: status.start_timestamp.as_deref().and_then(seconds),
            checksum: metadata.annotations.checksum.map(cut),
            storage_location: spec.storage_location.map(cut).unwrap_or_default(),
            fields: BackupFields {
                namespace: metadata.namespace.map(cut).unwrap_or_default(),
                name: metadata.name.unwrap_or_default(),
                uid: metadata.uid.map(cut).unwrap_or_default(),
                phase: status.phase.map(cut).unwrap_or_default(),
                schedule: metadata.labels.schedule.map(cut),
                started: status.start_timestamp.map(cut),
                completed: status.completion_timestamp.map(cut),
                format_version: status.format_version.map(cut),
                snapshot_move_data: spec.snapshot_move_data.unwrap_or_default(),
            },
        }
    }
}

/// Cuts a text of which more would not change what it means: a checksum that is longer is malformed,
/// and a field that is longer is none that was signed.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text.shrink_to_fit();
    text
}

/// Reads a Backup. A field whose type differs from Velero's schema counts as not set.
pub fn read(object: &Value) -> Backup {
    let view = BackupView::deserialize(object);
    view.unwrap_or_default().into_backup()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::CHECKSUM_ANNOTATION;

    #[test]
    fn reads_what_matters_and_takes_the_rest_for_unset() {
        let object = serde_json::json!({
            "metadata": {
                "namespace": "velero", "name": "b", "uid": "u",
                "annotations": {CHECKSUM_ANNOTATION: "sha256:x"},
                "labels": {SCHEDULE_LABEL: "daily"},
            },
            "spec": {"snapshotMoveData": true},
            "status": {
                "phase": "Completed", "startTimestamp": "1970-01-01T00:01:00Z",
                "completionTimestamp": "1970-01-01T00:02:00Z", "formatVersion": "1.1.0",
            },
        });
        let backup = read(&object);
        assert_eq!(backup.checksum.as_deref(), Some("sha256:x"));
        assert_eq!(backup.started, Some(60));
        let fields = BackupFields {
            namespace: "velero".into(),
            name: "b".into(),
            uid: "u".into(),
            phase: "Completed".into(),
            schedule: Some("daily".into()),
            started: Some("1970-01-01T00:01:00Z".into()),
            completed: Some("1970-01-01T00:02:00Z".into()),
            format_version: Some("1.1.0".into()),
            snapshot_move_data: true,
        };
        assert_eq!(backup.fields, fields);
        for wrong in [
            serde_json::json!({"metadata": {"name": 3, "labels": [1]}, "status": "x"}),
            serde_json::json!({"metadata": {"annotations": null, "labels": {SCHEDULE_LABEL: {}}}}),
            serde_json::json!({"metadata": {"annotations": {CHECKSUM_ANNOTATION: true}}}),
            serde_json::json!({"metadata": -1, "status": {"phase": 0.5, "startTimestamp": [{}]}}),
        ] {
            assert_eq!(read(&wrong), Backup::default(), "{wrong}");
            let view: BackupView = serde_json::from_str(&wrong.to_string()).unwrap();
            assert_eq!(view, BackupView::default());
        }
        assert_eq!(read(&Value::Null), Backup::default());
        let stored = serde_json::json!({"spec": {"storageLocation": "default"}});
        let view = BackupView::deserialize(&stored).unwrap();
        assert_eq!(view.storage_location(), "default");
    }

    #[test]
    fn of_a_checksum_no_more_is_kept_than_tells_that_it_is_malformed() {
        let checksum = |text: &str| {
            let annotations = serde_json::json!({CHECKSUM_ANNOTATION: text});
            let object = serde_json::json!({"metadata": {"annotations": annotations}});
            read(&object).checksum.unwrap()
        };
        assert_eq!(checksum(&"ä".repeat(300)), "ä".repeat(256));
        let good = format!("sha256:{}", "0".repeat(64));
        assert_eq!(checksum(&good), good);
    }
}
