//! `TrustedKey`: a public key whose signatures count in this cluster.

#![expect(
    clippy::duplicated_attributes,
    reason = "each column of a kind has the same attributes"
)]
#![expect(
    unreachable_pub,
    reason = "the derive of schemas makes public items inside of functions"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decision;

/// A public key.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "velero-trust.io",
    version = "v1alpha1",
    kind = "TrustedKey",
    plural = "trustedkeys",
    category = "velero",
    derive = "PartialEq",
    doc = "A public key whose signatures on backups count in this cluster.",
    printcolumn(name = "Algorithm", type_ = "string", json_path = ".spec.algorithm"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TrustedKeySpec {
    /// The key in PEM: P-256 or Ed25519.
    #[x_kube(validation = Rule::new("self == oldSelf").message("a key never changes; add another TrustedKey"))]
    pub public_key: String,
    /// The algorithm of the key, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Whether signatures of the key count.
    #[serde(default)]
    pub state: KeyState,
}

impl From<TrustedKey> for decision::TrustedKey {
    fn from(key: TrustedKey) -> Self {
        Self {
            name: key.metadata.name.unwrap_or_default(),
            public_key: key.spec.public_key,
            is_revoked: key.spec.state == KeyState::Revoked,
        }
    }
}

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
