//! The wire format of an answer (`k8s.io/api/admission/v1`, `metav1.Status`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::decision::{Code, Finding};
use crate::velero::printable::printable;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review<'a> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    pub(super) uid: &'a str,
    pub(super) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) audit_annotations: BTreeMap<&'static str, String>,
}

impl<'a> Response<'a> {
    pub(super) fn allowed(uid: &'a str) -> Self {
        Self {
            uid,
            allowed: true,
            status: None,
            patch: None,
            patch_type: None,
            warnings: Vec::new(),
            audit_annotations: BTreeMap::new(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Status<'a> {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Details<'a>,
}

#[derive(Serialize)]
pub(super) struct Details<'a> {
    #[serde(skip_serializing_if = "<str>::is_empty")]
    pub(super) name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) group: &'a str,
    pub(super) kind: Cow<'a, str>,
    pub(super) causes: Vec<Cause>,
}

#[derive(Serialize)]
pub(super) struct Cause {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) field: String,
}

impl Cause {
    pub(super) fn of(finding: &Finding) -> Self {
        let Finding {
            rule,
            path,
            message,
            fix,
            ..
        } = finding;
        Self {
            reason: match rule.code {
                Code::Forbidden => "FieldValueForbidden",
                Code::Invalid => "FieldValueInvalid",
            },
            message: printable(&format!("{message}; {fix} [{}]", rule.id)).into_owned(),
            field: printable(&path.to_string()).into_owned(),
        }
    }
}

/// The `metav1.Status` of an HTTP error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) status: &'static str,
    pub(super) message: String,
    pub(super) reason: &'static str,
    pub(super) code: u16,
}
