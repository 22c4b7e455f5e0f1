//! Whether the signed list beside a backup that came by sync vouches for it in this cluster.

use super::origin::{Unobserved, check_synced};
use super::statement::Statement;
use super::trust::{Claim, Distrust, Trust};
use super::verification::{self, VerificationError};
use crate::decision::{Location, TrustedKey};
use crate::digest::Sha256;
use crate::velero::backup_fields::BackupFields;
use crate::velero::text::shown;

/// A backup that came by sync, as it is here.
#[derive(Clone, Copy, Debug)]
pub struct Synced<'a> {
    /// The Backup in the cluster.
    pub backup: &'a BackupFields,
    /// The content of its `velero-backup.json`.
    pub document: &'a BackupFields,
    /// The name of its BackupStorageLocation.
    pub location: &'a str,
    /// Where its files are.
    pub place: &'a Location,
    /// The digest of the signed bytes of which this cluster had a record before, and since when, in seconds since 1970.
    pub recorded: Option<(Sha256, i64)>,
}

/// What is signed of a backup, and counts here.
#[derive(Clone, Debug)]
pub struct Importable<'k> {
    /// What is signed.
    pub statement: Statement,
    /// The digest of the signed bytes.
    pub payload: Sha256,
    /// The TrustedKey that vouches for it.
    pub trusted: &'k TrustedKey,
    /// The id of its key.
    pub key: Sha256,
    /// Whether the files were in another place when they were signed.
    pub is_elsewhere: bool,
}

/// Why a signed list does not vouch for a backup.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It does not verify with the keys of this cluster, or cannot be read.
    #[error(transparent)]
    Envelope(#[from] VerificationError),
    /// A key of this cluster signed it, and does not vouch for this backup.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It is about another backup of the name.
    #[error(
        "it is that of another backup of this name: its UID is {}, and velero-backup.json has {}",
        shown(.signed), shown(.found)
    )]
    OtherUid {
        /// The uid that is signed.
        signed: String,
        /// The uid in `velero-backup.json`.
        found: String,
    },
    /// The key counts only in the place that is signed.
    #[error("TrustedKey {key} counts only in the bucket that is signed, which is {}", shown(.bucket))]
    OtherBucket {
        /// `metadata.name` of the key.
        key: String,
        /// The bucket that is signed.
        bucket: String,
    },
    /// The Backup or `velero-backup.json` differs from what is signed.
    #[error("these fields are not what is signed: {}", .0.join(", "))]
    Differs(Vec<&'static str>),
}

impl ImportError {
    /// Returns the reason as one word, for conditions, Events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Envelope(VerificationError::UnknownKey(_)) => "KeyUnknown",
            Self::Envelope(VerificationError::Forged(_)) => "ListForged",
            Self::Envelope(VerificationError::OtherBackup { .. }) | Self::OtherUid { .. } => {
                "ListOfAnotherBackup"
            }
            Self::Envelope(VerificationError::Envelope(_) | VerificationError::Statement(_)) => {
                "ListUnreadable"
            }
            Self::Distrust(distrust) => distrust.reason(),
            Self::OtherBucket { .. } => "OtherBucket",
            Self::Differs(_) => "FieldsDiffer",
        }
    }

    /// Returns how much it says: of several lists that do not vouch, the one with the highest is told of.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::Envelope(VerificationError::Envelope(_) | VerificationError::Statement(_)) => 0,
            Self::Envelope(VerificationError::UnknownKey(_)) => 1,
            Self::Envelope(_) => 2,
            Self::Distrust(_) => 3,
            Self::OtherUid { .. } | Self::OtherBucket { .. } | Self::Differs(_) => 4,
        }
    }
}

/// Returns what `envelope` says about the backup `synced`, if one of the keys of `trust` vouches for it here. Its
/// files are compared when a Restore asks for them.
pub fn judge<'k>(
    envelope: &[u8],
    trust: &'k Trust,
    synced: &Synced<'_>,
) -> Result<Importable<'k>, ImportError> {
    let Synced {
        backup,
        document,
        location,
        place,
        recorded,
    } = synced;
    let opened = verification::open(envelope, &trust.public_keys(), Some(&backup.name))?;
    let before = recorded.filter(|(payload, _)| *payload == opened.payload);
    let is_elsewhere = opened.statement.location != **place;
    let claim = Claim {
        recorded_at: before.map(|(_, at)| at),
        is_elsewhere,
        ..Claim::of(&opened.statement, Some(&backup.namespace), Some(location))
    };
    let vouching = trust.vouching(&opened, &claim).map_err(|why| match why {
        Distrust::OtherBucket(key) => ImportError::OtherBucket {
            key,
            bucket: opened.statement.location.bucket.clone(),
        },
        why => why.into(),
    });
    let (trusted, key) = vouching?;
    let statement = opened.statement;
    let signed = &statement.backup;
    if signed.uid != document.uid {
        return Err(ImportError::OtherUid {
            signed: signed.uid.clone(),
            found: document.uid.clone(),
        });
    }
    let differences = signed.differences(document);
    if !differences.is_empty() {
        return Err(ImportError::Differs(differences));
    }
    // In the cluster that signed it, the namespace of Velero may have another name.
    let here = BackupFields {
        namespace: backup.namespace.clone(),
        ..signed.clone()
    };
    match check_synced(backup, &here) {
        Ok(()) => {}
        Err(Unobserved::Differs(fields)) => return Err(ImportError::Differs(fields)),
        Err(_) => return Err(ImportError::Differs(vec!["metadata.name"])),
    }
    Ok(Importable {
        statement,
        payload: opened.payload,
        trusted,
        key,
        is_elsewhere,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::KeyState;
    use crate::integrity::manifest::{File, Manifest};
    use crate::integrity::pod_volumes::PodVolumes;
    use crate::integrity::public_key::Algorithm;
    use crate::integrity::statement::Level;
    use crate::signing_key::SigningKey;
    use serde_json::Value;

    /// A backup of another cluster, and what Velero made of it here.
    struct Scene {
        statement: Statement,
        backup: BackupFields,
        document: BackupFields,
        recorded: Option<(Sha256, i64)>,
    }

    impl Scene {
        fn new() -> Self {
            let files = ["velero-backup.json", "b.tar.gz"].map(|name| File {
                name: name.to_owned(),
                size: 1,
                sha256: Sha256::of(name.as_bytes()),
            });
            let backup = BackupFields {
                namespace: "velero".into(),
                name: "b".into(),
                uid: "uid".into(),
                phase: "Completed".into(),
                started: Some("2026-01-01T00:00:00Z".into()),
                completed: Some("2026-01-01T00:01:00Z".into()),
                ..BackupFields::default()
            };
            Self {
                document: backup.clone(),
                backup: BackupFields {
                    uid: "uid of the sync".into(),
                    ..backup.clone()
                },
                statement: Statement {
                    manifest: Manifest::new("b", files.into()).unwrap(),
                    cluster: "other".into(),
                    backup,
                    location: Location {
                        provider: "aws".into(),
                        bucket: "bucket".into(),
                        prefix: String::new(),
                    },
                    pod_volumes: PodVolumes::none(),
                    level: Level::Observed,
                    public_key: None,
                },
                recorded: None,
            }
        }

        fn payload(&self) -> Vec<u8> {
            self.statement.to_bytes().unwrap()
        }

        fn signed_by(&self, key: &SigningKey) -> Vec<u8> {
            let envelope = key.sign(self.payload()).unwrap();
            envelope.to_json().unwrap().into_bytes()
        }

        fn judge(&self, envelope: &[u8], keys: &[TrustedKey]) -> Result<String, ImportError> {
            let trust = Trust::new(keys);
            let synced = Synced {
                backup: &self.backup,
                document: &self.document,
                location: "default",
                place: &self.statement.location,
                recorded: self.recorded,
            };
            let judged = judge(envelope, &trust, &synced);
            judged.map(|importable| importable.trusted.name.clone())
        }

        /// Returns who vouches by the list of the one key that is trusted, or why nobody does.
        fn told(&self) -> Result<String, String> {
            let key = key();
            let judged = self.judge(&self.signed_by(&key), &[trusted("one", &key)]);
            judged.map_err(|why| format!("{}: {why}", why.reason()))
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate(Algorithm::Ed25519).unwrap()
    }

    fn trusted(name: &str, key: &SigningKey) -> TrustedKey {
        TrustedKey {
            name: name.to_owned(),
            public_key: key.public_pem(),
            ..TrustedKey::default()
        }
    }

    #[test]
    fn the_namespace_of_velero_may_have_another_name_here() {
        let mut scene = Scene::new();
        assert_eq!(scene.told(), Ok("one".to_owned()));
        scene.backup.namespace = "backups".into();
        assert_eq!(scene.told(), Ok("one".to_owned()));
    }

    /// Somebody may have changed it back after the sync, or only here.
    #[test]
    fn both_the_document_and_the_backup_are_those_of_the_list() {
        let differs = |change: fn(&mut Scene)| {
            let mut scene = Scene::new();
            change(&mut scene);
            scene.told().unwrap_err()
        };
        let of_document = differs(|scene| scene.document.schedule = Some("daily".into()));
        let of_backup = differs(|scene| scene.backup.schedule = Some("daily".into()));
        let both = differs(|scene| {
            scene.document.started = None;
            scene.backup.started = None;
        });
        for (why, field) in [
            (of_document, "metadata.labels[velero.io/schedule-name]"),
            (of_backup, "metadata.labels[velero.io/schedule-name]"),
            (both, "status.startTimestamp"),
        ] {
            let says = format!("FieldsDiffer: these fields are not what is signed: {field}");
            assert_eq!(why, says);
        }
    }

    /// Whoever stole the key signs other bytes for the same backup.
    #[test]
    fn an_import_before_the_revocation_counts_for_the_same_bytes_only() {
        let key = key();
        let revoked = TrustedKey {
            state: KeyState::Revoked,
            revoked_at: Some(50),
            ..trusted("one", &key)
        };
        let mut scene = Scene::new();
        let same = Sha256::of(&scene.payload());
        let mut counts = |recorded| {
            scene.recorded = recorded;
            let judged = scene.judge(&scene.signed_by(&key), std::slice::from_ref(&revoked));
            judged.map_err(|why| why.reason())
        };
        assert_eq!(counts(Some((same, 49))), Ok("one".to_owned()));
        let others = [(same, 50), (Sha256::of(b"other bytes"), 49)].map(Some);
        for recorded in [None].into_iter().chain(others) {
            assert_eq!(counts(recorded), Err("KeyRevoked"), "{recorded:?}");
        }
    }

    #[test]
    fn one_signature_that_counts_is_enough_whatever_stands_before_it() {
        let scene = Scene::new();
        let [one, two] = [key(), key()];
        let parse = |key| serde_json::from_slice::<Value>(&scene.signed_by(key)).unwrap();
        let (mut envelope, other) = (parse(&one), parse(&two));
        let signatures = envelope["signatures"].as_array_mut().unwrap();
        signatures.push(other["signatures"][0].clone());
        let revoked = TrustedKey {
            state: KeyState::Revoked,
            ..trusted("one", &one)
        };
        let keys = [revoked, trusted("two", &two)];
        let judged = scene.judge(envelope.to_string().as_bytes(), &keys);
        assert_eq!(judged.unwrap(), "two");
    }

    /// Of several lists beside a backup, one is told of.
    #[test]
    fn what_says_more_of_a_backup_has_more_weight() {
        let scene = Scene::new();
        let key = key();
        let weight = |scene: &Scene, envelope: &[u8], change: fn(&mut TrustedKey)| {
            let mut trusted = trusted("one", &key);
            change(&mut trusted);
            let why = scene.judge(envelope, &[trusted]).unwrap_err();
            (why.reason(), why.weight())
        };
        let mut forged: Value = serde_json::from_slice(&scene.signed_by(&key)).unwrap();
        forged["signatures"][0]["sig"] = "AAAA".into();
        let mut another = Scene::new();
        another.document.uid = "another".into();
        let all = [
            weight(&scene, b"no list", |_| ()),
            weight(&scene, &scene.signed_by(&self::key()), |_| ()),
            weight(&scene, forged.to_string().as_bytes(), |_| ()),
            weight(&scene, &scene.signed_by(&key), |key| {
                key.scope.backups = vec!["c".into()];
            }),
            weight(&another, &scene.signed_by(&key), |_| ()),
        ];
        let reasons = all.map(|(reason, _)| reason);
        let expected = [
            "ListUnreadable",
            "KeyUnknown",
            "ListForged",
            "KeyOutOfScope",
            "ListOfAnotherBackup",
        ];
        assert_eq!(reasons, expected);
        assert!(all.is_sorted_by(|one, next| one.1 < next.1), "{all:?}");
    }
}
