//! A verdict: whether a request is allowed, denied or has to be retried.

use super::facts::{Lookup, LookupError};
use super::finding::Finding;
use super::policy::Policy;
use super::report::Report;
use super::rule::Severity;
use super::wait::Wait;

/// The decision about a request. Precedence: deny, then retry, then wait, then allow.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The request is admitted, possibly with warnings.
    Allow,
    /// The request is refused; at least one finding denies it.
    Deny,
    /// The decision lacks facts that could not be looked up: an HTTP 503, never a denial.
    Retry(Vec<(Lookup, LookupError)>),
    /// The decision lacks what a controller is finding out: an HTTP 503 at once, never a denial.
    Wait(Vec<Wait>),
}

/// A verdict and the findings behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The decision about the request.
    pub verdict: Verdict,
    /// The findings that deny.
    pub denials: Vec<Finding>,
    /// The findings that warn.
    pub warnings: Vec<Finding>,
}

impl Judged {
    /// Applies `policy` to the findings and unknowns of a finished pass.
    pub fn apply_policy(report: &Report, policy: &Policy) -> Self {
        let with_severity = |severity| {
            report
                .findings
                .iter()
                .filter(|finding| policy.severity(finding) == severity)
                .cloned()
                .collect::<Vec<_>>()
        };
        let (denials, warnings) = (with_severity(Severity::Deny), with_severity(Severity::Warn));
        let verdict = if !denials.is_empty() {
            Verdict::Deny
        } else if !report.unknowns.is_empty() {
            Verdict::Retry(report.unknowns.clone())
        } else if !report.waits.is_empty() {
            Verdict::Wait(report.waits.clone())
        } else {
            Verdict::Allow
        };
        Self {
            verdict,
            denials,
            warnings,
        }
    }
}
