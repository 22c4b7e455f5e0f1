//! A view of Velero's Backup (`pkg/apis/velero/v1/backup_types.go`).

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use serde_json::Value;

use super::lenient::{Reported, reported};
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
    name: Option<String>,
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
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusView {
    #[serde(deserialize_with = "reported")]
    phase: Option<String>,
    #[serde(deserialize_with = "reported")]
    start_timestamp: Option<String>,
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

    /// Returns the Backup together with the name of its Schedule.
    pub fn into_backup(self) -> (Backup, Option<String>) {
        let Self {
            metadata, status, ..
        } = self;
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
        for wrong in [
            serde_json::json!({"metadata": {"name": 3, "labels": [1]}, "status": "x"}),
            serde_json::json!({"metadata": {"annotations": null, "labels": {SCHEDULE_LABEL: {}}}}),
            serde_json::json!({"metadata": {"annotations": {CHECKSUM_ANNOTATION: true}}}),
            serde_json::json!({"metadata": -1, "status": {"phase": 0.5, "startTimestamp": [{}]}}),
        ] {
            assert_eq!(read(&wrong), (Backup::default(), None), "{wrong}");
            let view: BackupView = serde_json::from_str(&wrong.to_string()).unwrap();
            assert_eq!(view, BackupView::default());
        }
        assert_eq!(read(&Value::Null), (Backup::default(), None));
        let stored = serde_json::json!({"spec": {"storageLocation": "default"}});
        let view = BackupView::deserialize(&stored).unwrap();
        assert_eq!(view.storage_location(), "default");
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
