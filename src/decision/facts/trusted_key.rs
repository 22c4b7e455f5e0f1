//! The keys whose signatures count, as facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fact, Facts, Known, Lookup};

/// Whether signatures of a key count.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    /// They count.
    #[default]
    Active,
    /// They count, and the key signs no more.
    VerifyOnly,
    /// They do not count.
    Revoked,
}

impl KeyState {
    /// Returns the name of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::VerifyOnly => "VerifyOnly",
            Self::Revoked => "Revoked",
        }
    }
}

/// Who vouches for the files of a backup, as it is signed.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignedLevel {
    /// velero-trust read the files when the backup completed.
    Observed,
    /// velero-trust read the files later.
    Late,
    /// A person said that the files are right.
    Adopted,
}

impl SignedLevel {
    /// Returns the name of the level.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Late => "late",
            Self::Adopted => "adopted",
        }
    }

    /// Reads the name of a level.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Observed, Self::Late, Self::Adopted];
        all.into_iter().find(|level| level.name() == name)
    }
}

/// For which backups signatures of a key count. An empty list means all.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyScope {
    /// Velero namespaces of this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Names of BackupStorageLocations of this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// Names of backups, in which `*` stands for any text and `?` for any character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
    /// Levels: observed, late or adopted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<SignedLevel>,
}

impl KeyScope {
    /// Whether it covers every backup.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// A public key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKey {
    /// `metadata.name`.
    pub name: String,
    /// The key in PEM.
    pub public_key: String,
    /// Whether its signatures count.
    pub state: KeyState,
    /// If it is `VerifyOnly`: signatures of backups that completed later do not count. In seconds since
    /// 1970.
    pub valid_until: Option<i64>,
    /// If it is `Revoked`: what was recorded in this cluster before stays good. In seconds since 1970.
    pub revoked_at: Option<i64>,
    /// For which backups its signatures count.
    pub scope: KeyScope,
    /// Whether its signatures count only in the very bucket and prefix that are signed.
    pub same_bucket_only: bool,
}

impl Facts {
    /// Returns the keys of the cluster; none where the kind is not installed.
    pub fn trusted_keys(&self) -> Known<&[TrustedKey]> {
        self.get(Lookup::TrustedKeys, |fact| match fact {
            Fact::TrustedKeys(keys) => Some(keys.as_slice()),
            _ => None,
        })
    }
}
