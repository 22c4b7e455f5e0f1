//! Counts the backups of a Velero namespace that could be restored.

use std::collections::BTreeMap;

use super::backups::KnownBackup;
use super::ledger::Ledger;
use super::record_tally::RecordTally;
use crate::decision::{Policy, Rule};
use crate::integrity::restorable::NotRestorable;
use crate::velero::bsl::Bsl;

/// How many backups there are, and how many could be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct BackupTally {
    /// All backups.
    pub(in crate::cli) total: usize,
    /// Those that could be restored.
    pub(in crate::cli) restorable: usize,
    /// The others by the reason. There are as many reasons as rules and phases.
    pub(in crate::cli) reasons: BTreeMap<String, usize>,
    /// Those that no Restore could name under `--restores=enforce`, by the rule that would deny it.
    pub(in crate::cli) refused_if_enforced: BTreeMap<String, usize>,
    /// Those that are recorded, and why the others are not; `None` if the records are not known.
    pub(in crate::cli) records: Option<RecordTally>,
}

impl BackupTally {
    /// Counts the `backups` of `namespace`, which has these `locations`, under the policy of the cluster.
    pub(in crate::cli) fn of(
        namespace: &str,
        backups: &[KnownBackup],
        locations: &[Bsl<'_>],
        policy: &Policy,
        ledger: &Ledger,
    ) -> Self {
        let records = ledger.records();
        let mut tally = Self {
            total: backups.len(),
            records: records.map(|_| RecordTally::default()),
            ..Self::default()
        };
        for known in backups {
            let (now, enforced) = ledger.why_not_restorable(namespace, known, policy);
            tally.add(&known.backup.storage_location, now, enforced, locations);
            if let (Some(tally), Some(records)) = (&mut tally.records, records) {
                match known.progress {
                    Some(progress) => {
                        let own = records.of(namespace, &known.backup.fields.name);
                        tally.add(&known.backup, progress, own);
                    }
                    None => tally.add_malformed(),
                }
            }
        }
        tally
    }

    fn add(
        &mut self,
        location: &str,
        now: Option<NotRestorable>,
        enforced: Option<NotRestorable>,
        locations: &[Bsl<'_>],
    ) {
        let why = match now {
            Some(NotRestorable::Denied(rule) | NotRestorable::Awaited(rule)) => Some(titled(rule)),
            Some(NotRestorable::NotWhole(why)) => Some(why.to_owned()),
            None => why_not_stored(location, locations).map(str::to_owned),
        };
        match why {
            None => self.restorable += 1,
            Some(why) => *self.reasons.entry(why).or_default() += 1,
        }
        if let Some(NotRestorable::Denied(rule)) = enforced {
            *self.refused_if_enforced.entry(titled(rule)).or_default() += 1;
        }
    }
}

fn titled(rule: &Rule) -> String {
    format!("{} [{}]", rule.title, rule.id)
}

/// Returns why Velero cannot read a backup from its location; `None` if it can, as far as it reports.
fn why_not_stored(name: &str, locations: &[Bsl<'_>]) -> Option<&'static str> {
    match locations.iter().find(|bsl| bsl.name() == name) {
        None => Some("has no BackupStorageLocation"),
        Some(bsl) if bsl.phase() == "Unavailable" => {
            Some("has an Unavailable BackupStorageLocation")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::RestoresMode;

    #[test]
    fn backups_are_counted_by_the_reason_that_keeps_them_from_being_restored() {
        let bsl = |name: &str, phase: &str| {
            let object = json!({"metadata": {"name": name}, "status": {"phase": phase}});
            Bsl::from_value(&object).into_owned()
        };
        let locations = [bsl("default", "Available"), bsl("gone", "Unavailable")];
        let good = format!("sha256:{}", "0".repeat(64));
        let backup = |phase: &str, checksum: Option<&str>, location: &str| {
            json!({
                "metadata": {"name": "b", "annotations": {"velero-trust.io/checksum": checksum}},
                "spec": {"storageLocation": location},
                "status": {"phase": phase},
            })
        };
        let backups = [
            backup("Completed", Some(&good), "default"),
            backup("PartiallyFailed", Some(&good), "default"),
            backup("Completed", None, "default"),
            backup("Completed", None, "gone"),
            backup("Failed", Some(&good), "default"),
            backup("Completed", Some(&good), "gone"),
            backup("Completed", Some(&good), "other"),
        ];
        let backups = backups.map(|backup| KnownBackup::from_json(&backup.to_string()));
        let ledger = Ledger::default();
        let tally =
            |mode| BackupTally::of("velero", &backups, &locations, &Policy::new(mode), &ledger);
        let reasons = |pairs: &[(&str, usize)]| {
            let pairs = pairs.iter().map(|(why, count)| ((*why).to_owned(), *count));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let expected = BackupTally {
            total: 7,
            restorable: 2,
            records: None,
            reasons: reasons(&[
                ("backup without a checksum [VT101]", 2),
                ("failed", 1),
                ("has an Unavailable BackupStorageLocation", 1),
                ("has no BackupStorageLocation", 1),
            ]),
            refused_if_enforced: reasons(&[("backup without a checksum [VT101]", 2)]),
        };
        assert_eq!(tally(RestoresMode::Enforce), expected);
        let off = tally(RestoresMode::Off);
        assert_eq!((off.total, off.restorable), (7, 3));
        for other in [off, tally(RestoresMode::Warn)] {
            assert_eq!(other.refused_if_enforced, expected.refused_if_enforced);
        }
    }
}
