//! The answer to a review, as bytes.
//!
//! kube's own response type is not used: it serializes the patch as an array of numbers although
//! the documented form is base64, and its denials have neither a code nor causes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;

use super::messages::{audit_annotations, rule_ids, summary, validation_errors, warnings};
use super::request::{API_VERSION, Request};
use super::reviewed_object::Mode;
use super::wire::{Cause, Details, Failure, Response, Review, Status};
use crate::decision::{Code, Judged, Lookup, LookupError, LookupErrorKind, Report, Verdict, Wait};
use crate::integrity::change::REFUSED_PHASE;
use crate::velero::printable::printable;

/// Maximum size of a patch in bytes. The largest patch of the injection, which adds to every
/// container that is read, has half of it.
const MAX_PATCH_BYTES: usize = 128 << 10;

/// An answer: an HTTP response, and what the log and the metrics record about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status code.
    pub http: u16,
    /// Value of `Retry-After` in seconds. The API server retries only if the header is set.
    pub retry_after: Option<u32>,
    /// The body, in JSON.
    pub body: Vec<u8>,
    /// The decision.
    pub decision: Decision,
    /// The ids of the rules with findings, each once.
    pub rules: Vec<&'static str>,
    /// The reason, for the log; empty if there is none. Never contains the content of a Secret.
    pub why: String,
}

/// A decision, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Admitted without warnings.
    Allow,
    /// Refused.
    Deny,
    /// The review could not be read.
    Invalid,
    /// Admitted and changed.
    Patch,
    /// A needed fact could not be looked up.
    Retry,
    /// Admitted without a check, because the operator wants that.
    Unjudged,
    /// Something is not known yet, and a controller finds it out.
    Wait,
    /// Admitted with warnings.
    Warn,
}

impl Decision {
    /// Returns the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Invalid => "invalid",
            Self::Patch => "patch",
            Self::Retry => "retry",
            Self::Unjudged => "unjudged",
            Self::Wait => "wait",
            Self::Warn => "warn",
        }
    }
}

impl Answer {
    /// Returns an answer that allows the request without warnings.
    pub fn allow(request: &Request<'_>) -> Self {
        Self::reviewed(
            Response::allowed(request.uid),
            Decision::Allow,
            Vec::new(),
            String::new(),
        )
    }

    /// Returns the answer for `judged`, with the patch and the notes of `report`.
    pub fn of(request: &Request<'_>, mode: Mode, judged: &Judged, report: &Report) -> Self {
        let rules = rule_ids(judged);
        match &judged.verdict {
            Verdict::Retry(unknowns) => Self::retry(unknowns, rules),
            Verdict::Wait(waits) => Self::wait(waits, rules),
            Verdict::Deny if mode == Mode::Gate => Self::stop(request, judged, rules),
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
        let patched = mode != Mode::Validate && !report.patch.is_empty();
        if patched && let Err(why) = response.set_patch(&report.patch) {
            return failure(500, why);
        }
        let decision = if report.is_unjudged {
            Decision::Unjudged
        } else if patched {
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

    /// Lets the write of Velero pass, with the phase in which it stops before it restores anything.
    fn stop(request: &Request<'_>, judged: &Judged, rules: Vec<&'static str>) -> Self {
        let mut response = Response::allowed(request.uid);
        response.warnings = warnings(&judged.warnings, &[]);
        response.audit_annotations = audit_annotations(Decision::Deny.as_str(), &rules);
        let errors = validation_errors(&judged.denials);
        let fields = [
            ("phase", Value::from(REFUSED_PHASE)),
            ("validationErrors", Value::from(errors)),
        ];
        let patch = fields.map(|(field, value)| {
            let path = PointerBuf::from_tokens(["status", field]);
            PatchOperation::Add(AddOperation { path, value })
        });
        if let Err(why) = response.set_patch(&patch) {
            return failure(500, why);
        }
        let why = summary(&judged.denials, "; ");
        Self::reviewed(response, Decision::Deny, rules, why)
    }

    fn deny(request: &Request<'_>, judged: &Judged, rules: Vec<&'static str>) -> Self {
        let denials = &judged.denials;
        // An object that is both invalid and forbidden is reported as invalid.
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
                name: printable(request.name),
                group: request.group,
                kind: printable(request.kind),
                causes: denials.iter().map(Cause::of).collect(),
            },
        });
        let why = summary(denials, "; ");
        Self::reviewed(response, Decision::Deny, rules, why)
    }

    /// Refuses the request with this message, whatever it is about.
    pub(super) fn refuse(request: &Request<'_>, message: String) -> Self {
        let mut response = Response::allowed(request.uid);
        response.allowed = false;
        response.status = Some(Status {
            code: Code::Forbidden.http(),
            reason: Code::Forbidden.reason(),
            message: message.clone(),
            details: Details {
                name: printable(request.name),
                group: request.group,
                kind: printable(request.kind),
                causes: Vec::new(),
            },
        });
        Self::reviewed(response, Decision::Deny, Vec::new(), message)
    }

    fn retry(unknowns: &[(Lookup, LookupError)], rules: Vec<&'static str>) -> Self {
        let why = unknowns
            .iter()
            .map(|(lookup, reason)| format!("cannot read {lookup}: {}", reason.message))
            .collect::<Vec<_>>()
            .join("; ");
        // If the API server waits between its retries, they end in a timeout that hides our
        // message. A missing right is not granted within seconds, so the retries may fail
        // immediately, and the user sees the message with the command that grants the right.
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

    /// The API server does not ask again, and its client has the message at once: a controller tells
    /// when there is something new.
    fn wait(waits: &[Wait], rules: Vec<&'static str>) -> Self {
        let waits: Vec<_> = waits.iter().map(Wait::to_string).collect();
        Self {
            retry_after: None,
            rules,
            decision: Decision::Wait,
            ..failure(503, format!("it waits: {}", waits.join("; ")))
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

impl Response<'_> {
    /// Sets the patch. Fails if it cannot be a part of the answer: one without a part of the decision
    /// would be worse than none.
    fn set_patch(&mut self, patch: &[PatchOperation]) -> Result<(), String> {
        let patch = serde_json::to_vec(patch)
            .map_err(|error| format!("the patch cannot be written: {error}"))?;
        if patch.len() > MAX_PATCH_BYTES {
            return Err(format!("the patch has more than {MAX_PATCH_BYTES} bytes"));
        }
        self.patch = Some(STANDARD.encode(patch));
        self.patch_type = Some("JSONPatch");
        Ok(())
    }
}

/// Returns the HTTP error `code`. Its body is a `metav1.Status`: the API server shows the message
/// of a Status to the user even for codes for which it drops a plain-text body. A 5xx has
/// `Retry-After`, without which the API server does not retry.
pub fn failure(code: u16, message: impl Into<String>) -> Answer {
    let retry_after = (code >= 500).then_some(1);
    let message = printable(&message.into()).into_owned();
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
