//! The Restores that wait, and what for.

use super::model::WaitingRestore;
use crate::cli::snapshot;
use crate::integrity::recording::RecordState;
use crate::kubernetes::crds::BackupRecord;

/// What the Restores of recorded backups wait for where no record keeps what is read for them.
const NO_READINGS: &str = "nothing is read for it, because the kind BackupRecord is of an earlier version: run \
                           `kubectl apply -k manifests/crds`";

/// Returns what the Restores of `namespace` wait for, by what the `records` of their backups say. They may not
/// keep what is read.
pub(super) fn explain(
    namespace: &str,
    waiting: Vec<snapshot::WaitingRestore>,
    records: Option<&snapshot::Records>,
    keeps_readings: bool,
) -> Vec<WaitingRestore> {
    let explain = |restore: snapshot::WaitingRestore| {
        let backup = restore.backup.as_deref();
        let of = |records: &'_ snapshot::Records| {
            let records = backup.map(|backup| records.of(namespace, backup));
            records.and_then(|records| {
                records
                    .iter()
                    .find_map(|record| why(record, keeps_readings))
            })
        };
        WaitingRestore {
            name: restore.name,
            why: records.and_then(of).unwrap_or_default(),
            backup: restore.backup,
            created: restore.created,
        }
    };
    waiting.into_iter().map(explain).collect()
}

/// Returns what a Restore of the backup of `record` waits for, if the record tells.
fn why(record: &BackupRecord, keeps_readings: bool) -> Option<String> {
    let status = record.status.as_ref()?;
    let verification = status.verification.as_ref();
    let failure = verification.and_then(|it| it.failure.as_ref());
    let progress = verification.and_then(|it| it.progress.as_ref());
    match (failure, progress, status.state) {
        (Some(failure), _, _) => Some(format!("its files cannot be read: {}", failure.message)),
        (None, Some(progress), _) => Some(format!("its files are being read, {progress}")),
        (None, None, RecordState::Pending) => Some("its backup is not recorded yet".to_owned()),
        (None, None, _) if !keeps_readings => Some(NO_READINGS.to_owned()),
        (None, None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_restore_waits_for_is_in_the_record_of_its_backup() {
        let why_with = |status: serde_json::Value, keeps_readings| {
            let record = json!({
                "apiVersion": "velero-trust.io/v1alpha1", "kind": "BackupRecord",
                "metadata": {"name": "b.u"},
                "spec": {"namespace": "velero", "backup": "b", "uid": "u"},
                "status": status,
            });
            let mut records = snapshot::Records::default();
            records.add(serde_json::from_value(record).unwrap());
            let waiting = snapshot::WaitingRestore {
                name: "r".to_owned(),
                backup: Some("b".to_owned()),
                created: None,
            };
            let [explained] = &explain("velero", vec![waiting], Some(&records), keeps_readings)[..]
            else {
                panic!("one of one");
            };
            explained.why.clone()
        };
        let why = |status| why_with(status, true);
        let at = "2026-07-01T00:00:00Z";
        assert_eq!(
            why(json!({"state": "Pending"})),
            "its backup is not recorded yet"
        );
        assert_eq!(why(json!({"state": "Recorded"})), "");
        let old = why_with(json!({"state": "Recorded"}), false);
        assert!(
            old.ends_with("run `kubectl apply -k manifests/crds`"),
            "{old}"
        );
        let pending = why_with(json!({"state": "Pending"}), false);
        assert_eq!(pending, "its backup is not recorded yet");
        let progress =
            json!({"bytesRead": 3_249_000_000_i64, "bytes": 7_900_000_000_i64, "at": at});
        let reading = json!({"state": "Recorded", "verification": {"progress": progress}});
        assert_eq!(why(reading), "its files are being read, 3.2 of 7.9 GB read");
        let failure = json!({
            "reason": "NoBucket", "message": "there is no bucket", "class": "Lasting", "since": at,
        });
        let failing = json!({
            "state": "Recorded", "verification": {"failure": failure, "progress": progress},
        });
        assert_eq!(why(failing), "its files cannot be read: there is no bucket");
    }
}
