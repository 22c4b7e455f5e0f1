//! The answer to a review, as bytes.
//!
//! kube's own response type is not used: it writes the patch as an array of numbers where the
//! documented form is base64, and its denials carry no code and no causes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::messages::{audit_annotations, rule_ids, summary, warnings};
use super::request::{API_VERSION, Request};
use super::subject::Mode;
use super::wire::{Cause, Details, Failure, Response, Review, Status};
use crate::decision::{Code, Judged, Lookup, LookupError, LookupErrorKind, Report, Verdict};

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
            response.audit_annotations = audit_annotations(decision.as_str(), &rules);
        }
        let why = summary(&judged.warnings, "; ");
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
        response.audit_annotations = audit_annotations(Decision::Deny.as_str(), &rules);
        response.status = Some(Status {
            code: code.http(),
            reason: code.reason(),
            message: summary(denials, "\n"),
            details: Details {
                name: request.name,
                group: request.group,
                kind: request.kind,
                causes: denials.iter().map(Cause::of).collect(),
            },
        });
        let why = summary(denials, "; ");
        Self::reviewed(response, Decision::Deny, rules, why)
    }

    fn retry(unknowns: &[(Lookup, LookupError)], rules: Vec<&'static str>) -> Self {
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
            .all(|(_, reason)| reason.kind == LookupErrorKind::Forbidden);
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
