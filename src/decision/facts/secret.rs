//! Secrets as facts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Fact, Facts, Key, Known, Lookup, Outcome};

/// A key of a Secret. A look-up names it, so that a source keeps no other value of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKeyRef {
    /// The Secret.
    pub secret: Key,
    /// The key in the Secret.
    pub key: String,
}

impl SecretKeyRef {
    /// Returns a reference to `key` of the Secret `name` in `namespace`.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        Self {
            secret: Key::new(namespace, name),
            key: key.into(),
        }
    }
}

/// The data of a Secret. `Debug` shows keys and sizes, never the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Decoded values by key. Keys that no look-up named may be left out.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.data.iter().map(|(key, value)| (key, value.len())))
            .finish()
    }
}

/// A Secret that another controller creates or decrypts in the cluster, such as an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The kind of object that stands for the Secret, as it reads after `the Secret is`, such as
    /// `a SealedSecret`.
    pub by: Cow<'static, str>,
    /// The keys that the Secret will have; `None` if they are not known.
    pub keys: Option<BTreeSet<String>>,
}

impl Sealed {
    /// Whether the Secret is known not to have `key`.
    pub fn lacks(&self, key: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.contains(key))
    }
}

impl Facts {
    /// Returns the size of the values of Secrets that were looked up, in bytes.
    pub fn secret_bytes(&self) -> usize {
        let values = self.0.iter().filter_map(|found| match found {
            (Lookup::Secret(reference), Outcome::Found(Fact::Secret(secret))) => {
                secret.data.get(&reference.key)
            }
            _ => None,
        });
        values.map(Vec::len).sum()
    }

    /// Returns what stands for the Secret of `reference`, if it is sealed. Call this before
    /// [`Facts::secret`], which has no answer for a sealed Secret.
    pub fn sealed(&self, reference: &SecretKeyRef) -> Option<&Sealed> {
        match self.0.get(&Lookup::Secret(reference.clone())) {
            Some(Outcome::Found(Fact::Sealed(sealed))) => Some(sealed),
            _ => None,
        }
    }

    /// Returns the Secret of `reference`, which may lack the key.
    pub fn secret(&self, reference: &SecretKeyRef) -> Known<&Secret> {
        self.get(Lookup::Secret(reference.clone()), |fact| match fact {
            Fact::Secret(secret) => Some(secret.as_ref()),
            _ => None,
        })
    }
}
