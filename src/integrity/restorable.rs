//! Whether a backup could be restored: whether a Restore that names it would pass its review, and
//! Velero would find all of its files.

use std::sync::Arc;

use super::rules::{self, Moment, Question, why_not_whole};
use crate::decision::{
    Backup, BackupRecord, Fact, Facts, Judged, Key, Lookup, Outcome, Policy, Rule,
};
use crate::velero::restore::Restore;

/// Why a backup could not be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRestorable {
    /// A Restore that names it is denied by this rule.
    Denied(&'static Rule),
    /// It has not all of its files, for this reason.
    NotWhole(&'static str),
}

/// Returns why a Restore that names nothing but `backup` could not restore it under `policy`; `None`
/// if it could. `tarball` is its record, if only its tarball is recorded. It is decided by the rules that review
/// Restores.
pub fn why_not_restorable(
    namespace: &str,
    backup: &Backup,
    tarball: Option<&BackupRecord>,
    policy: &Policy,
) -> Option<NotRestorable> {
    if let Some(why) = why_not_whole(&backup.fields.phase) {
        return Some(NotRestorable::NotWhole(why));
    }
    let key = Key::new(namespace, &*backup.fields.name);
    let mut restore = Restore::default();
    restore.spec.backup_name = Some(backup.fields.name.as_str().into());
    let mut facts = Facts::default();
    let fact = Fact::Backup(Arc::new(backup.clone()));
    // By its annotations alone: what is signed is not read for each of many backups.
    let uid = backup.fields.uid.clone();
    facts.insert(
        Lookup::Records {
            backup: key.clone(),
            uid,
        },
        tarball.map_or(Outcome::Absent, |record| {
            Outcome::Found(Fact::Records(Arc::new(vec![record.clone()])))
        }),
    );
    facts.insert(Lookup::Backup(key), Outcome::Found(fact));
    let question = Question {
        moment: Moment::Create,
        namespace,
        restore: &restore,
        policy,
        now: 0,
    };
    let (report, _) = rules::judge(&question, None, &facts);
    let judged = Judged::apply_policy(&report, policy);
    let denial = judged.denials.first()?;
    Some(NotRestorable::Denied(denial.rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{BackupFields, RecordState, RestoresMode};

    fn told(phase: &str, checksum: Option<&str>, policy: &Policy) -> Option<String> {
        let fields = BackupFields {
            name: "nightly".to_owned(),
            phase: phase.to_owned(),
            ..BackupFields::default()
        };
        let backup = Backup {
            fields,
            checksum: checksum.map(str::to_owned),
            ..Backup::default()
        };
        why_not_restorable("velero", &backup, None, policy).map(|why| match why {
            NotRestorable::Denied(rule) => rule.id.to_owned(),
            NotRestorable::NotWhole(why) => why.to_owned(),
        })
    }

    #[test]
    fn a_tarball_alone_is_restored_where_the_operator_wants_that() {
        let checksum = format!("sha256:{}", "0".repeat(64));
        let backup = Backup {
            fields: BackupFields {
                name: "nightly".into(),
                uid: "u".into(),
                phase: "Completed".into(),
                ..BackupFields::default()
            },
            checksum: Some(checksum.clone()),
            ..Backup::default()
        };
        let record = BackupRecord {
            backup: Key::new("velero", "nightly"),
            uid: "u".into(),
            state: RecordState::TarballOnly,
            checksum: Some(checksum),
            ..BackupRecord::default()
        };
        let mut policy = Policy::default();
        let rule =
            |policy: &Policy| match why_not_restorable("velero", &backup, Some(&record), policy) {
                Some(NotRestorable::Denied(rule)) => rule.id,
                _ => "",
            };
        assert_eq!(rule(&policy), "VT128");
        policy.accepts_partial = true;
        assert_eq!(rule(&policy), "");
    }

    #[test]
    fn the_mode_the_checksum_and_the_phase_decide() {
        let good = format!("sha256:{}", "0".repeat(64));
        let enforce = Policy::new(RestoresMode::Enforce);
        let of = |phase, checksum| told(phase, checksum, &enforce);
        assert_eq!(of("Completed", Some(&good)), None);
        assert_eq!(of("PartiallyFailed", Some(&good)), None);
        assert_eq!(of("Completed", None).as_deref(), Some("VT101"));
        assert_eq!(of("Completed", Some("md5:0")).as_deref(), Some("VT102"));
        assert_eq!(of("Failed", Some(&good)).as_deref(), Some("failed"));
        assert_eq!(of("Failed", None).as_deref(), Some("failed"));
        for mode in [RestoresMode::Warn, RestoresMode::Off] {
            let policy = Policy::new(mode);
            assert_eq!(told("Completed", None, &policy), None, "{mode:?}");
            let failed = told("Failed", None, &policy);
            assert_eq!(failed.as_deref(), Some("failed"), "{mode:?}");
        }
        let mut softened = Policy::new(RestoresMode::Enforce);
        let all: Vec<_> = rules::all().collect();
        softened.set("VT101=warn", all.iter()).unwrap();
        assert_eq!(told("Completed", None, &softened), None);
    }
}
