//! The labels and annotations that control the injection of a Pod.

use super::rules;
use crate::decision::{FieldPath, Finding};
use crate::names::INJECT;
use crate::velero::pod::Pod;
use crate::velero::pod_kind;

/// What the labels and annotations of a Pod request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InjectionRequest {
    /// No request: only containers that run Velero get the bundle.
    Velero,
    /// All containers and init containers get the bundle, even if the Pod is not Velero's. Only a
    /// label can request this: the API server's selectors do not see annotations.
    All,
    /// No container gets the bundle, by label or annotation. Takes precedence over `All`.
    OptOut,
}

impl InjectionRequest {
    /// Reads the request of `pod`. An unknown value counts as not set and is a finding.
    pub(super) fn of(pod: &Pod<'_>, findings: &mut Vec<Finding>) -> Self {
        let label = pod.metadata.label(INJECT);
        let annotation = pod.metadata.annotation(INJECT);
        if is_opted_out(pod) {
            return Self::OptOut;
        }
        if let Some(value) = label.filter(|value| *value != "true") {
            let path = FieldPath::of(&["metadata", "labels"]).key(INJECT);
            findings.push(unclear(path, value, "say \"true\" or \"false\""));
        }
        if let Some(value) = annotation {
            let path = FieldPath::annotation(INJECT);
            if value != "true" {
                findings.push(unclear(path, value, "say \"false\", or use the label"));
            } else if label != Some("true") && pod_kind::kind(pod).is_none() {
                findings.push(unclear(path, value, "use the label of this name"));
            }
        }
        if is_asked_for(pod) {
            Self::All
        } else {
            Self::Velero
        }
    }
}

/// Whether the label requests the injection.
pub fn is_asked_for(pod: &Pod<'_>) -> bool {
    pod.metadata.label(INJECT) == Some("true")
}

/// Whether a label or an annotation excludes `pod` from the injection.
pub fn is_opted_out(pod: &Pod<'_>) -> bool {
    let values = [pod.metadata.label(INJECT), pod.metadata.annotation(INJECT)];
    values.contains(&Some("false"))
}

/// Maximum length of a value that a message repeats, in characters: an annotation may be 256 KiB
/// long.
const MAX_VALUE_CHARS: usize = 12;

fn unclear(path: FieldPath, value: &str, fix: &str) -> Finding {
    let shown: String = value.chars().take(MAX_VALUE_CHARS).collect();
    let message = format!("{shown:?} means nothing");
    Finding::new(&rules::UNCLEAR_REQUEST, path, "", message, fix)
}
