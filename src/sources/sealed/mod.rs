//! Secrets that are not readable in Git: encrypted, or generated in the cluster.

mod custom;
mod makers;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::placeholder::placeholder;
use crate::ca::pem;
use crate::decision::{Fact, Sealed, Secret};

pub(super) use makers::{ANY_NAMESPACE, secrets_made_by};

/// Values of a Secret that cannot be read here, beside those that can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HiddenValues {
    /// What hides them, and all keys of the Secret: SOPS and templates keep the keys readable.
    sealed: Arc<Sealed>,
    keys: BTreeSet<String>,
}

impl HiddenValues {
    /// Returns what stands for `key`, unless its value can be read.
    pub(super) fn instead_of(&self, key: &str) -> Option<Fact> {
        let is_hidden = self.keys.contains(key) || self.sealed.lacks(key);
        is_hidden.then(|| Fact::Sealed(Arc::clone(&self.sealed)))
    }

    /// Whether the value of `key` is one of them.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }
}

/// A Secret that stands in a file.
#[derive(Clone, Debug)]
pub(super) struct StoredSecret {
    fact: Fact,
    hidden: Option<HiddenValues>,
}

impl StoredSecret {
    /// One whose values can be read, except for those that are `hidden`.
    pub(super) fn readable(secret: Secret, hidden: Option<HiddenValues>) -> Self {
        Self {
            fact: Fact::Secret(Arc::new(secret)),
            hidden,
        }
    }

    /// One that another object stands for.
    pub(super) fn sealed(sealed: Sealed) -> Self {
        Self {
            fact: Fact::Sealed(Arc::new(sealed)),
            hidden: None,
        }
    }

    pub(super) const fn is_readable(&self) -> bool {
        matches!(self.fact, Fact::Secret(_))
    }

    /// Returns the answer to a look-up of `key`.
    pub(super) fn fact(&self, key: &str) -> Fact {
        let hidden = self.hidden.as_ref();
        hidden
            .and_then(|hidden| hidden.instead_of(key))
            .unwrap_or_else(|| self.fact.clone())
    }
}

/// Returns what hides a value of a Secret. A placeholder in a comment hides nothing, and nothing hides
/// a private key beside it.
fn hidden_by(value: &str) -> Option<&'static str> {
    let lines = value
        .lines()
        .filter(|line| !pem::is_comment(line.as_bytes()));
    let by = placeholder(&lines.collect::<Vec<_>>().join("\n"))?;
    (!pem::has_private_key(value.as_bytes())).then_some(by)
}

/// Returns the values of `object`, a Secret, that another tool replaces.
pub(super) fn hidden_values(object: &Value) -> Option<HiddenValues> {
    let values = || pairs(object, "data").chain(pairs(object, "stringData"));
    let hidden = values().filter_map(|(key, value)| Some((key, hidden_by(value.as_str()?)?)));
    let hidden: BTreeMap<_, _> = hidden.collect();
    let sealed = Sealed {
        by: Cow::Borrowed(hidden.values().next()?),
        keys: Some(values().map(|(key, _)| key.clone()).collect()),
    };
    Some(HiddenValues {
        sealed: Arc::new(sealed),
        keys: hidden.into_keys().cloned().collect(),
    })
}

/// Returns the pairs of the map `field` of an object.
pub(super) fn pairs<'v>(
    object: &'v Value,
    field: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    let map = object.get(field).and_then(Value::as_object);
    map.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_hides_only_itself() {
        let object = json!({
            "data": {"a": "ENC[AES256_GCM,data:x]", "c": "YQ=="},
            "stringData": {"b": "plain"},
        });
        let hidden = hidden_values(&object).unwrap();
        let by = |key| match hidden.instead_of(key)? {
            Fact::Sealed(sealed) => Some((sealed.by.to_string(), sealed.lacks(key))),
            _ => None,
        };
        let sops = || "encrypted by SOPS".to_owned();
        assert_eq!(by("a"), Some((sops(), false)));
        assert_eq!(by("b"), None);
        assert_eq!(by("c"), None);
        // Whatever makes the value may make other keys as well.
        assert_eq!(by("d"), Some((sops(), true)));
        let comment = json!({"stringData": {"a": "# ${USER}\nplain"}});
        assert_eq!(hidden_values(&comment), None);
        let key = json!({"stringData": {"a": "${CA}\n-----BEGIN PRIVATE KEY-----\n"}});
        assert_eq!(hidden_values(&key), None);
        assert_eq!(
            hidden_values(&json!({"sops": {}, "data": {"a": "YQ=="}})),
            None
        );
    }
}
