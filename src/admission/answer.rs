//! The answer to a review, as bytes.
//!
//! kube's own response type is not used: it writes the patch as an array of numbers where the
//! documented form is base64, and its denials carry no code and no causes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;

use super::handler::Mode;
use super::request::{API_VERSION, Request};
use crate::decision::{Code, Finding, Judged, Lookup, Reason, Report, Trouble, Verdict};

/// Longest warning, in characters; the API server advises 120 and may cut above 256.
const WARNING_LENGTH: usize = 120;

/// Most warnings in one answer; all warnings of one API request share 4,096 characters.
const WARNINGS: usize = 8;

/// Most findings in the message of a denial; `details.causes` always has all of them.
const MESSAGE_FINDINGS: usize = 5;

/// An answer: an HTTP response, and what is said of it in the log and the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status code.
    pub http: u16,
    /// Seconds after which the API server may ask again; with it, it does.
    pub retry_after: Option<u32>,
    /// The body, JSON.
    pub body: Vec<u8>,
    /// What was decided.
    pub decision: Decision,
    /// The ids of the rules that spoke, without repetition.
    pub rules: Vec<&'static str>,
    /// Why, for the log; empty when there is nothing to say. Never a Secret's content.
    pub why: String,
}

/// What was decided, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Admitted without a word.
    Allow,
    /// Refused.
    Deny,
    /// The review could not be read.
    Invalid,
    /// Admitted and changed.
    Patch,
    /// We could not know.
    Retry,
    /// Admitted with warnings.
    Warn,
}

impl Decision {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Invalid => "invalid",
            Self::Patch => "patch",
            Self::Retry => "retry",
            Self::Warn => "warn",
        }
    }
}

impl Answer {
    /// Allows the request without a word.
    pub fn allow(request: &Request<'_>) -> Self {
        Self::reviewed(
            Response::allowed(request.uid),
            Decision::Allow,
            Vec::new(),
            String::new(),
        )
    }

    /// The answer that follows from what was judged.
    pub fn of(request: &Request<'_>, mode: Mode, judged: &Judged, report: &Report) -> Self {
        let rules = rule_ids(judged);
        match &judged.verdict {
            Verdict::Retry(unknowns) => Self::retry(unknowns, rules),
            Verdict::Deny => Self::deny(request, judged, rules),
            Verdict::Allow => Self::admit(request, mode, judged, report, rules),
        }
    }

    fn admit(
        request: &Request<'_>,
        mode: Mode,
        judged: &Judged,
        report: &Report,
        rules: Vec<&'static str>,
    ) -> Self {
        let mut response = Response::allowed(request.uid);
        response.warnings = warnings(&judged.warnings, &report.notes);
        let patched = mode == Mode::Mutate && !report.patch.is_empty();
        if patched {
            match serde_json::to_vec(&report.patch) {
                Ok(patch) => {
                    response.patch = Some(STANDARD.encode(patch));
                    response.patch_type = Some("JSONPatch");
                }
                Err(error) => return failure(500, format!("the patch cannot be written: {error}")),
            }
        }
        let decision = if patched {
            Decision::Patch
        } else if response.warnings.is_empty() {
            Decision::Allow
        } else {
            Decision::Warn
        };
        if !rules.is_empty() {
            response.audit_annotations = audit(decision, &rules);
        }
        let why = lines(&judged.warnings, "; ");
        Self::reviewed(response, decision, rules, why)
    }

    fn deny(request: &Request<'_>, judged: &Judged, rules: Vec<&'static str>) -> Self {
        let denials = &judged.denials;
        // An object that is wrong is wrong even when it also is not allowed.
        let code = denials
            .iter()
            .map(|finding| finding.rule.code)
            .max()
            .unwrap_or(Code::Invalid);
        let mut response = Response::allowed(request.uid);
        response.allowed = false;
        response.warnings = warnings(&judged.warnings, &[]);
        response.audit_annotations = audit(Decision::Deny, &rules);
        response.status = Some(Status {
            code: code.http(),
            reason: code.reason(),
            message: lines(denials, "\n"),
            details: Details {
                name: request.name,
                group: request.group,
                kind: request.kind,
                causes: denials.iter().map(Cause::of).collect(),
            },
        });
        let why = lines(denials, "; ");
        Self::reviewed(response, Decision::Deny, rules, why)
    }

    fn retry(unknowns: &[(Lookup, Reason)], rules: Vec<&'static str>) -> Self {
        let why = unknowns
            .iter()
            .map(|(lookup, reason)| format!("cannot read {lookup}: {}", reason.message))
            .collect::<Vec<_>>()
            .join("; ");
        // With a wait between them the API server's retries end in a timeout that hides our
        // message. A right that is missing does not come within seconds: the retries may burn out
        // at once, and the message with the command that grants it is seen.
        let hopeless = unknowns
            .iter()
            .all(|(_, reason)| reason.trouble == Trouble::Forbidden);
        let retry_after = Some(u32::from(!hopeless));
        Self {
            retry_after,
            rules,
            ..failure(503, why)
        }
    }

    fn reviewed(
        response: Response<'_>,
        decision: Decision,
        rules: Vec<&'static str>,
        why: String,
    ) -> Self {
        let review = Review {
            api_version: API_VERSION,
            kind: "AdmissionReview",
            response,
        };
        match serde_json::to_vec(&review) {
            Ok(body) => Self {
                http: 200,
                retry_after: None,
                body,
                decision,
                rules,
                why,
            },
            Err(error) => failure(500, format!("the answer cannot be written: {error}")),
        }
    }
}

/// An HTTP error of `code`: a `metav1.Status`, whose message the API server shows to the person
/// even for codes whose plain-text body it would drop. A 5xx carries `Retry-After`, without which
/// the API server does not ask again.
pub fn failure(code: u16, message: impl Into<String>) -> Answer {
    let retry_after = (code >= 500).then_some(1);
    let message = message.into();
    let status = Failure {
        kind: "Status",
        api_version: "v1",
        metadata: BTreeMap::new(),
        status: "Failure",
        message: format!("velero-trust: {message}"),
        reason: match code {
            400 => "BadRequest",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            408 => "Timeout",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        },
        code,
        details: FailureDetails {
            retry_after_seconds: retry_after,
        },
    };
    Answer {
        http: code,
        retry_after,
        body: serde_json::to_vec(&status).unwrap_or_default(),
        decision: if code < 500 {
            Decision::Invalid
        } else {
            Decision::Retry
        },
        rules: Vec::new(),
        why: message,
    }
}

fn rule_ids(judged: &Judged) -> Vec<&'static str> {
    let mut ids: Vec<_> = judged
        .denials
        .iter()
        .chain(&judged.warnings)
        .map(|finding| finding.rule.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn lines(findings: &[Finding], separator: &str) -> String {
    let mut lines: Vec<_> = findings
        .iter()
        .take(MESSAGE_FINDINGS)
        .map(ToString::to_string)
        .collect();
    if findings.len() > MESSAGE_FINDINGS {
        lines.push(format!("and {} more", findings.len() - MESSAGE_FINDINGS));
    }
    lines.join(separator)
}

fn warnings(findings: &[Finding], notes: &[String]) -> Vec<String> {
    // The id stands first, so that a cut never takes it away.
    let findings = findings.iter().map(|finding| {
        let Finding {
            rule,
            path,
            message,
            fix,
            ..
        } = finding;
        format!("[{}] {path}: {message}; {fix}", rule.id)
    });
    let mut all: Vec<_> = findings
        .chain(notes.iter().cloned())
        .map(|line| fit(&line))
        .collect();
    if all.len() > WARNINGS {
        let more = all.len() - (WARNINGS - 1);
        all.truncate(WARNINGS - 1);
        all.push(format!("and {more} more warnings from velero-trust"));
    }
    all
}

/// One line that the API server will not drop: it drops a warning with a control character.
fn fit(line: &str) -> String {
    let clean = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    if line.chars().count() <= WARNING_LENGTH {
        clean.collect()
    } else {
        clean.take(WARNING_LENGTH - 1).chain(['…']).collect()
    }
}

/// Audit annotations have fixed keys: a key that is no qualified name is dropped by the API server.
fn audit(decision: Decision, rules: &[&'static str]) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("decision", decision.as_str().to_owned()),
        ("rules", rules.join(",")),
    ])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
}

impl<'a> Response<'a> {
    fn allowed(uid: &'a str) -> Self {
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
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: String,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    kind: &'a str,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    fn of(finding: &Finding) -> Self {
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
            message: format!("{message}; {fix} [{}]", rule.id),
            field: path.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    kind: &'static str,
    api_version: &'static str,
    metadata: BTreeMap<&'static str, String>,
    status: &'static str,
    message: String,
    reason: &'static str,
    details: FailureDetails,
    code: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}
