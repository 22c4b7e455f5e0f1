//! Which changes of a Restore are checked again.
//!
//! A Restore is an ordinary object: whoever may update it can name another backup while it waits,
//! or clear its status when it is finished, and Velero runs it again. Velero writes to it as well,
//! and nothing that Velero writes may wait for velero-trust. The same conditions are in
//! `manifests/validating.yaml`, so that the API server does not send those writes.

use crate::velero::restore::Restore;

/// The phases to which Velero moves a Restore that waits, in the one write that completes its
/// `spec` (`pkg/controller/restore_controller.go`, `validateAndComplete`).
const PHASES_AFTER_VALIDATION: [&str; 2] = ["InProgress", REFUSED_PHASE];

/// Whether the change from `old` to `new` can make Velero restore something that was not checked.
pub fn is_checked(new: &Restore<'_>, old: &Restore<'_>) -> bool {
    if new.is_waiting() {
        return !old.is_waiting()
            || new.spec != old.spec
            || !new
                .metadata
                .own_annotations()
                .eq(old.metadata.own_annotations());
    }
    // What is left of a Restore that runs (its operations, its deletion) reads the backup by name.
    let is_renamed =
        new.backup_name() != old.backup_name() || new.schedule_name() != old.schedule_name();
    is_renamed && !is_completed_by_velero(new, old)
}

/// Whether Velero begins the Restore with the change from `old` to `new`: it stops in one phase only, and
/// restores in any other one, also if somebody sets that.
pub fn is_begin(new: &Restore<'_>, old: &Restore<'_>) -> bool {
    let leaves = old.is_waiting() && !new.is_waiting() && new.phase() != REFUSED_PHASE;
    leaves || (new.phase() == "InProgress" && old.phase() != "InProgress")
}

/// The phase in which Velero stops before it restores anything. In any other one it restores everything.
pub const REFUSED_PHASE: &str = "FailedValidation";

/// Whether the change is the one that Velero makes before it runs a Restore: it fills in the backup
/// of the schedule, or the schedule of the backup.
fn is_completed_by_velero(new: &Restore<'_>, old: &Restore<'_>) -> bool {
    let backup_is_filled_in = old.backup_name().is_empty()
        && !old.schedule_name().is_empty()
        && new.schedule_name() == old.schedule_name();
    let schedule_is_filled_in = old.schedule_name().is_empty()
        && !old.backup_name().is_empty()
        && new.backup_name() == old.backup_name();
    old.is_waiting()
        && PHASES_AFTER_VALIDATION.contains(&new.phase())
        && (backup_is_filled_in || schedule_is_filled_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_json::Value;

    #[test]
    fn the_updates_that_are_checked_are_those_of_the_table() {
        let rows = include_str!("../../tests/updates/restores.yaml");
        let rows: Vec<Value> = serde_saphyr::from_str(rows).unwrap();
        assert!(rows.len() > 30);
        for row in rows {
            let [new, old] = ["new", "old"].map(|name| Restore::deserialize(&row[name]).unwrap());
            assert_eq!(is_checked(&new, &old), row["checked"] == true, "{row}");
            assert_eq!(is_begin(&new, &old), row["begins"] == true, "{row}");
        }
    }

    /// The API server does not store such a Restore; a forged review can contain it.
    #[test]
    fn a_phase_that_is_none_counts_as_waiting() {
        let finished = r#"{"spec": {"backupName": "b"}, "status": {"phase": "Completed"}}"#;
        let finished = serde_json::from_str(finished).unwrap();
        for status in ["null", "1", r#"{"phase": null}"#, r#"{"phase": 1}"#] {
            let new = format!(r#"{{"spec": {{"backupName": "b"}}, "status": {status}}}"#);
            let new = serde_json::from_str(&new).unwrap();
            assert!(is_checked(&new, &finished), "{status}");
        }
    }
}
