//! What is noted on a Restore when Velero begins it.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rules::{Known, Question};
use crate::decision::{PodVolumes, RestoresMode};
use crate::digest::Sha256;

/// What was known of the backup when Velero began the Restore: the value of the annotation
/// [`VERDICT_ANNOTATION`](crate::names::VERDICT_ANNOTATION), as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredVerdict {
    /// Who vouches for the files: `observed`, `late`, `adopted`, or `nobody`.
    pub level: String,
    /// SHA-256 of what is signed about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tarball: Option<Sha256>,
    /// SHA-256 of what the bucket listed then; `None` if no file was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Sha256>,
    /// The PodVolumeBackups of the backup, if they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_volumes: Option<PodVolumes>,
    /// The ids of the rules that spoke against it, and that a user accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    /// Whether nothing was checked, because the operator wants that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
    /// When that was, RFC 3339.
    pub at: String,
}

/// Nobody vouches for the files.
const NOBODY: &str = "nobody";

impl StoredVerdict {
    /// Returns what is noted on the Restore of `question`, of whose backup this is `known`.
    pub fn new(question: &Question<'_>, known: &Known) -> Self {
        let signed = known.signed.as_ref();
        let at = Timestamp::from_second(question.now).unwrap_or_default();
        Self {
            level: signed
                .map_or(NOBODY, |signed| signed.level.name())
                .to_owned(),
            tarball: signed.and_then(super::statement::Statement::tarball),
            listing: known.reading.as_ref().and_then(|reading| reading.listing),
            pod_volumes: known.pod_volumes,
            accepted: known.accepted.iter().map(|&id| id.to_owned()).collect(),
            unchecked: question.mode() == RestoresMode::Off,
            at: at.to_string(),
        }
    }
}
