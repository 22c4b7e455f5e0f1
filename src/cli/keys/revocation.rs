//! What becomes of the records of backups when a key is revoked.

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::cli::snapshot::{LedgerError, for_each_record};
use crate::decision::{self, Key};
use crate::digest::Sha256;
use crate::integrity::record;
use crate::integrity::recording::RecordState;
use crate::integrity::trust::Trust;
use crate::kubernetes::crds::{KeyState, TrustedKey};

/// Backups that are named.
const MAX_NAMED: usize = 20;

/// The keys of the cluster, with the one that is revoked in two states.
pub(super) struct Change {
    /// The id of its key.
    id: Sha256,
    /// It is revoked.
    revoked: Trust,
    /// That is undone.
    undone: Trust,
}

impl Change {
    /// The TrustedKey `name`, whose key has this id, is revoked from the time `at`, if it is given.
    pub(super) fn of(keys: &[TrustedKey], name: &str, id: Sha256, at: Option<Timestamp>) -> Self {
        let keys: Vec<decision::TrustedKey> = keys.iter().cloned().map(Into::into).collect();
        let with = |change: &dyn Fn(&mut decision::TrustedKey)| {
            let mut keys = keys.clone();
            keys.iter_mut()
                .filter(|key| key.name == name)
                .for_each(change);
            Trust::new(&keys)
        };
        Self {
            id,
            revoked: with(&|key| {
                key.state = KeyState::Revoked;
                key.revoked_at = at.map(Timestamp::as_second);
            }),
            undone: with(&|key| {
                // It may be revoked already.
                if key.state == KeyState::Revoked {
                    key.state = KeyState::Active;
                }
            }),
        }
    }
}

/// What becomes of the records that a key signed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// The backups whose records close.
    pub(super) closed: Vec<Key>,
    /// How many stay good.
    kept: usize,
    /// How many are closed now and open.
    opened: usize,
    /// How many are closed then, and open if the revocation is undone.
    reopened: usize,
}

impl Effect {
    /// Reads all records, and returns what becomes of them.
    pub(super) async fn read(client: &Client, change: &Change) -> Result<Self, LedgerError> {
        let mut effect = Self::default();
        for_each_record(client, |record| effect.add(&record.into(), change)).await?;
        Ok(effect)
    }

    /// Adds a record, if the key signed it and counts for it unless it is revoked. That of a backup that is gone
    /// neither closes nor opens.
    fn add(&mut self, record: &decision::BackupRecord, change: &Change) {
        if record.gone.is_some() {
            return;
        }
        let is_signed = match record::open(record, &change.undone) {
            Ok((opened, _)) => opened.signers.contains(&change.id),
            Err(_) => false,
        };
        if !is_signed {
            return;
        }
        let counts = record::open(record, &change.revoked).is_ok();
        match (record.state == RecordState::Recorded, counts) {
            (true, true) => self.kept += 1,
            (true, false) => self.closed.push(record.backup.clone()),
            (false, true) => self.opened += 1,
            (false, false) => {}
        }
        self.reopened += usize::from(!counts);
    }

    /// Returns a line for each number but 0.
    pub(super) fn text(&self) -> String {
        let mut names: Vec<_> = self
            .closed
            .iter()
            .map(|key| format!("{}/{}", key.namespace, key.name))
            .collect();
        names.sort();
        let more = names.len().saturating_sub(MAX_NAMED);
        names.truncate(MAX_NAMED);
        let names = names.iter().map(|name| format!("  {name}\n"));
        let names: String = names.collect();
        let more = match more {
            0 => String::new(),
            more => format!("  and {more} more\n"),
        };
        let line = |count: usize, one: &str, several: &str| match count {
            0 => String::new(),
            1 => format!("1 record {one}\n"),
            count => format!("{count} records {several}\n"),
        };
        [
            line(
                self.closed.len(),
                "closes, so that its backup is not restored:",
                "close, so that their backups are not restored:",
            ),
            names,
            more,
            line(self.kept, "stays good", "stay good"),
            line(
                self.opened,
                "that is closed opens again",
                "that are closed open again",
            ),
            line(
                self.reopened,
                "opens again if spec.state is set back",
                "open again if spec.state is set back",
            ),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::envelope::Envelope;
    use crate::integrity::manifest::{File, Manifest};
    use crate::integrity::pod_volumes::PodVolumes;
    use crate::integrity::public_key::Algorithm;
    use crate::integrity::statement::{Level, Location, Statement};
    use crate::signing_key::SigningKey;
    use crate::velero::backup_fields::BackupFields;
    use serde_json::json;

    fn envelope(key: &SigningKey) -> Envelope {
        let files = ["velero-backup.json", "b.tar.gz"].map(|name| File {
            name: name.to_owned(),
            size: 3,
            sha256: Sha256::of(b"abc"),
        });
        let statement = Statement {
            manifest: Manifest::new("b", files.into()).unwrap(),
            cluster: "cluster".into(),
            backup: BackupFields {
                namespace: "velero".into(),
                name: "b".into(),
                uid: "uid".into(),
                ..BackupFields::default()
            },
            location: Location::default(),
            pod_volumes: PodVolumes::none(),
            level: Level::Late,
            public_key: None,
        };
        key.sign(statement.to_bytes().unwrap()).unwrap()
    }

    /// Returns a record that the key signed at this time.
    fn record(key: &SigningKey, state: RecordState, at: i64) -> decision::BackupRecord {
        let envelope = envelope(key);
        decision::BackupRecord {
            backup: Key::new("velero", "b"),
            uid: "uid".into(),
            state,
            checksum: Some(format!("sha256:{}", Sha256::of(b"abc"))),
            manifest: Some(format!("sha256:{}", Sha256::of(envelope.payload()))),
            level: Some("late".into()),
            envelope: Some(envelope.to_json().unwrap()),
            recorded_at: Some(at),
            ..decision::BackupRecord::default()
        }
    }

    fn trusted(key: &SigningKey, spec: &serde_json::Value) -> TrustedKey {
        let mut object =
            json!({"metadata": {"name": "key"}, "spec": {"publicKey": key.public_pem()}});
        json_patch::merge(&mut object["spec"], spec);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn each_record_is_counted_by_what_becomes_of_it() {
        let [key, other] = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let records = [
            record(&key, RecordState::Recorded, 10),
            record(&key, RecordState::Recorded, 30),
            record(&key, RecordState::Unobserved, 10),
            record(&key, RecordState::Unobserved, 30),
            record(&other, RecordState::Recorded, 30),
            decision::BackupRecord {
                gone: Some(decision::Departure::Expired),
                ..record(&key, RecordState::Recorded, 30)
            },
            decision::BackupRecord {
                envelope: None,
                ..record(&key, RecordState::Unobserved, 10)
            },
        ];
        let numbers = |spec: &serde_json::Value, at: Option<i64>| {
            let at = at.map(|at| Timestamp::from_second(at).unwrap());
            let keys = [trusted(&key, spec)];
            let change = Change::of(&keys, "key", key.public().id(), at);
            let mut effect = Effect::default();
            for record in &records {
                effect.add(record, &change);
            }
            let Effect {
                closed,
                kept,
                opened,
                reopened,
            } = effect;
            [closed.len(), kept, opened, reopened]
        };
        for state in ["Active", "VerifyOnly"] {
            let spec = json!({"state": state});
            assert_eq!(numbers(&spec, None), [2, 0, 0, 4]);
            assert_eq!(numbers(&spec, Some(20)), [1, 1, 1, 2]);
        }
        // It is revoked already, from another time.
        let before = json!({"state": "Revoked", "revokedAt": "1970-01-01T00:00:05Z"});
        assert_eq!(numbers(&before, Some(20)), [1, 1, 1, 2]);
        assert_eq!(numbers(&before, Some(40)), [0, 2, 2, 0]);
        // It does not count for them.
        let scoped = json!({"scope": {"backups": ["c"]}});
        assert_eq!(numbers(&scoped, None), [0; 4]);
    }

    #[test]
    fn numbers_are_told_but_for_0() {
        assert_eq!(Effect::default().text(), "");
        let backup = |one: usize| Key::new("velero", format!("b{one:02}"));
        let one = Effect {
            closed: vec![backup(1)],
            kept: 1,
            opened: 1,
            reopened: 1,
        };
        let expected = "\
1 record closes, so that its backup is not restored:
  velero/b01
1 record stays good
1 record that is closed opens again
1 record opens again if spec.state is set back
";
        assert_eq!(one.text(), expected);
        let many = Effect {
            closed: (0..22).map(backup).rev().collect(),
            kept: 3,
            opened: 0,
            reopened: 24,
        };
        let text = many.text();
        assert!(
            text.starts_with(
                "22 records close, so that their backups are not restored:\n  velero/b00\n"
            ),
            "{text}"
        );
        let end = "  velero/b19\n  and 2 more\n3 records stay good\n24 records open again if spec.state is set back";
        assert!(text.contains(end), "{text}");
    }
}
