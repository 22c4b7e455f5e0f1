//! Which TrustedKey a command is about.

use kube::ResourceExt;

use crate::cli::snapshot::public_key;
use crate::kubernetes::crds::{KeyState, TrustedKey};

/// Returns the key with this name or whose id begins so; without one, the only one that counts.
pub(super) fn select<'k>(
    keys: &'k [TrustedKey],
    wanted: Option<&str>,
) -> Result<&'k TrustedKey, String> {
    let id = |key: &TrustedKey| public_key(key).map(|key| key.id().to_string());
    let is_selected = |key: &&TrustedKey| match wanted {
        None => key.spec.state != KeyState::Revoked,
        Some(wanted) => {
            key.name_any() == wanted
                || !wanted.is_empty() && id(key).is_ok_and(|id| id.starts_with(wanted))
        }
    };
    let selected: Vec<_> = keys.iter().filter(is_selected).collect();
    match selected[..] {
        [key] => Ok(key),
        [] => Err(match wanted {
            Some(wanted) => format!(
                "there is no TrustedKey with the name or key id {wanted}; `velero-trust keys list` shows \
                 what there is"
            ),
            None => {
                "there is no TrustedKey whose signatures count; the leader makes one before it \
                     records the first backup"
                    .to_owned()
            }
        }),
        _ => {
            let names: Vec<_> = selected.iter().map(|key| key.name_any()).collect();
            Err(format!(
                "there are several keys, name one: {}",
                names.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integrity::public_key::Algorithm;
    use crate::signing_key::SigningKey;

    fn trusted(name: &str, pem: &str, state: KeyState) -> TrustedKey {
        let key = json!({
            "metadata": {"name": name}, "spec": {"publicKey": pem, "state": state},
        });
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn a_key_is_selected_by_its_name_or_id_and_never_guessed() {
        let [one, two] = [(); 2].map(|()| SigningKey::generate(Algorithm::EcdsaP256).unwrap());
        let keys = [
            trusted("one", &one.public_pem(), KeyState::Active),
            trusted("two", &two.public_pem(), KeyState::Revoked),
        ];
        let name = |keys, wanted| select(keys, wanted).map(ResourceExt::name_any);
        assert_eq!(name(&keys, None).as_deref(), Ok("one"));
        assert_eq!(name(&keys, Some("two")).as_deref(), Ok("two"));
        let id = two.public().id().to_string();
        assert_eq!(name(&keys, Some(&id[..16])).as_deref(), Ok("two"));
        assert!(
            name(&keys, Some(""))
                .unwrap_err()
                .contains("no TrustedKey with")
        );
        assert!(
            name(&keys, Some("three"))
                .unwrap_err()
                .contains("keys list")
        );
        let both = [
            keys[0].clone(),
            trusted("two", &two.public_pem(), KeyState::VerifyOnly),
        ];
        assert!(
            name(&both, None)
                .unwrap_err()
                .ends_with("name one: one, two")
        );
        assert!(
            name(&keys[1..], None)
                .unwrap_err()
                .contains("signatures count")
        );
    }
}
