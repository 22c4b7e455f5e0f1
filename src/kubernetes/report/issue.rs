//! Issues in the report of a namespace.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ca::bundle_issue::BundleIssue;

/// An issue of a namespace. Its JSON is one object with the `type` and the fields of its kind, and
/// the `message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The kind of the issue.
    #[serde(flatten)]
    pub kind: IssueKind,
    /// The text for people. Nothing depends on its wording.
    pub message: String,
}

/// The kind of an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IssueKind {
    /// An issue of the bundle.
    Bundle(BundleIssue),
    /// An issue of the report itself.
    Report(ReportIssue),
    /// A type that this version does not know, because a newer version wrote the report. Its `type`
    /// and fields are kept unchanged.
    Unknown(Map<String, Value>),
}

/// An issue of the report itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ReportIssue {
    /// The report does not fit into a ConfigMap.
    #[error("the report was too large: certificates, findings and fixes are left out of it")]
    ReportTruncated,
}

impl Issue {
    /// Returns the issue of the bundle, if it is one.
    pub const fn bundle(&self) -> Option<&BundleIssue> {
        match &self.kind {
            IssueKind::Bundle(issue) => Some(issue),
            IssueKind::Report(_) | IssueKind::Unknown(_) => None,
        }
    }
}

impl From<BundleIssue> for Issue {
    fn from(issue: BundleIssue) -> Self {
        Self {
            message: issue.to_string(),
            kind: IssueKind::Bundle(issue),
        }
    }
}

impl From<ReportIssue> for Issue {
    fn from(issue: ReportIssue) -> Self {
        Self {
            message: issue.to_string(),
            kind: IssueKind::Report(issue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::merged_bundle::Origin;
    use serde_json::json;

    /// Returns one issue of each kind, with its `type`.
    fn all() -> Vec<(Issue, &'static str)> {
        let text = || "a".to_owned();
        let bundle = [
            (BundleIssue::ReadFailed { reason: text() }, "ReadFailed"),
            (BundleIssue::WriteFailed { reason: text() }, "WriteFailed"),
            (BundleIssue::Timeout, "Timeout"),
            (BundleIssue::NotOwned, "NotOwned"),
            (BundleIssue::Immutable, "Immutable"),
            (
                BundleIssue::LocationUnknown {
                    location: text(),
                    reason: text(),
                },
                "LocationUnknown",
            ),
            (
                BundleIssue::LeftOut {
                    location: text(),
                    path: text(),
                },
                "LeftOut",
            ),
            (BundleIssue::ExtraInvalid { name: text() }, "ExtraInvalid"),
            (
                BundleIssue::Truncated {
                    origin: Origin::Retained,
                    count: 1,
                },
                "Truncated",
            ),
            (
                BundleIssue::Forgotten {
                    config_map: text(),
                    count: 1,
                },
                "Forgotten",
            ),
            (
                BundleIssue::MemoryFailed {
                    config_map: text(),
                    reason: text(),
                },
                "MemoryFailed",
            ),
            (
                BundleIssue::ExtraRestored {
                    object: text(),
                    restore: text(),
                    command: text(),
                },
                "ExtraRestored",
            ),
            (BundleIssue::ExtraUnknown, "ExtraUnknown"),
            (BundleIssue::Empty, "Empty"),
            (BundleIssue::Deferred, "Deferred"),
        ];
        let mut all = bundle.map(|(issue, name)| (issue.into(), name)).to_vec();
        all.push((ReportIssue::ReportTruncated.into(), "ReportTruncated"));
        all
    }

    #[test]
    fn every_issue_is_an_object_with_its_type_and_comes_back_as_it_was() {
        for (issue, name) in all() {
            let json = serde_json::to_value(&issue).unwrap();
            assert_eq!(json["type"], name);
            assert_eq!(json["message"], issue.message);
            let back: Issue = serde_json::from_value(json).unwrap();
            assert_eq!(back, issue);
        }
        let truncated = Issue::from(BundleIssue::Truncated {
            origin: Origin::Location,
            count: 2,
        });
        let json = json!({
            "type": "Truncated", "origin": "locations", "count": 2, "message": truncated.message,
        });
        assert_eq!(serde_json::to_value(&truncated).unwrap(), json);
    }

    #[test]
    fn an_issue_of_a_newer_version_keeps_its_fields_and_its_message() {
        for newer in [
            json!({"type": "Newer", "number": 1, "message": "m"}),
            // A known type with unknown fields.
            json!({"type": "LeftOut", "where": "a", "message": "m"}),
        ] {
            let issue: Issue = serde_json::from_value(newer.clone()).unwrap();
            assert!(matches!(issue.kind, IssueKind::Unknown(_)), "{issue:?}");
            assert_eq!((issue.bundle(), issue.message.as_str()), (None, "m"));
            assert_eq!(serde_json::to_value(&issue).unwrap(), newer);
        }
    }
}
