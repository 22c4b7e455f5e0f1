//! A rule: the stable identity of one check.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Verb;
use super::hint::Hint;

/// One check. Each rule is a `static` next to the code of the check, and contains everything that
/// other parts of the program need to know about it; no code compares ids. To define a rule, start
/// from [`Rule::DEFAULT`] and set the fields that differ.
#[derive(Debug)]
pub struct Rule {
    /// Stable id: `VT` and three digits. Ids are never reused.
    pub id: &'static str,
    /// The problem, as a short noun phrase. The README's table shows it.
    pub title: &'static str,
    /// Why the problem matters and what to do, in one or two sentences. README's table shows it.
    pub about: &'static str,
    /// The severity unless the operator configures another one.
    pub severity: Severity,
    /// The code of a denial by this rule.
    pub code: Code,
    /// Whether the severity cannot be configured.
    pub fixed: bool,
    /// The right with which a user can restore in spite of it; `None` if nobody can.
    pub accepted_with: Option<Verb>,
    /// The hint that `lint --fix-hint` adds to a finding.
    pub hint: Hint,
    /// For rules that warn: whether the warning can begin to apply as time passes, without a change
    /// of any object. No admission request shows such a warning, so the controllers write an Event
    /// about it, as they do for every denial.
    pub depends_on_date: bool,
    /// Whether the finding covers the expiry of every certificate of the object, so that `status`
    /// does not list the expired ones again.
    pub covers_expiry: bool,
}

impl Rule {
    /// The base of all rules: a warning without a hint. `id`, `title` and `about` are empty and
    /// must be set.
    pub const DEFAULT: Self = Self {
        id: "",
        title: "",
        about: "",
        severity: Severity::Warn,
        code: Code::Invalid,
        fixed: false,
        accepted_with: None,
        hint: Hint::None,
        depends_on_date: false,
        covers_expiry: false,
    };
}

/// Compares the ids, because each rule exists only once.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// What a finding does to the request, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The finding is dropped.
    Off,
    /// The request is admitted with a warning.
    Warn,
    /// The request is denied.
    Deny,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Deny => "deny",
        })
    }
}

/// The HTTP code and Kubernetes reason of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// 403: the object is well-formed, but the request is not allowed.
    Forbidden,
    /// 422: the object itself is invalid.
    Invalid,
}

impl Code {
    /// Returns the HTTP status code.
    pub const fn http(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::Invalid => 422,
        }
    }

    /// Returns the `reason` of `metav1.Status` that belongs to the code.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::Invalid => "Invalid",
        }
    }
}
