//! `TrustedKey`: a public key whose signatures count in this cluster.

#![expect(
    clippy::duplicated_attributes,
    reason = "each column of a kind has the same attributes"
)]
#![expect(
    unreachable_pub,
    reason = "the derive of schemas makes public items inside of functions"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::backup_record::optional_time;
use crate::decision;
pub use crate::decision::{KeyScope, KeyState};

/// A public key.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
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
    /// Signatures of backups that completed later do not count. The key itself tells
    /// when that was, so this is no defence against somebody who has the key; revoke it then.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// With state Revoked: what was recorded in this cluster before stays good.
    #[schemars(schema_with = "optional_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// For which backups signatures of the key count; without it, for all.
    #[serde(default, skip_serializing_if = "KeyScope::is_everything")]
    pub scope: KeyScope,
    /// Whether signatures count only in the very bucket and prefix that are signed. Otherwise a replica of the
    /// bucket is as good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_bucket_only: bool,
}

impl From<TrustedKey> for decision::TrustedKey {
    fn from(key: TrustedKey) -> Self {
        let seconds = |time: Time| time.0.as_second();
        let spec = key.spec;
        Self {
            name: key.metadata.name.unwrap_or_default(),
            public_key: spec.public_key,
            state: spec.state,
            valid_until: spec.valid_until.map(seconds),
            revoked_at: spec.revoked_at.map(seconds),
            scope: spec.scope,
            same_bucket_only: spec.same_bucket_only,
        }
    }
}
