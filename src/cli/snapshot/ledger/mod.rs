//! The records and keys of a cluster, and what a review of Restores says by them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::Client;

use super::backups::KnownBackup;
use super::records::{LedgerError, Records};
use crate::decision::{self, Key, Policy, RecordState, RestoresMode};
use crate::integrity::recording::find_own;
use crate::integrity::restorable::{NotRestorable, Recorded, why_not_restorable};
use crate::kubernetes::crds::{BackupRecord, TrustedKey, name_prefix};

/// Why a backup could not be restored now, and under `--restores=enforce`.
type Judgement = (Option<NotRestorable>, Option<NotRestorable>);

/// The records and keys of a cluster. Of 20,000 records, no more is kept than decisions and tables need.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Ledger {
    /// `None` if they are not known, or the kind is not installed.
    records: Option<Records>,
    /// Why there are no records.
    failure: Option<LedgerError>,
    /// Why it is not known what would be decided.
    unknown: Option<String>,
    /// `None` where the kind is not installed.
    keys: Option<Arc<Vec<decision::TrustedKey>>>,
    /// What is decided by what is signed.
    judged: HashMap<Key, Judgement>,
    /// The namespaces and locations of which files are recorded and signed.
    signed: HashSet<(String, String)>,
}

impl Ledger {
    /// Reads the records, and decides under `policy` which of `backups`, by their namespace, could be restored with
    /// these `keys`.
    pub(in crate::cli) async fn read(
        client: &Client,
        keys: &Result<Vec<TrustedKey>, LedgerError>,
        backups: &[(&str, &[KnownBackup])],
        policy: &Policy,
    ) -> Self {
        let mut judge = Judge::new(keys.as_deref().ok(), backups, policy);
        let records = Records::read_each(client, |record| judge.add(record)).await;
        let failures = [records.as_ref().err(), keys.as_ref().err()];
        let unreadable = failures
            .into_iter()
            .flatten()
            .find_map(|error| match error {
                LedgerError::Unreadable(why) => Some(why.clone()),
                LedgerError::NotInstalled(_) => None,
            });
        Self {
            unknown: unreadable,
            failure: records.as_ref().err().cloned(),
            records: records.ok(),
            ..judge.finish()
        }
    }

    /// Returns the records; `None` if they are not known, or the kind is not installed.
    pub(in crate::cli) fn records(&self) -> Option<&Records> {
        self.records.as_ref()
    }

    /// Returns why there are no records.
    pub(in crate::cli) fn failure(&self) -> Option<&LedgerError> {
        self.failure.as_ref()
    }

    /// Returns why it is not known what a review of a Restore would say; `None` if it is.
    pub(in crate::cli) fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// Returns why a Restore of `known`, a Backup in `namespace`, would fail.
    pub(super) fn why_not_restorable(
        &self,
        namespace: &str,
        known: &KnownBackup,
        policy: &Policy,
    ) -> Judgement {
        if let Some(judged) = self.judged.get(&known.key(namespace)) {
            return *judged;
        }
        let records = self.records.as_ref().map(|records| {
            let all = records.of(namespace, &known.backup.fields.name).iter();
            all.cloned().map(Into::into).collect()
        });
        let location = (namespace.to_owned(), known.backup.storage_location.clone());
        let recorded = Recorded {
            records,
            keys: self.keys.clone(),
            has_signed_backups: self.signed.contains(&location),
        };
        judge(namespace, known, &recorded, policy)
    }
}

/// Decides while the records are read, because an envelope has up to 70 KiB.
struct Judge<'a> {
    backups: HashMap<Key, &'a KnownBackup>,
    policy: &'a Policy,
    ledger: Ledger,
    /// What the names of the records of `group` begin with.
    prefix: String,
    /// The records that were read of Backups whose names begin alike.
    group: HashMap<Key, Vec<decision::BackupRecord>>,
}

impl<'a> Judge<'a> {
    fn new(
        keys: Option<&[TrustedKey]>,
        backups: &[(&str, &'a [KnownBackup])],
        policy: &'a Policy,
    ) -> Self {
        let backups = backups.iter().flat_map(|(namespace, backups)| {
            let backups = backups.iter();
            backups.map(|backup| (backup.key(namespace), backup))
        });
        let keys = keys.map(|keys| keys.iter().cloned().map(Into::into).collect());
        Self {
            backups: backups.collect(),
            policy,
            ledger: Ledger {
                keys: keys.map(Arc::new),
                ..Ledger::default()
            },
            prefix: String::new(),
            group: HashMap::new(),
        }
    }

    fn add(&mut self, record: &BackupRecord) {
        let prefix = name_prefix(&record.spec.backup);
        if self.prefix != prefix {
            self.judge_group();
            self.prefix = prefix;
        }
        let status = record.status.as_ref();
        if let Some(location) = status.and_then(|status| status.location.as_ref())
            && record.known().state == RecordState::Recorded
        {
            let place = (record.spec.namespace.clone(), location.name.clone());
            self.ledger.signed.insert(place);
        }
        let key = Key::new(&*record.spec.namespace, &*record.spec.backup);
        if self.backups.contains_key(&key) {
            let group = self.group.entry(key).or_default();
            group.push(record.clone().into());
        }
    }

    /// Decides about the Backups of the group whose files are recorded. The others need no envelope.
    fn judge_group(&mut self) {
        for (key, records) in self.group.drain() {
            let Some(known) = self.backups.get(&key) else {
                continue;
            };
            let own = find_own(&known.backup.fields.uid, &records);
            if own.is_some_and(|own| own.state == RecordState::Recorded) {
                let recorded = Recorded {
                    records: Some(records),
                    keys: self.ledger.keys.clone(),
                    has_signed_backups: true,
                };
                let judgement = judge(&key.namespace, known, &recorded, self.policy);
                self.ledger.judged.insert(key, judgement);
            }
        }
    }

    fn finish(mut self) -> Ledger {
        self.judge_group();
        self.ledger
    }
}

/// Decides once if the policy of the namespace is to enforce, because signatures are verified each time.
fn judge(namespace: &str, known: &KnownBackup, recorded: &Recorded, policy: &Policy) -> Judgement {
    let decide =
        |policy: &Policy| why_not_restorable(namespace, &known.backup, recorded.clone(), policy);
    let enforced = decide(&policy.clone().with_restores(RestoresMode::Enforce));
    let now = if policy.restores_mode(namespace) == RestoresMode::Enforce {
        enforced
    } else {
        decide(policy)
    };
    (now, enforced)
}

#[cfg(test)]
mod tests;
