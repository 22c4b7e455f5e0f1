//! The keys that verify backups, and whether the one that signs was exported.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::integrity::public_key::{PublicKey, PublicKeyError};
use crate::kubernetes::crds::{KeyState, TrustedKey};
use crate::names;

/// Returns the public key, or why it cannot be used.
pub(in crate::cli) fn public_key(key: &TrustedKey) -> Result<PublicKey, PublicKeyError> {
    PublicKey::from_pem(&key.spec.public_key)
}

/// Returns when a person exported the private half of `key`, to the second.
pub(in crate::cli) fn exported_at(key: &TrustedKey) -> Option<Timestamp> {
    let at: Timestamp = key.annotations().get(names::EXPORTED_AT)?.parse().ok()?;
    Timestamp::from_second(at.as_second()).ok()
}

/// Returns the key that signs: the newest one that an installation in this cluster made.
pub(in crate::cli) fn signing_key(keys: &[TrustedKey]) -> Option<&TrustedKey> {
    own_keys(keys).max_by_key(|key| created_at(key))
}

/// Whether the key that signs was exported. An older key that was exported after the newest was made
/// is the one that signs: somebody put its Secret back.
pub(in crate::cli) fn is_exported(keys: &[TrustedKey]) -> bool {
    let Some(newest) = signing_key(keys) else {
        return false;
    };
    let mut exports = own_keys(keys).filter_map(exported_at);
    exported_at(newest).is_some() || exports.any(|at| Some(at) >= created_at(newest))
}

/// Returns the older keys that are to sign still: their Secret was lost, and nobody has a copy of the
/// new one.
pub(in crate::cli) fn lost_keys(keys: &[TrustedKey]) -> Vec<&TrustedKey> {
    let newest = signing_key(keys).filter(|_| !is_exported(keys));
    let newest = newest.map(ResourceExt::name_any);
    let lost =
        own_keys(keys).filter(|key| newest.as_ref().is_some_and(|new| *new != key.name_any()));
    lost.collect()
}

/// Returns the active keys that an installation in this cluster made.
pub(in crate::cli) fn own_keys(keys: &[TrustedKey]) -> impl Iterator<Item = &TrustedKey> {
    keys.iter()
        .filter(|key| is_made_here(key) && key.spec.state == KeyState::Active)
}

/// Whether an installation in this cluster made `key`.
pub(in crate::cli) fn is_made_here(key: &TrustedKey) -> bool {
    let manager = key.labels().get("app.kubernetes.io/managed-by");
    manager.is_some_and(|manager| manager == names::APP)
}

fn created_at(key: &TrustedKey) -> Option<Timestamp> {
    key.creation_timestamp().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(name: &str, created: &str, exported: Option<&str>) -> TrustedKey {
        let mut key = json!({
            "metadata": {
                "name": name,
                "creationTimestamp": created,
                "labels": {"app.kubernetes.io/managed-by": "velero-trust"},
                "annotations": {},
            },
            "spec": {"publicKey": "", "state": "Active"},
        });
        if let Some(at) = exported {
            key["metadata"]["annotations"][names::EXPORTED_AT] = json!(at);
        }
        serde_json::from_value(key).unwrap()
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-02-01T00:00:00Z";
    const LATER: &str = "2026-03-01T00:00:00Z";

    #[test]
    fn the_time_of_an_export_is_given_to_the_second() {
        let key = key("a", OLD, Some("2026-03-01T00:00:00.123456789Z"));
        assert_eq!(exported_at(&key).unwrap().to_string(), LATER);
    }

    #[test]
    fn the_newest_own_key_signs_and_has_to_be_exported() {
        let state = |keys: &[TrustedKey]| {
            let signing = signing_key(keys).map(ResourceExt::name_any);
            (signing, is_exported(keys))
        };
        assert_eq!(state(&[]), (None, false));
        let of = |name: &str, exported| (Some(name.to_owned()), exported);
        assert_eq!(state(&[key("a", OLD, None)]), of("a", false));
        assert_eq!(state(&[key("a", OLD, Some(LATER))]), of("a", true));
        assert_eq!(state(&[key("a", OLD, Some("yes"))]), of("a", false));
        // The Secret was lost, and a new key made.
        let lost = [key("a", OLD, Some(OLD)), key("b", NEW, None)];
        assert_eq!(state(&lost), of("b", false));
        let lost_of = |keys: &[TrustedKey]| -> Vec<String> {
            lost_keys(keys)
                .into_iter()
                .map(ResourceExt::name_any)
                .collect()
        };
        assert_eq!(lost_of(&lost), ["a"]);
        let told = [key("a", OLD, Some(OLD)), key("b", NEW, Some(LATER))];
        assert!(lost_of(&told).is_empty(), "there is a copy of the new one");
        assert!(lost_of(&[key("a", OLD, None)]).is_empty());
        // The old Secret was put back, and exported again.
        let back = [key("a", OLD, Some(LATER)), key("b", NEW, None)];
        assert_eq!(state(&back), of("b", true));
        assert!(lost_of(&back).is_empty());
        // Keys of others are not ours to export, and one that signs no more needs no export.
        let mut other = key("c", LATER, None);
        other.metadata.labels = None;
        let mut retired = key("d", LATER, None);
        retired.spec.state = KeyState::VerifyOnly;
        assert_eq!(
            state(&[key("a", OLD, Some(NEW)), other, retired]),
            of("a", true)
        );
    }
}
