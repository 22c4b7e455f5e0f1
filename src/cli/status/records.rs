//! Whether backups can be recorded, and the key that signs them exported.

use kube::ResourceExt;

use super::model::{Backups, FIX_SEPARATOR, Namespace, Records, SigningKey};
use crate::cli::key_type::KeyType;
use crate::cli::snapshot::{
    self, INSTALL_LEDGER, LedgerError, NotRecordedState, Scopable, is_exported, key_trouble,
    lost_keys, public_key, secret_gone, signing_key,
};
use crate::kubernetes::crds::TrustedKey;
use crate::names;

/// The command that exports the key that signs.
pub(super) const EXPORT: &str = "velero-trust keys export --private velero-trust-signing-key.pem";

/// What is known of the key that the leader signs with.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaderKey<'a> {
    /// The namespace of velero-trust.
    pub(super) namespace: &'a str,
    /// The type of a key that the leader would make; `None` if that is not known.
    pub(super) key_type: Option<KeyType>,
    /// Whether its Secret is there; `None` if that is not known.
    pub(super) has_secret: Option<bool>,
}

/// Returns what is shown of the records. `failure` is why they could not be read.
pub(super) fn summarize(
    failure: Option<&LedgerError>,
    keys: &Result<Vec<TrustedKey>, LedgerError>,
    leader: LeaderKey<'_>,
) -> Records {
    let LeaderKey {
        namespace,
        key_type,
        has_secret,
    } = leader;
    let failure = failure.or_else(|| keys.as_ref().err());
    let keys = keys.as_deref().unwrap_or_default();
    Records {
        installed: match failure {
            None => Some(true),
            Some(LedgerError::NotInstalled(_)) => Some(false),
            Some(LedgerError::Unreadable(_)) => None,
        },
        signing_key: signing_key(keys).map(|key| SigningKey {
            trusted_key: key.name_any(),
            exported: is_exported(keys),
            wanted_type: key_type
                .filter(|wanted| {
                    public_key(key).is_ok_and(|key| key.algorithm() != wanted.algorithm())
                })
                .map(|wanted| wanted.to_string()),
            lost: lost_keys(keys)
                .into_iter()
                .map(ResourceExt::name_any)
                .collect(),
            secret_gone: has_secret
                .is_some_and(|has| !has)
                .then(|| secret_gone(namespace, keys))
                .flatten(),
        }),
        key_trouble: Vec::new(),
        message: failure.map(ToString::to_string),
    }
}

/// Adds what is wrong with `keys`, of which the scopes name what is there. `are_all` says whether `namespaces` are
/// all of Velero.
pub(super) fn add_key_trouble(
    summary: &mut Records,
    keys: &[TrustedKey],
    (namespaces, are_all): (&[Namespace], bool),
    records: Option<&snapshot::Records>,
) {
    let all = namespaces.iter().filter(|_| are_all);
    let locations = all.clone().flat_map(|namespace| &namespace.locations);
    let records = records.into_iter().flat_map(snapshot::Records::all);
    let there = Scopable {
        namespaces: all.map(|namespace| &*namespace.name).collect(),
        locations: locations.map(|location| &*location.name).collect(),
        backups: records.map(|record| &*record.spec.backup).collect(),
    };
    summary.key_trouble = key_trouble(keys, &there);
}

/// Returns the problems that concern all records.
pub(super) fn problems(records: &Records) -> Vec<String> {
    let mut problems = Vec::new();
    if records.installed == Some(false) {
        let message = records.message.as_deref().unwrap_or_default();
        problems.push(format!("{message}{FIX_SEPARATOR}{INSTALL_LEDGER}"));
    }
    if let Some(key) = records.signing_key.as_ref().filter(|key| !key.exported) {
        let before = match &*key.lost {
            [] => String::new(),
            lost => format!(
                "the Secret with the key {} was lost, and a new key signs since; ",
                lost.join(", ")
            ),
        };
        problems.push(format!(
            "{before}nobody has a copy of the key that signs backups: it was never exported, and is lost \
             with this cluster{FIX_SEPARATOR}{EXPORT}"
        ));
    }
    let key = records.signing_key.as_ref();
    if let Some(gone) = key.and_then(|key| key.secret_gone.as_ref()) {
        problems.push(format!(
            "Secret {}: {}{FIX_SEPARATOR}{}",
            names::SIGNING_KEY,
            gone.message,
            gone.fix
        ));
    }
    let trouble = records.key_trouble.iter();
    problems.extend(trouble.map(|one| format!("{}{FIX_SEPARATOR}{}", one.message, one.fix)));
    let key = records.signing_key.as_ref();
    if let Some((key, wanted)) = key.and_then(|key| Some((key, key.wanted_type.as_ref()?))) {
        problems.push(format!(
            "the key that signs, TrustedKey {}, is not of the type that velero-trust is to make \
             (--key-type={wanted}); a key that is there is used{FIX_SEPARATOR}change the key as docs/records.md \
             shows, or the option",
            key.trusted_key
        ));
    }
    problems
}

/// Returns the problems that backups of a namespace cannot be read, or only by a URL that Velero signs.
pub(super) fn unreadable(backups: &Backups) -> impl Iterator<Item = String> {
    let others = backups.not_recorded.iter();
    others.filter_map(|one| {
        let what = match one.why.state {
            NotRecordedState::Unreadable => {
                "cannot be recorded, because their files cannot be read"
            }
            NotRecordedState::TarballOnly => {
                "are recorded by their tarball only, because velero-trust may not read the bucket"
            }
            _ => return None,
        };
        let count = one.backups.count;
        let total = backups.total.unwrap_or_default();
        let message = one.backups.message.as_deref().unwrap_or_default();
        Some(format!("{count} of {total} backups {what}: {message}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey as PrivateKey;
    use serde_json::json;

    #[test]
    fn that_the_secret_of_the_key_is_gone_is_told() {
        let problems_with = |keys: &[TrustedKey], has_secret| {
            let leader = LeaderKey {
                namespace: "velero-trust",
                key_type: None,
                has_secret,
            };
            problems(&summarize(None, &Ok(keys.to_vec()), leader))
        };
        let pem = PrivateKey::generate(Algorithm::EcdsaP256)
            .unwrap()
            .public_pem();
        let key = json!({
            "metadata": {
                "name": "own",
                "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
                "annotations": {"velero-trust.io/exported-at": "2026-01-02T00:00:00Z"},
            },
            "spec": {"publicKey": pem},
        });
        let keys: [TrustedKey; 1] = [serde_json::from_value(key).unwrap()];
        for has_secret in [None, Some(true)] {
            assert!(
                problems_with(&keys, has_secret).is_empty(),
                "{has_secret:?}"
            );
        }
        let told = problems_with(&keys, Some(false));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("Secret velero-trust-signing-key: it is gone: ")
                && told[0]
                    .ends_with("\nkubectl -n velero-trust rollout restart deployment/velero-trust"),
            "{told:?}"
        );
        // None was made yet.
        assert!(problems_with(&[], Some(false)).is_empty());
    }

    #[test]
    fn a_key_of_another_type_than_is_asked_for_is_a_problem() {
        for (algorithm, key_type, wanted) in [
            (Algorithm::EcdsaP256, Some(KeyType::EcdsaP256), None),
            (Algorithm::Ed25519, Some(KeyType::Ed25519), None),
            (
                Algorithm::Ed25519,
                Some(KeyType::EcdsaP256),
                Some("ecdsa-p256"),
            ),
            (
                Algorithm::EcdsaP256,
                Some(KeyType::Ed25519),
                Some("ed25519"),
            ),
            (Algorithm::Ed25519, None, None),
        ] {
            let pem = PrivateKey::generate(algorithm).unwrap().public_pem();
            let key = json!({
                "metadata": {
                    "name": "own",
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
                    "annotations": {"velero-trust.io/exported-at": "2026-01-02T00:00:00Z"},
                },
                "spec": {"publicKey": pem},
            });
            let keys = Ok(vec![serde_json::from_value(key).unwrap()]);
            let leader = LeaderKey {
                namespace: "velero-trust",
                key_type,
                has_secret: Some(true),
            };
            let records = summarize(None, &keys, leader);
            let found = records.signing_key.as_ref().unwrap();
            assert_eq!(found.wanted_type.as_deref(), wanted);
            let problems = problems(&records);
            assert_eq!(problems.len(), usize::from(wanted.is_some()));
            if let (Some(wanted), [problem]) = (wanted, &problems[..]) {
                let option = format!("(--key-type={wanted})");
                assert!(problem.contains("TrustedKey own") && problem.contains(&option));
            }
        }
    }
}
