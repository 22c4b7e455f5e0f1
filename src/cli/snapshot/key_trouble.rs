//! What is wrong with TrustedKeys: those that cannot be used, that are there twice, or that count for nothing.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use serde::Serialize;

use super::trusted_keys::{is_made_here, public_key};
use crate::decision::KeyScope;
use crate::integrity::public_key::PublicKeyError;
use crate::kubernetes::crds::{KeyState, TrustedKey};
use crate::velero::glob::matches;

/// What the scope of a key can name in this cluster. What is empty is not compared: it may be to come.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Scopable<'a> {
    /// Velero namespaces.
    pub(in crate::cli) namespaces: BTreeSet<&'a str>,
    /// BackupStorageLocations.
    pub(in crate::cli) locations: BTreeSet<&'a str>,
    /// Backups.
    pub(in crate::cli) backups: BTreeSet<&'a str>,
}

/// What is wrong with a TrustedKey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct KeyTrouble {
    /// The name of the TrustedKey.
    pub(in crate::cli) trusted_key: String,
    /// What is wrong. Nothing of a key is in it.
    pub(in crate::cli) message: String,
    /// What to do.
    pub(in crate::cli) fix: String,
    /// Whether others may be able to sign.
    #[serde(skip)]
    pub(in crate::cli) is_leak: bool,
}

/// Returns what is wrong with `keys`.
pub(in crate::cli) fn key_trouble(keys: &[TrustedKey], scopable: &Scopable<'_>) -> Vec<KeyTrouble> {
    let mut found = Vec::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        let name = key.name_any();
        match public_key(key) {
            Err(error) => found.push(unusable(&name, error)),
            Ok(public) => {
                let id = public.id().to_string();
                names.entry(id).or_default().push(name.clone());
                if key.spec.state != KeyState::Revoked {
                    found.extend(unmatched(&name, &key.spec.scope, scopable));
                }
            }
        }
    }
    found.extend(none_signs(keys));
    let doubles = names.into_values().filter(|names| names.len() > 1);
    found.extend(doubles.map(|mut names| {
        names.sort();
        let first = names.first().cloned().unwrap_or_default();
        KeyTrouble {
            message: format!(
                "the TrustedKeys {} have the same key: it counts for what any of them covers, and if one is revoked, \
                 for nothing",
                names.join(", ")
            ),
            fix: "keep one of them, with the scope that the key is to have".to_owned(),
            trusted_key: first,
            is_leak: false,
        }
    }));
    found
}

/// Returns that the key that signed in this cluster does so no more, and no other one does.
fn none_signs(keys: &[TrustedKey]) -> Option<KeyTrouble> {
    let mut retired = keys.iter().filter(|key| is_made_here(key));
    if retired
        .clone()
        .any(|key| key.spec.state == KeyState::Active)
    {
        return None;
    }
    let name = retired.next_back()?.name_any();
    Some(KeyTrouble {
        message: format!(
            "no key signs in this cluster: no TrustedKey that was made to sign in it, such as {name}, is Active any more, \
             so new backups are not recorded"
        ),
        fix: "let another key sign: `velero-trust keys rotate`".to_owned(),
        trusted_key: name,
        is_leak: false,
    })
}

fn unusable(name: &str, error: PublicKeyError) -> KeyTrouble {
    let is_leak = error == PublicKeyError::Private;
    let message = if is_leak {
        format!(
            "TrustedKey {name} has a private key where the public one is due: whoever may read TrustedKeys can sign \
             with it, and its signatures do not count"
        )
    } else {
        format!("TrustedKey {name} cannot be used, so its signatures do not count: {error}")
    };
    let delete = format!("delete it with `kubectl delete trustedkey {name}`");
    let fix = if is_leak {
        format!("{delete}, and use another key where that one signs: `velero-trust keys rotate`")
    } else {
        format!("{delete}, and trust its public key with `velero-trust keys trust FILE`")
    };
    KeyTrouble {
        trusted_key: name.to_owned(),
        message,
        fix,
        is_leak,
    }
}

/// Returns what the scope of a key names that is not there.
fn unmatched(name: &str, scope: &KeyScope, there: &Scopable<'_>) -> Vec<KeyTrouble> {
    let parts = [
        (
            "namespaces",
            "no Velero namespace is",
            missing(&scope.namespaces, &there.namespaces, |wanted, one| {
                wanted == one
            }),
        ),
        (
            "locations",
            "no BackupStorageLocation is",
            missing(&scope.locations, &there.locations, |wanted, one| {
                wanted == one
            }),
        ),
        (
            "backups",
            "no backup is",
            missing(&scope.backups, &there.backups, matches),
        ),
    ];
    let mut found = Vec::new();
    for (field, nothing, missing) in parts {
        if missing.is_empty() {
            continue;
        }
        found.push(KeyTrouble {
            trusted_key: name.to_owned(),
            message: format!(
                "spec.scope.{field} of TrustedKey {name} has {}, which {nothing}",
                missing.join(", ")
            ),
            fix: format!("kubectl edit trustedkey {name}"),
            is_leak: false,
        });
    }
    found
}

/// Returns those of `wanted` that none of `there` is. Where nothing is there, nothing is compared.
fn missing<'w>(
    wanted: &'w [String],
    there: &BTreeSet<&str>,
    is_it: impl Fn(&str, &str) -> bool,
) -> Vec<&'w str> {
    let wanted = wanted.iter().map(String::as_str);
    let missing = wanted.filter(|wanted| !there.iter().any(|one| is_it(wanted, one)));
    missing.filter(|_| !there.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn key(name: &str, pem: &str, spec: &Value) -> TrustedKey {
        let mut key = json!({"metadata": {"name": name}, "spec": {"publicKey": pem}});
        json_patch::merge(&mut key["spec"], spec);
        serde_json::from_value(key).unwrap()
    }

    fn messages(keys: &[TrustedKey]) -> Vec<String> {
        let there = Scopable {
            namespaces: ["velero"].into(),
            locations: ["default"].into(),
            backups: ["nightly-1"].into(),
        };
        let found = key_trouble(keys, &there);
        found.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn keys_that_cannot_be_used_or_are_there_twice_are_told() {
        let signing = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let (public, private) = (signing.public_pem(), signing.to_pem());
        let none = json!({});
        assert_eq!(messages(&[key("a", &public, &none)]), Vec::<String>::new());
        let twice = [key("b", &public, &none), key("a", &public, &none)];
        assert!(messages(&twice)[0].starts_with("the TrustedKeys a, b have the same key"));
        let found = key_trouble(&[key("a", &private, &none)], &Scopable::default());
        let [leak] = &found[..] else { panic!() };
        assert!(
            leak.is_leak && leak.message.contains("has a private key"),
            "{leak:?}"
        );
        let body: String = private.lines().skip(1).take(1).collect();
        assert!(!format!("{leak:?}").contains(&body));
        let broken = messages(&[key("a", "x", &none)]);
        assert!(
            broken[0].contains("it is not a public key in PEM"),
            "{broken:?}"
        );
    }

    #[test]
    fn that_no_key_signs_any_more_is_told() {
        let made_here = |name: &str, state: &str| {
            let public = SigningKey::generate(Algorithm::EcdsaP256)
                .unwrap()
                .public_pem();
            let mut key = key(name, &public, &json!({"state": state}));
            let label = (
                "app.kubernetes.io/managed-by".to_owned(),
                "velero-trust".to_owned(),
            );
            key.metadata.labels = Some([label].into());
            key
        };
        let retired = made_here("old", "VerifyOnly");
        let told = messages(std::slice::from_ref(&retired));
        assert!(
            told.len() == 1 && told[0].contains("such as old, is Active any more"),
            "{told:?}"
        );
        assert!(messages(&[retired.clone(), made_here("new", "Active")]).is_empty());
        // The key of another cluster signs nothing here.
        let public = SigningKey::generate(Algorithm::EcdsaP256)
            .unwrap()
            .public_pem();
        let other = key("other", &public, &json!({}));
        assert_eq!(messages(&[retired, other]), told);
    }

    #[test]
    fn a_scope_that_matches_nothing_is_told() {
        let public = SigningKey::generate(Algorithm::EcdsaP256)
            .unwrap()
            .public_pem();
        let with = |spec: &Value| messages(&[key("a", &public, spec)]);
        let scope = |field: &str, names: &[&str]| json!({"scope": {field: names}});
        for (field, good, bad) in [
            ("namespaces", "velero", "velero-*"),
            ("locations", "default", "other"),
            ("backups", "nightly-?", "weekly-*"),
        ] {
            assert!(with(&scope(field, &[good])).is_empty(), "{field}");
            let told = with(&scope(field, &[good, bad]));
            let expected = format!("spec.scope.{field} of TrustedKey a has {bad}, which no ");
            assert!(
                told.len() == 1 && told[0].starts_with(&expected),
                "{told:?}"
            );
        }
        let mut revoked = scope("backups", &["weekly-*"]);
        revoked["state"] = json!("Revoked");
        assert!(with(&revoked).is_empty());
        // Nothing was synced yet.
        let early = key("a", &public, &scope("backups", &["weekly-*"]));
        assert!(key_trouble(&[early], &Scopable::default()).is_empty());
    }
}
