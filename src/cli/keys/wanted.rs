//! The TrustedKey that `velero-trust keys trust` is asked for, and whether the one that is there is the same.

use anyhow::bail;
use kube::ResourceExt as _;

use super::fingerprint;
use super::object::usual_name;
use super::scope::ScopeArgs;
use crate::cli::trusted_key_file::FileKey;
use crate::kubernetes::crds::{KeyState, TrustedKey, TrustedKeySpec};

/// Returns the name and content of the TrustedKey that is to be made of the key that was `found`, which must have
/// the `fingerprint` if one is given. `name` and `scope` go before what was found.
pub(super) fn wanted(
    found: FileKey,
    fingerprint: Option<&str>,
    name: Option<&str>,
    scope: &ScopeArgs,
) -> anyhow::Result<(String, TrustedKeySpec)> {
    let FileKey { key, trusted } = found;
    if let Some(given) = fingerprint {
        fingerprint::compare(given, key.id())?;
    }
    let mut spec = trusted.spec;
    // A time that is given makes it VerifyOnly, and its signatures count.
    if spec.state == KeyState::Revoked {
        bail!(
            "the TrustedKey is Revoked, so that its signatures do not count; `kubectl apply` takes it as it is"
        );
    }
    spec.algorithm = Some(key.algorithm().to_string());
    scope.apply(&mut spec);
    let named = name.map(str::to_owned).or(trusted.metadata.name);
    Ok((named.unwrap_or_else(|| usual_name(key.id())), spec))
}

/// Fails if the TrustedKey of the key that is there is not what `wanted` asks for.
pub(super) fn check_same(same: &TrustedKey, wanted: &TrustedKeySpec) -> anyhow::Result<()> {
    let name = same.name_any();
    if same.spec.state == KeyState::Revoked {
        bail!(
            "the key is that of the TrustedKey {name}, which is Revoked: somebody said that others may have it. If it \
             is to count again: kubectl patch trustedkey {name} --type=merge -p '{{\"spec\":{{\"state\":\"Active\"}}}}'"
        );
    }
    let counts = |spec: &TrustedKeySpec| {
        (
            spec.state,
            spec.valid_until.clone(),
            spec.scope.clone(),
            spec.same_bucket_only,
        )
    };
    if counts(&same.spec) != counts(wanted) {
        bail!(
            "the key is that of the TrustedKey {name}, which counts for other backups than you ask for; one key has \
             one TrustedKey: see `velero-trust keys show {name}`, and change it with `kubectl edit trustedkey {name}`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn key(spec: &serde_json::Value) -> TrustedKey {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"publicKey": ""}});
        json_patch::merge(&mut object["spec"], spec);
        serde_json::from_value(object).unwrap()
    }

    #[derive(clap::Parser)]
    struct Scope {
        #[command(flatten)]
        scope: ScopeArgs,
    }

    /// Returns what becomes of a file with this spec and a key, with a fingerprint and a scope as on the command line.
    fn of_file(
        spec: &serde_json::Value,
        fingerprint: Option<&str>,
        scope: &[&str],
    ) -> anyhow::Result<(String, TrustedKeySpec)> {
        let signing = SigningKey::generate(Algorithm::EcdsaP256)?;
        let found = FileKey {
            key: signing.public().clone(),
            trusted: key(spec),
        };
        let scope = Scope::parse_from(["trust"].iter().chain(scope)).scope;
        wanted(found, fingerprint, None, &scope)
    }

    #[test]
    fn a_revoked_key_is_not_trusted_whatever_else_is_asked_for() {
        let until = ["--valid-until", "2026-01-01T00:00:00Z"];
        for scope in [&[][..], &until] {
            let why = of_file(&json!({"state": "Revoked"}), None, scope)
                .unwrap_err()
                .to_string();
            assert!(
                why.starts_with("the TrustedKey is Revoked"),
                "{scope:?}: {why}"
            );
        }
        let (name, spec) = of_file(&json!({"state": "Active"}), None, &until).unwrap();
        assert_eq!((&*name, spec.state), ("a", KeyState::VerifyOnly));
    }

    #[test]
    fn the_key_in_a_file_must_have_the_fingerprint_that_is_given() {
        let digits = "0".repeat(64);
        let why = of_file(&json!({}), Some(&digits), &[])
            .unwrap_err()
            .to_string();
        assert!(
            why.starts_with("the fingerprint is that of another key"),
            "{why}"
        );
    }

    #[test]
    fn a_key_that_is_known_is_not_trusted_twice() {
        let why = |same: serde_json::Value, wanted: serde_json::Value| {
            let wanted: TrustedKey = key(&wanted);
            let checked = check_same(&key(&same), &wanted.spec);
            checked
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert_eq!(why(json!({"algorithm": "x"}), json!({})), "");
        let revoked = why(json!({"state": "Revoked"}), json!({}));
        assert!(
            revoked.contains("TrustedKey a, which is Revoked"),
            "{revoked}"
        );
        let scope = why(json!({}), json!({"scope": {"backups": ["b"]}}));
        assert!(scope.contains("counts for other backups"), "{scope}");
    }
}
