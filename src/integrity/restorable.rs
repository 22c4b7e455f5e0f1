//! Whether a backup could be restored: whether a Restore that names it would pass its review, and
//! Velero would find all of its files.

use std::sync::Arc;

use super::recording::{RecordState, find_own};
use super::rules::{self, Moment, NOT_YET, Question, why_not_whole};
use crate::decision::{
    Backup, BackupRecord, Fact, Facts, Judged, Key, ListedFiles, Lookup, Outcome, Policy,
    RestoresMode, Rule, TrustedKey,
};
use crate::velero::restore::Restore;

/// Why a backup could not be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRestorable {
    /// A Restore that names it is denied by this rule.
    Denied(&'static Rule),
    /// A Restore that names it waits, as this rule says.
    Awaited(&'static Rule),
    /// It has not all of its files, for this reason.
    NotWhole(&'static str),
}

/// What the cluster knows of a backup and of those who vouch for backups.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// All records of its namespace and name; `None` where the kind is not installed.
    pub records: Option<Vec<BackupRecord>>,
    /// The keys of the cluster; `None` where the kind is not installed.
    pub keys: Option<Arc<Vec<TrustedKey>>>,
    /// Whether files of backups of its location are recorded and signed.
    pub has_signed_backups: bool,
}

/// Returns why a Restore that names nothing but `backup` could not restore it under `policy`; `None`
/// if it could. It is decided by the rules that review Restores when they are created. The bucket is not looked at:
/// it is taken to list what it listed when the files were read last.
pub fn why_not_restorable(
    namespace: &str,
    backup: &Backup,
    recorded: Recorded,
    policy: &Policy,
) -> Option<NotRestorable> {
    if let Some(why) = why_not_whole(&backup.fields.phase) {
        return Some(NotRestorable::NotWhole(why));
    }
    let mut restore = Restore::default();
    restore.spec.backup_name = Some(backup.fields.name.as_str().into());
    let question = Question {
        moment: Moment::Create,
        namespace,
        restore: &restore,
        policy,
        now: 0,
    };
    let facts = facts(Key::new(namespace, &*backup.fields.name), backup, recorded);
    let (report, _) = rules::judge(&question, None, &facts);
    debug_assert!(report.needs.is_empty(), "{:?}", report.needs);
    let judged = Judged::apply_policy(&report, policy);
    if let Some(denial) = judged.denials.first() {
        return Some(NotRestorable::Denied(denial.rule));
    }
    let mut findings = report.findings.iter();
    let is_awaited = findings.any(|finding| *finding.rule == NOT_YET);
    (is_awaited && question.mode() == RestoresMode::Enforce)
        .then_some(NotRestorable::Awaited(&NOT_YET))
}

/// Returns what a review of a Restore of `backup` looks up.
fn facts(key: Key, backup: &Backup, recorded: Recorded) -> Facts {
    let uid = backup.fields.uid.clone();
    let location = backup.storage_location.clone();
    let is_known = recorded.records.is_some();
    let records = recorded.records.map(|all| looked_up(&uid, all));
    let listed = records.as_deref().and_then(|all| last_listed(&uid, all));
    let mut facts = Facts::default();
    let mut insert = |lookup, fact: Option<Fact>| {
        facts.insert(lookup, fact.map_or(Outcome::Absent, Outcome::Found));
    };
    insert(
        Lookup::ListedFiles {
            backup: key.clone(),
            location: location.clone(),
        },
        listed.map(|listed| Fact::ListedFiles(Arc::new(listed))),
    );
    insert(
        Lookup::SignedBackups {
            namespace: key.namespace.clone(),
            location,
        },
        is_known.then_some(Fact::SignedBackups(recorded.has_signed_backups)),
    );
    insert(Lookup::TrustedKeys, recorded.keys.map(Fact::TrustedKeys));
    insert(
        Lookup::Records {
            backup: key.clone(),
            uid,
        },
        records.map(|records| Fact::Records(Arc::new(records))),
    );
    let found = Fact::Backup(Arc::new(backup.clone()));
    insert(Lookup::Backup(key), Some(found));
    facts
}

/// Returns those of all records of a name that a look-up for the Backup with `uid` finds.
fn looked_up(uid: &str, mut all: Vec<BackupRecord>) -> Vec<BackupRecord> {
    let is_own = |record: &BackupRecord| record.uid == uid && record.state == RecordState::Recorded;
    if all.iter().any(is_own) {
        all.retain(is_own);
    }
    all
}

/// Returns what the bucket listed when the files were read last.
fn last_listed(uid: &str, records: &[BackupRecord]) -> Option<ListedFiles> {
    let reading = find_own(uid, records)?.reading.as_ref()?;
    Some(ListedFiles {
        location: reading.location.clone(),
        listing: reading.listing?,
        is_authentic: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{BackupFields, File, Location, PodVolumes};
    use crate::digest::Sha256;
    use crate::integrity::manifest::Manifest;
    use crate::integrity::public_key::Algorithm;
    use crate::integrity::statement::{Level, Statement};
    use crate::signing_key::SigningKey;

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
        let recorded = Recorded::default();
        why_not_restorable("velero", &backup, recorded, policy).map(|why| match why {
            NotRestorable::Denied(rule) | NotRestorable::Awaited(rule) => rule.id.to_owned(),
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
        let rule = |policy: &Policy| {
            let recorded = Recorded {
                records: Some(vec![record.clone()]),
                ..Recorded::default()
            };
            match why_not_restorable("velero", &backup, recorded, policy) {
                Some(NotRestorable::Denied(rule)) => rule.id,
                _ => "",
            }
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

    const LOCATION: &str = "default";

    /// Returns the Backup with this uid, which started at this time.
    fn complete(uid: &str, started: &str) -> Backup {
        Backup {
            fields: BackupFields {
                namespace: "velero".into(),
                name: "nightly".into(),
                uid: uid.into(),
                phase: "Completed".into(),
                started: Some(started.into()),
                ..BackupFields::default()
            },
            storage_location: LOCATION.into(),
            ..Backup::default()
        }
    }

    /// Returns the record of `backup`, whose files `key` signed.
    fn signed(backup: &Backup, key: &SigningKey) -> BackupRecord {
        let files = ["velero-backup.json", "nightly.tar.gz"].map(|name| File {
            name: name.into(),
            size: 1,
            sha256: Sha256::of(b""),
        });
        let statement = Statement {
            manifest: Manifest::new("nightly", files.into()).unwrap(),
            cluster: "cluster".into(),
            backup: backup.fields.clone(),
            location: Location::default(),
            pod_volumes: PodVolumes::none(),
            level: Level::Observed,
            public_key: None,
        };
        let payload = statement.to_bytes().unwrap();
        BackupRecord {
            backup: Key::new("velero", "nightly"),
            uid: backup.fields.uid.clone(),
            state: RecordState::Recorded,
            checksum: statement.tarball().map(|digest| digest.prefixed()),
            manifest: Some(Sha256::of(&payload).prefixed()),
            level: Some("observed".into()),
            envelope: Some(key.sign(payload).unwrap().to_json().unwrap()),
            location: Some(LOCATION.into()),
            ..BackupRecord::default()
        }
    }

    #[test]
    fn a_later_backup_of_the_name_counts_against_one_that_came_by_sync_and_not_against_our_own() {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let trusted = TrustedKey {
            name: "key".into(),
            public_key: key.public_pem(),
            ..TrustedKey::default()
        };
        let keys = Arc::new(vec![trusted]);
        let backup = complete("u", "2026-01-01T00:00:00Z");
        let later = complete("v", "2026-02-01T00:00:00Z");
        let synced = BackupRecord {
            synced_as: Some("w".into()),
            ..signed(&backup, &key)
        };
        let records = vec![synced, signed(&later, &key)];
        let why = |uid: &str| {
            let backup = complete(uid, "2026-01-01T00:00:00Z");
            let recorded = Recorded {
                records: Some(records.clone()),
                keys: Some(Arc::clone(&keys)),
                has_signed_backups: true,
            };
            let policy = Policy::new(RestoresMode::Enforce);
            match why_not_restorable("velero", &backup, recorded, &policy) {
                Some(NotRestorable::Denied(rule)) => rule.id,
                None => "",
                why => panic!("{why:?}"),
            }
        };
        assert_eq!(why("w"), "VT114");
        assert_eq!(why("u"), "");
    }

    #[test]
    fn what_is_still_to_be_recorded_is_awaited_only_where_restores_wait_for_it() {
        let record = BackupRecord {
            backup: Key::new("velero", "nightly"),
            uid: "u".into(),
            is_observed: true,
            ..BackupRecord::default()
        };
        let why = |mode| {
            let recorded = Recorded {
                records: Some(vec![record.clone()]),
                ..Recorded::default()
            };
            let backup = complete("u", "2026-01-01T00:00:00Z");
            why_not_restorable("velero", &backup, recorded, &Policy::new(mode))
        };
        let awaited = Some(NotRestorable::Awaited(&NOT_YET));
        assert_eq!(why(RestoresMode::Enforce), awaited);
        assert_eq!(why(RestoresMode::Warn), None);
        assert_eq!(why(RestoresMode::Off), None);
    }
}
