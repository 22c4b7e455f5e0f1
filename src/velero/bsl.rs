//! A view of Velero's BackupStorageLocation (`pkg/apis/velero/v1/backupstoragelocation_types.go`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::metadata::Metadata;
use super::text::{Text, or_empty};

/// The part of a BackupStorageLocation that we read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bsl<'a> {
    /// `metadata`.
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    /// `spec`.
    #[serde(borrow)]
    pub spec: BslSpec<'a>,
}

/// The part of `spec` that we read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BslSpec<'a> {
    /// The plugin's name; without a `/`, Velero puts `velero.io/` before it.
    #[serde(borrow)]
    pub provider: Option<Text<'a>>,
    /// The plugin's settings.
    #[serde(borrow)]
    pub config: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// The Secret with the credentials.
    #[serde(borrow)]
    pub credential: Option<SecretKeySelector<'a>>,
    /// The bucket and its CA.
    #[serde(borrow)]
    pub object_storage: Option<ObjectStorage<'a>>,
}

/// `spec.objectStorage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectStorage<'a> {
    /// The bucket.
    #[serde(borrow)]
    pub bucket: Option<Text<'a>>,
    /// CA bundle, inline and in base64; deprecated since Velero 1.18.
    #[serde(borrow)]
    pub ca_cert: Option<Text<'a>>,
    /// The Secret that holds the CA bundle; since Velero 1.18.
    #[serde(borrow)]
    pub ca_cert_ref: Option<SecretKeySelector<'a>>,
}

/// A key of a Secret in the object's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SecretKeySelector<'a> {
    /// The Secret.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The key in it.
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
}

impl Bsl<'_> {
    /// The value of `spec.config[key]`.
    pub fn config(&self, key: &str) -> Option<&str> {
        let config = self.spec.config.as_ref()?;
        config
            .iter()
            .find(|(name, _)| **name == *key)
            .map(|(_, value)| &**value)
    }

    /// The provider without Velero's own prefix: `aws` for `velero.io/aws`.
    pub fn provider(&self) -> &str {
        let provider = or_empty(self.spec.provider.as_ref());
        provider.strip_prefix("velero.io/").unwrap_or(provider)
    }
}
