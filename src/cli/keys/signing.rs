//! Makes another key the one that signs in this cluster.

use anyhow::{anyhow, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::object::{self, FIELD_MANAGER, usual_name};
use super::secret::{self, KeySecret};
use crate::cli::snapshot::{own_keys, public_key};
use crate::digest::Sha256;
use crate::kubernetes::crds::{KeyState, TrustedKey, TrustedKeySpec};
use crate::kubernetes::error::lookup_error;
use crate::kubernetes::keep;
use crate::signing_key::SigningKey;

/// How long after the change a backup may complete that the old key signs still: clocks differ.
const OVERLAP: SignedDuration = SignedDuration::from_mins(1);

/// What was changed.
pub(super) struct Change {
    /// The name of the TrustedKey of the key that signs now.
    pub(super) new: String,
    /// The TrustedKeys whose keys sign no more.
    pub(super) retired: Vec<String>,
}

/// Makes `key` the one that signs. `old` is the Secret as it was read, if there is one.
///
/// Its signatures count before the first one is made. The leader sees that the TrustedKey of the old key is not
/// active any more, and reads the Secret again.
pub(super) async fn sign_with(
    client: &Client,
    namespace: &str,
    keys: &[TrustedKey],
    old: Option<KeySecret>,
    key: &SigningKey,
) -> anyhow::Result<Change> {
    let signed = old.as_ref().and_then(|old| old.key.as_ref().ok());
    let to_retire = to_retire(keys, signed.map(|key| key.public().id()), key.public().id());
    let (new, is_made) = trust(client, keys, key).await?;
    let stored = match old {
        Some(old) => secret::replace(client, namespace, old, key).await,
        None => secret::create(client, namespace, key).await,
    };
    let at = match stored {
        Ok(at) => at,
        Err(error) => {
            if is_made {
                // Nobody has its private half. If it stays, it does no harm.
                let trusted = Api::<TrustedKey>::all(client.clone());
                let _ = trusted.delete(&new, &DeleteParams::default()).await;
            }
            return Err(error);
        }
    };
    let until = at.checked_add(OVERLAP).unwrap_or(at);
    let mut retired = Vec::new();
    for name in to_retire {
        let spec = json!({"state": KeyState::VerifyOnly, "validUntil": Time(until)});
        let patched = patch(client, &name, &json!({"spec": spec})).await;
        patched.map_err(|why| {
            anyhow!(
                "{new} is the key in {}, and the TrustedKey {name} cannot be set to VerifyOnly, so that the leader \
                 signs with the old key until it starts again: {why}",
                secret::shown(namespace)
            )
        })?;
        retired.push(name);
    }
    Ok(Change { new, retired })
}

/// Returns the names of the TrustedKeys that are to sign no more: those of this installation, and those of the key
/// that `signed`, whoever made them.
fn to_retire(keys: &[TrustedKey], signed: Option<Sha256>, signs: Sha256) -> Vec<String> {
    let own: Vec<String> = own_keys(keys).map(ResourceExt::name_any).collect();
    let is_over = |key: &&TrustedKey| {
        let id = public_key(key).ok().map(|key| key.id());
        let is_one_that_signed = own.contains(&key.name_any()) || id.is_some() && id == signed;
        key.spec.state == KeyState::Active && is_one_that_signed && id != Some(signs)
    };
    let over = keys.iter().filter(is_over);
    over.map(ResourceExt::name_any).collect()
}

/// Makes sure that signatures of `key` count. Returns the name of its TrustedKey, and whether it was made.
async fn trust(
    client: &Client,
    keys: &[TrustedKey],
    key: &SigningKey,
) -> anyhow::Result<(String, bool)> {
    let id = key.public().id();
    let mut same = keys
        .iter()
        .filter(|one| public_key(one).is_ok_and(|one| one.id() == id));
    let Some(known) = same.next() else {
        let spec = TrustedKeySpec {
            public_key: key.public_pem(),
            algorithm: Some(key.public().algorithm().to_string()),
            ..TrustedKeySpec::default()
        };
        let name = usual_name(id);
        let object = object::trusted_key(&name, spec, true);
        let created = object::create(client, &object, false).await;
        created.map_err(|error| {
            let why = lookup_error(&error).message;
            anyhow!("cannot create the TrustedKey {name}: {why}")
        })?;
        return Ok((name, true));
    };
    let name = known.name_any();
    if known.spec.state == KeyState::Revoked || same.any(|one| one.spec.state == KeyState::Revoked)
    {
        bail!("the key is that of the TrustedKey {name}, which is revoked: others may have it");
    }
    check_unlimited(known)?;
    let labels = keep::metadata().labels;
    let change = json!({
        "metadata": {"labels": labels},
        "spec": {"state": KeyState::Active, "validUntil": null},
    });
    let patched = patch(client, &name, &change).await;
    patched.map_err(|why| anyhow!("cannot change the TrustedKey {name}: {why}"))?;
    Ok((name, false))
}

/// Fails if somebody trusts the key for some backups only: those that it signs here might not be among them.
fn check_unlimited(known: &TrustedKey) -> anyhow::Result<()> {
    let spec = &known.spec;
    let limits = [
        (!spec.scope.is_everything()).then_some("spec.scope"),
        spec.same_bucket_only.then_some("spec.sameBucketOnly"),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        return Ok(());
    }
    let name = known.name_any();
    bail!(
        "the key is that of the TrustedKey {name}, which counts for some backups only, and a key that signs in this \
         cluster has to count for all of them; if it is to, remove {} from the TrustedKey, and run this again",
        limits.join(" and ")
    )
}

/// Changes a TrustedKey. Fails with the reason of the API server.
pub(super) async fn patch(client: &Client, name: &str, change: &Value) -> Result<(), String> {
    let keys = Api::<TrustedKey>::all(client.clone());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = keys.patch(name, &params, &Patch::Merge(change)).await;
    patched
        .map(drop)
        .map_err(|error| lookup_error(&error).message)
}

/// Returns when the API server stored what this command wrote. The clock here may be another one.
pub(super) fn stored_at(metadata: &kube::api::ObjectMeta) -> Timestamp {
    let entries = metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let times = ours.filter_map(|entry| entry.time.as_ref().map(|time| time.0));
    times.max().unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::public_key::Algorithm;

    #[test]
    fn only_active_keys_that_signed_are_retired() {
        let [signs, lost, other] =
            [(); 3].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let key = |name: &str, key: &SigningKey, is_own: bool, state: KeyState| {
            let spec = TrustedKeySpec {
                public_key: key.public_pem(),
                state,
                ..TrustedKeySpec::default()
            };
            object::trusted_key(name, spec, is_own)
        };
        let keys = [
            key("signs", &signs, true, KeyState::Active),
            key("lost", &lost, true, KeyState::Active),
            key("before", &lost, true, KeyState::VerifyOnly),
            key("stolen", &lost, true, KeyState::Revoked),
            key("foreign", &other, false, KeyState::Active),
        ];
        let signs = signs.public().id();
        assert_eq!(to_retire(&keys, None, signs), ["lost"]);
        // Somebody made its TrustedKey before the installation.
        let signed = Some(other.public().id());
        assert_eq!(to_retire(&keys, signed, signs), ["lost", "foreign"]);
        // VerifyOnly would let it count again.
        let revoked = [key("foreign", &other, false, KeyState::Revoked)];
        assert!(to_retire(&revoked, signed, signs).is_empty());
    }

    #[test]
    fn a_key_that_counts_for_some_backups_does_not_sign() {
        let key = SigningKey::generate(Algorithm::EcdsaP256).unwrap();
        let spec = |spec: Value| {
            let mut whole = json!({"publicKey": key.public_pem()});
            json_patch::merge(&mut whole, &spec);
            object::trusted_key("a", serde_json::from_value(whole).unwrap(), false)
        };
        check_unlimited(&spec(json!({"state": "VerifyOnly"}))).unwrap();
        for (limit, field) in [
            (json!({"scope": {"locations": ["b"]}}), "spec.scope from"),
            (json!({"sameBucketOnly": true}), "spec.sameBucketOnly from"),
        ] {
            let why = check_unlimited(&spec(limit)).unwrap_err().to_string();
            assert!(
                why.contains(&format!("remove {field} the TrustedKey")),
                "{why}"
            );
        }
    }

    #[test]
    fn the_clock_of_the_api_server_counts() {
        let fields = |manager: &str, time: &str| json!({"manager": manager, "time": time});
        let metadata = json!({"managedFields": [
            fields("kubectl", "2020-01-03T00:00:00Z"),
            fields(FIELD_MANAGER, "2020-01-01T00:00:00Z"),
            fields(FIELD_MANAGER, "2020-01-02T00:00:00Z"),
        ]});
        let metadata = serde_json::from_value(metadata).unwrap();
        assert_eq!(stored_at(&metadata).to_string(), "2020-01-02T00:00:00Z");
    }
}
