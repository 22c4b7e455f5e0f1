//! A verdict: what becomes of the request.

use super::facts::{Lookup, LookupError};
use super::finding::Finding;
use super::policy::Policy;
use super::report::Report;
use super::rule::Severity;

/// What becomes of the request. Precedence: deny, then retry, then allow.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is admitted; findings that warn come with it.
    Allow,
    /// It is refused; there is at least one finding that denies.
    Deny,
    /// We could not know: an HTTP 503, never a denial.
    Retry(Vec<(Lookup, LookupError)>),
}

/// A verdict and the findings behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What becomes of the request.
    pub verdict: Verdict,
    /// The findings that deny.
    pub denials: Vec<Finding>,
    /// The findings that warn.
    pub warnings: Vec<Finding>,
}

impl Judged {
    /// Weighs the findings and unknowns of a finished pass under `policy`.
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
