//! For which backups the signature of a key counts: as its TrustedKey says.

use k8s_openapi::jiff::Timestamp;

use super::public_key::PublicKey;
use super::statement::Statement;
use super::verification::Opened;
use crate::decision::{KeyScope, KeyState, SignedLevel, TrustedKey};
use crate::digest::Sha256;
use crate::velero::glob::matches;
use crate::velero::text::seconds;

/// The keys of a cluster that can be read.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Vec<(TrustedKey, PublicKey)>,
}

/// What a signature is to count for.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The Velero namespace in this cluster; `None` if it is judged without one.
    pub namespace: Option<&'a str>,
    /// The BackupStorageLocation in this cluster; `None` if it is judged without one.
    pub location: Option<&'a str>,
    /// The name of the backup.
    pub backup: &'a str,
    /// Who vouches for the files; `None` if that is no level of this version.
    pub level: Option<SignedLevel>,
    /// When the backup completed, in seconds since 1970.
    pub completed: Option<i64>,
    /// When it was recorded in this cluster, if it was, in seconds since 1970.
    pub recorded_at: Option<i64>,
    /// Whether the files are known to be in another bucket or prefix than the one that is signed.
    pub is_elsewhere: bool,
}

impl<'a> Claim<'a> {
    /// Returns what is signed in `statement`, to be used in this namespace and location.
    pub fn of(
        statement: &'a Statement,
        namespace: Option<&'a str>,
        location: Option<&'a str>,
    ) -> Self {
        let completed = statement.backup.completed.as_deref().and_then(seconds);
        Self {
            namespace,
            location,
            backup: &statement.backup.name,
            level: Some(statement.level.kind()),
            completed,
            recorded_at: None,
            is_elsewhere: false,
        }
    }
}

/// Why the signature of a known key does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No TrustedKey has the key.
    #[error("it is signed by the key {0}, which is no TrustedKey")]
    Unknown(Sha256),
    /// The key is revoked.
    #[error("it is signed by the TrustedKey {0}, which is revoked")]
    Revoked(String),
    /// The key vouches for other backups.
    #[error("it is signed by the TrustedKey {key}, whose {field} does not cover it")]
    OutOfScope {
        /// `metadata.name` of the key.
        key: String,
        /// The field of its scope.
        field: &'static str,
    },
    /// The key was not used any more when the backup completed.
    #[error(
        "it is signed by the TrustedKey {key}, which counts for backups until {until}, and completed later"
    )]
    Later {
        /// `metadata.name` of the key.
        key: String,
        /// `spec.validUntil`.
        until: Timestamp,
    },
    /// The key counts only in the bucket that is signed, and the files are in another one.
    #[error(
        "it is signed by the TrustedKey {0}, which counts only in the bucket that is signed, and its files are in \
         another bucket or prefix"
    )]
    OtherBucket(String),
}

impl Distrust {
    /// Returns the reason as one word, for conditions, Events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "KeyUnknown",
            Self::Revoked(_) => "KeyRevoked",
            Self::OutOfScope { .. } => "KeyOutOfScope",
            Self::Later { .. } => "KeyNoLongerValid",
            Self::OtherBucket(_) => "OtherBucket",
        }
    }
}

impl Trust {
    /// Takes the keys that can be read. The same key may be in several TrustedKeys.
    pub fn new(keys: &[TrustedKey]) -> Self {
        let keys = keys.iter().filter_map(|key| {
            let public = PublicKey::from_pem(&key.public_key).ok()?;
            Some((key.clone(), public))
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Returns the keys with which signatures are verified, those that are revoked as well.
    pub fn public_keys(&self) -> Vec<&PublicKey> {
        self.keys.iter().map(|(_, public)| public).collect()
    }

    /// Returns a digest of what the keys let count. With another one, what is not known by a key may be known now.
    pub fn digest(&self) -> String {
        let mut lines: Vec<String> = self.keys.iter().map(line).collect();
        lines.sort_unstable();
        lines.dedup();
        let digest = Sha256::of(lines.concat().as_bytes()).to_string();
        digest.get(..16).unwrap_or(&digest).to_owned()
    }

    /// Returns the TrustedKey, and its key, by which one of the signatures of `opened` counts for `claim`, or why that
    /// of the first does not.
    pub fn vouching(
        &self,
        opened: &Opened,
        claim: &Claim<'_>,
    ) -> Result<(&TrustedKey, Sha256), Distrust> {
        let mut others = opened.signers.iter().skip(1);
        match self.check(opened.key, claim) {
            Ok(key) => Ok((key, opened.key)),
            Err(why) => others
                .find_map(|id| Some((self.check(*id, claim).ok()?, *id)))
                .ok_or(why),
        }
    }

    /// Returns the TrustedKey by which a signature of the key `id` counts for `claim`.
    ///
    /// If several TrustedKeys have the key, it is enough that one covers the backup; but if one of them is
    /// revoked, the key is.
    pub fn check(&self, id: Sha256, claim: &Claim<'_>) -> Result<&TrustedKey, Distrust> {
        let same = || self.keys.iter().filter(|(_, public)| public.id() == id);
        let revoked = same().find(|(key, _)| is_revoked(key, claim));
        if let Some((key, _)) = revoked {
            return Err(Distrust::Revoked(key.name.clone()));
        }
        let mut why = Distrust::Unknown(id);
        for (key, _) in same() {
            match check_use(key, claim) {
                Ok(()) => return Ok(key),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

/// Whether `key` is revoked, and nobody knew of the backup before.
fn is_revoked(key: &TrustedKey, claim: &Claim<'_>) -> bool {
    let knew_before = claim
        .recorded_at
        .zip(key.revoked_at)
        .is_some_and(|(recorded, revoked)| recorded < revoked);
    key.state == KeyState::Revoked && !knew_before
}

fn check_use(key: &TrustedKey, claim: &Claim<'_>) -> Result<(), Distrust> {
    if let Some(field) = uncovered(&key.scope, claim) {
        return Err(Distrust::OutOfScope {
            key: key.name.clone(),
            field,
        });
    }
    if key.same_bucket_only && claim.is_elsewhere {
        return Err(Distrust::OtherBucket(key.name.clone()));
    }
    match key.valid_until {
        // A backup that does not tell when it completed may have completed later.
        Some(until) if claim.completed.is_none_or(|completed| completed > until) => {
            Err(Distrust::Later {
                key: key.name.clone(),
                until: Timestamp::from_second(until).unwrap_or_default(),
            })
        }
        _ => Ok(()),
    }
}

/// Returns the first field of `scope` that does not cover `claim`.
fn uncovered(scope: &KeyScope, claim: &Claim<'_>) -> Option<&'static str> {
    let names = |list: &[String], name: Option<&str>| {
        list.is_empty() || name.is_none_or(|name| list.iter().any(|one| one == name))
    };
    let backups = &scope.backups;
    let is_named = backups.is_empty() || backups.iter().any(|one| matches(one, claim.backup));
    let is_of_level = claim
        .level
        .is_some_and(|level| scope.levels.contains(&level));
    let checks = [
        (
            "spec.scope.namespaces",
            names(&scope.namespaces, claim.namespace),
        ),
        (
            "spec.scope.locations",
            names(&scope.locations, claim.location),
        ),
        ("spec.scope.backups", is_named),
        ("spec.scope.levels", scope.levels.is_empty() || is_of_level),
    ];
    let (field, _) = checks.into_iter().find(|(_, covers)| !covers)?;
    Some(field)
}

/// Returns a line that says what `key`, which is `public`, lets count.
fn line((key, public): &(TrustedKey, PublicKey)) -> String {
    let TrustedKey {
        state,
        valid_until,
        revoked_at,
        scope,
        same_bucket_only,
        ..
    } = key;
    let line = serde_json::json!([
        public.id().to_string(),
        state,
        valid_until,
        revoked_at,
        scope,
        same_bucket_only
    ]);
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    const CLAIM: Claim<'static> = Claim {
        namespace: Some("velero"),
        location: Some("default"),
        backup: "nightly-1",
        level: Some(SignedLevel::Observed),
        completed: Some(100),
        recorded_at: None,
        is_elsewhere: false,
    };

    fn keys(changes: &[&dyn Fn(&mut TrustedKey)]) -> (Sha256, Vec<TrustedKey>) {
        let signing = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let names = ["one", "two"].into_iter();
        let keys = names.zip(changes).map(|(name, change)| {
            let mut key = TrustedKey {
                name: name.to_owned(),
                public_key: signing.public_pem(),
                ..TrustedKey::default()
            };
            change(&mut key);
            key
        });
        (signing.public().id(), keys.collect())
    }

    /// Returns how a signature of a key counts that has one TrustedKey for each of `changes`.
    fn check(changes: &[&dyn Fn(&mut TrustedKey)], claim: &Claim<'_>) -> Result<String, String> {
        let (id, keys) = keys(changes);
        let trust = Trust::new(&keys);
        let checked = trust.check(id, claim);
        checked
            .map(|key| key.name.clone())
            .map_err(|why| format!("{}: {why}", why.reason()))
    }

    type Change<'a> = &'a dyn Fn(&mut KeyScope);

    fn scope(change: impl Fn(&mut KeyScope)) -> impl Fn(&mut TrustedKey) {
        move |key: &mut TrustedKey| change(&mut key.scope)
    }

    #[test]
    fn a_key_counts_within_its_scope() {
        let one = Ok("one".to_owned());
        assert_eq!(check(&[&|_| ()], &CLAIM), one);
        let covering: [Change<'_>; 4] = [
            &|scope| scope.namespaces = vec!["a".into(), "velero".into()],
            &|scope| scope.locations = vec!["default".into()],
            &|scope| scope.backups = vec!["weekly-*".into(), "nightly-?".into()],
            &|scope| scope.levels = vec![SignedLevel::Observed],
        ];
        for change in covering {
            assert_eq!(check(&[&scope(change)], &CLAIM), one);
        }
        let uncovering: [(&str, Change<'_>); 4] = [
            ("namespaces", &|scope| {
                scope.namespaces = vec!["vel*".into()];
            }),
            ("locations", &|scope| scope.locations = vec!["other".into()]),
            ("backups", &|scope| {
                scope.backups = vec!["nightly-??".into()];
            }),
            ("levels", &|scope| {
                scope.levels = vec![SignedLevel::Late, SignedLevel::Adopted];
            }),
        ];
        for (field, change) in uncovering {
            let why = check(&[&scope(change)], &CLAIM).unwrap_err();
            let expected = format!("TrustedKey one, whose spec.scope.{field} does not cover it");
            assert!(
                why.starts_with("KeyOutOfScope") && why.contains(&expected),
                "{why}"
            );
        }
        let unknown = Claim {
            level: None,
            ..CLAIM
        };
        let levels = scope(|scope| scope.levels = vec![SignedLevel::Late]);
        assert!(check(&[&levels], &unknown).is_err());
        assert_eq!(check(&[&|_| ()], &unknown), one);
        // Without a cluster, its namespaces and locations are not asked for.
        let offline = Claim {
            namespace: None,
            location: None,
            ..CLAIM
        };
        let both = scope(|scope| {
            scope.namespaces = vec!["a".into()];
            scope.locations = vec!["a".into()];
        });
        assert_eq!(check(&[&both], &offline), one);
    }

    #[test]
    fn a_revoked_key_counts_for_what_was_recorded_before() {
        let at = |revoked_at: Option<i64>| {
            move |key: &mut TrustedKey| {
                key.state = KeyState::Revoked;
                key.revoked_at = revoked_at;
            }
        };
        let recorded = |at| Claim {
            recorded_at: Some(at),
            ..CLAIM
        };
        let revoked =
            Err("KeyRevoked: it is signed by the TrustedKey one, which is revoked".to_owned());
        assert_eq!(check(&[&at(None)], &recorded(1)), revoked);
        assert_eq!(check(&[&at(Some(50))], &CLAIM), revoked);
        assert_eq!(check(&[&at(Some(50))], &recorded(50)), revoked);
        assert_eq!(check(&[&at(Some(50))], &recorded(49)), Ok("one".to_owned()));
        // The time is that of another state.
        let active = |key: &mut TrustedKey| key.revoked_at = Some(1);
        assert_eq!(check(&[&active], &CLAIM), Ok("one".to_owned()));
    }

    #[test]
    fn a_key_that_signs_no_more_counts_for_backups_of_its_time() {
        let until = |state, until: Option<i64>| {
            move |key: &mut TrustedKey| {
                key.state = state;
                key.valid_until = until;
            }
        };
        let one = Ok("one".to_owned());
        assert_eq!(check(&[&until(KeyState::VerifyOnly, None)], &CLAIM), one);
        assert_eq!(
            check(&[&until(KeyState::VerifyOnly, Some(100))], &CLAIM),
            one
        );
        for state in [KeyState::Active, KeyState::VerifyOnly] {
            let why = check(&[&until(state, Some(99))], &CLAIM).unwrap_err();
            assert!(
                why.starts_with("KeyNoLongerValid") && why.contains("1970-01-01T00:01:39Z"),
                "{why}"
            );
        }
        let untold = Claim {
            completed: None,
            ..CLAIM
        };
        assert!(check(&[&until(KeyState::VerifyOnly, Some(100))], &untold).is_err());
    }

    #[test]
    fn a_key_may_count_only_in_the_bucket_that_is_signed() {
        let only = |key: &mut TrustedKey| key.same_bucket_only = true;
        let elsewhere = Claim {
            is_elsewhere: true,
            ..CLAIM
        };
        let one = Ok("one".to_owned());
        assert_eq!(check(&[&only], &CLAIM), one);
        assert_eq!(check(&[&|_| ()], &elsewhere), one);
        let why = check(&[&only], &elsewhere).unwrap_err();
        assert!(
            why.starts_with("OtherBucket: ") && why.contains("TrustedKey one, which counts only"),
            "{why}"
        );
        // It is enough that one of its TrustedKeys covers the backup.
        assert_eq!(check(&[&only, &|_| ()], &elsewhere), Ok("two".to_owned()));
    }

    #[test]
    fn a_key_under_two_names_is_one_key() {
        let other = scope(|scope| scope.locations = vec!["other".into()]);
        let both = scope(|scope| scope.locations = vec!["default".into()]);
        assert_eq!(check(&[&other, &both], &CLAIM), Ok("two".to_owned()));
        let revoked = |key: &mut TrustedKey| key.state = KeyState::Revoked;
        let why = check(&[&|_| (), &revoked], &CLAIM).unwrap_err();
        assert!(why.contains("TrustedKey two, which is revoked"), "{why}");
        let (id, _) = keys(&[&|_| ()]);
        let (_, others) = keys(&[&|_| ()]);
        let others = Trust::new(&others);
        let unknown = others.check(id, &CLAIM).unwrap_err();
        assert_eq!(unknown, Distrust::Unknown(id));
    }

    #[test]
    fn the_digest_tells_what_counts() {
        let (_, keys) = keys(&[&|_| (), &|_| ()]);
        let [one, two] = &keys[..] else { panic!() };
        let digest = |keys: &[TrustedKey]| Trust::new(keys).digest();
        let first = digest(std::slice::from_ref(one));
        assert_eq!(first.len(), 16);
        assert_eq!(
            digest(std::slice::from_ref(two)),
            first,
            "the name is for people"
        );
        assert_eq!(digest(&keys), first);
        let edits: [&dyn Fn(&mut TrustedKey); 5] = [
            &|key| key.state = KeyState::VerifyOnly,
            &|key| key.valid_until = Some(1),
            &|key| key.revoked_at = Some(1),
            &|key| key.scope.backups = vec!["a".into()],
            &|key| key.same_bucket_only = true,
        ];
        for edit in edits {
            let mut edited = one.clone();
            edit(&mut edited);
            assert_ne!(digest(&[edited]), first);
        }
        let broken = TrustedKey {
            public_key: "x".into(),
            ..TrustedKey::default()
        };
        assert_eq!(digest(&[one.clone(), broken]), first);
    }
}
