//! A view of Velero's Backup (`pkg/apis/velero/v1/backup_types.go`).

use serde_json::Value;

use super::text::seconds;
use crate::decision::Backup;
use crate::names::CHECKSUM_ANNOTATION;

/// Label on a Backup with the name of the Schedule that created it.
pub const SCHEDULE_LABEL: &str = "velero.io/schedule-name";

/// Reads a Backup. Returns it together with the name of its Schedule. A field whose type differs
/// from Velero's schema counts as not set.
pub fn read(object: &Value) -> (Backup, Option<String>) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let entry = |map: &str, key| {
        object
            .pointer(map)
            .and_then(|map| map.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let started = text("/status/startTimestamp").and_then(seconds);
    let backup = Backup {
        name: text("/metadata/name").unwrap_or_default().to_owned(),
        phase: text("/status/phase").unwrap_or_default().to_owned(),
        started,
        checksum: entry("/metadata/annotations", CHECKSUM_ANNOTATION),
    };
    (backup, entry("/metadata/labels", SCHEDULE_LABEL))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (backup, schedule) = read(&serde_json::json!({"metadata": {"name": 3}}));
        assert_eq!((backup, schedule), (Backup::default(), None));
    }
}
