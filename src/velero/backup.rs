//! A view of Velero's Backup (`pkg/apis/velero/v1/backup_types.go`).

use serde::Deserialize;
use serde_json::Value;

use super::skipping::{object_or_default, text_or_none};
use super::text::seconds;
use crate::decision::Backup;

/// Label on a Backup with the name of the Schedule that created it.
pub const SCHEDULE_LABEL: &str = "velero.io/schedule-name";

/// Maximum length of a checksum that is kept, in bytes. One that is longer is malformed, and stays
/// so when it is cut.
const MAX_CHECKSUM_BYTES: usize = 256;

/// The fields of a Backup that velero-trust reads. Everything else is skipped while it is parsed: a
/// Backup has up to 1.5 MiB. A field whose type differs from Velero's schema counts as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackupView {
    #[serde(deserialize_with = "object_or_default")]
    metadata: MetadataView,
    #[serde(deserialize_with = "object_or_default")]
    status: StatusView,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct MetadataView {
    #[serde(deserialize_with = "text_or_none")]
    name: Option<String>,
    #[serde(deserialize_with = "object_or_default")]
    annotations: AnnotationsView,
    #[serde(deserialize_with = "object_or_default")]
    labels: LabelsView,
}

/// The annotations, of which only [`CHECKSUM_ANNOTATION`](crate::names::CHECKSUM_ANNOTATION) is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct AnnotationsView {
    #[serde(rename = "velero-trust.io/checksum", deserialize_with = "text_or_none")]
    checksum: Option<String>,
}

/// The labels, of which only [`SCHEDULE_LABEL`] is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct LabelsView {
    #[serde(rename = "velero.io/schedule-name", deserialize_with = "text_or_none")]
    schedule: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusView {
    #[serde(deserialize_with = "text_or_none")]
    phase: Option<String>,
    #[serde(deserialize_with = "text_or_none")]
    start_timestamp: Option<String>,
}

impl BackupView {
    /// Returns the Backup together with the name of its Schedule.
    pub fn into_backup(self) -> (Backup, Option<String>) {
        let Self { metadata, status } = self;
        let checksum = metadata.annotations.checksum;
        let backup = Backup {
            name: metadata.name.unwrap_or_default(),
            phase: status.phase.unwrap_or_default(),
            started: status.start_timestamp.as_deref().and_then(seconds),
            checksum: checksum.map(cut),
        };
        (backup, metadata.labels.schedule)
    }
}

fn cut(mut checksum: String) -> String {
    checksum.truncate(checksum.floor_char_boundary(MAX_CHECKSUM_BYTES));
    checksum.shrink_to_fit();
    checksum
}

/// Reads a Backup. Returns it together with the name of its Schedule. A field whose type differs
/// from Velero's schema counts as not set.
pub fn read(object: &Value) -> (Backup, Option<String>) {
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
                "name": "b",
                "annotations": {CHECKSUM_ANNOTATION: "sha256:x"},
                "labels": {SCHEDULE_LABEL: "daily"},
            },
            "status": {"phase": "Completed", "startTimestamp": "1970-01-01T00:01:00Z"},
        });
        let (backup, schedule) = read(&object);
        assert_eq!(schedule.as_deref(), Some("daily"));
        assert_eq!(backup.checksum.as_deref(), Some("sha256:x"));
        assert_eq!(
            (backup.started, backup.phase.as_str()),
            (Some(60), "Completed")
        );
        let wrong = serde_json::json!({"metadata": {"name": 3, "labels": [1]}, "status": "x"});
        let (backup, schedule) = read(&wrong);
        assert_eq!((backup, schedule), (Backup::default(), None));
        assert_eq!(read(&Value::Null), (Backup::default(), None));
    }

    #[test]
    fn of_a_checksum_no_more_is_kept_than_tells_that_it_is_malformed() {
        let checksum = |text: &str| {
            let annotations = serde_json::json!({CHECKSUM_ANNOTATION: text});
            let object = serde_json::json!({"metadata": {"annotations": annotations}});
            read(&object).0.checksum.unwrap()
        };
        assert_eq!(checksum(&"ä".repeat(200)), "ä".repeat(128));
        let good = format!("sha256:{}", "0".repeat(64));
        assert_eq!(checksum(&good), good);
    }
}
