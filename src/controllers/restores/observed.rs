//! What is followed of Restores.

use kube::api::DynamicObject;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::admission::VALIDATION_ERROR_PREFIX;
use crate::kubernetes::restore;
use crate::kubernetes::watch::Watch;
use crate::velero::lenient::null_is_default;

/// How far a Restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Velero did not begin it.
    Waiting,
    /// velero-trust refused it.
    Refused,
    /// Velero refused it.
    Invalid,
    /// Velero reads the files of the backup.
    Running,
    /// Velero does not read them any more.
    Over,
}

/// A Restore, as far as it is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedRestore {
    pub(super) uid: String,
    pub(super) stage: Stage,
    /// Whether it has a verdict of velero-trust.
    pub(super) is_judged: bool,
    /// Whether its deletion began.
    pub(super) is_deleted: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "null_is_default")]
    metadata: Metadata,
    #[serde(deserialize_with = "null_is_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "velero-trust.io/verdict")]
    verdict: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "null_is_default")]
    phase: String,
    #[serde(deserialize_with = "null_is_default")]
    validation_errors: Vec<String>,
}

impl ObservedRestore {
    /// Reads a Restore from its JSON. Returns `None` if a field is of another type than in Velero's kind.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        let Document { metadata, status } = serde_json::from_str(text).ok()?;
        let is_ours = |error: &String| error.starts_with(VALIDATION_ERROR_PREFIX);
        let stage = match status.phase.as_str() {
            "" | "New" => Stage::Waiting,
            "FailedValidation" if status.validation_errors.iter().any(is_ours) => Stage::Refused,
            "FailedValidation" => Stage::Invalid,
            "InProgress" => Stage::Running,
            _ => Stage::Over,
        };
        Some(Self {
            uid: metadata.uid,
            stage,
            is_judged: metadata.annotations.verdict.is_some(),
            is_deleted: metadata.deletion_timestamp.is_some(),
        })
    }
}

/// Returns the Restores of a namespace.
pub(super) fn in_namespace(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &restore::resource())
}

/// Watches all Restores. Velero writes their progress every second, which changes no entry.
pub(super) fn watch_restores(client: &Client) -> Watch<ObservedRestore> {
    let all = Api::<DynamicObject>::all_with(client.clone(), &restore::resource());
    Watch::of_text(
        all,
        Config::default(),
        "Restores",
        ObservedRestore::from_json,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_refused_a_restore_is_told_by_its_errors() {
        let stage = |status: serde_json::Value| {
            let restore = json!({"metadata": {"uid": "u"}, "status": status}).to_string();
            ObservedRestore::from_json(&restore).unwrap().stage
        };
        let failed = |errors: &[&str]| {
            stage(json!({"phase": "FailedValidation", "validationErrors": errors}))
        };
        assert_eq!(failed(&["velero-trust: no"]), Stage::Refused);
        assert_eq!(failed(&["no", "velero-trust: no"]), Stage::Refused);
        assert_eq!(failed(&["no velero-trust: here"]), Stage::Invalid);
        assert_eq!(failed(&[]), Stage::Invalid);
        for (phase, expected) in [
            ("", Stage::Waiting),
            ("New", Stage::Waiting),
            ("InProgress", Stage::Running),
            ("Finalizing", Stage::Over),
            ("Completed", Stage::Over),
        ] {
            assert_eq!(stage(json!({"phase": phase})), expected);
        }
        assert_eq!(stage(json!(null)), Stage::Waiting);
    }
}
