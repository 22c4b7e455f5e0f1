//! A rule: the stable identity of one thing that is checked.

use std::fmt;

/// One thing that is checked. Each is a `static` beside the check that uses it.
#[derive(Debug)]
pub struct Rule {
    /// Stable id, `VT` and three digits; never used again for something else.
    pub id: &'static str,
    /// What is wrong when the rule speaks, as a short noun phrase; README's table shows it.
    pub title: &'static str,
    /// Why it matters and what to do, in a sentence or two; README's table shows it.
    pub about: &'static str,
    /// What happens unless the operator says otherwise.
    pub severity: Severity,
    /// How a denial by this rule is coded.
    pub code: Code,
    /// True for the rules whose severity nobody may change.
    pub fixed: bool,
}

/// Rules are one each: two are equal when their ids are.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// What a finding does to the request, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is said.
    Off,
    /// The request is admitted with a warning.
    Warn,
    /// The request is refused.
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
    /// 403: the object is well-formed, and we do not let it happen.
    Forbidden,
    /// 422: the object itself is wrong.
    Invalid,
}

impl Code {
    /// The HTTP status code.
    pub const fn http(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::Invalid => 422,
        }
    }

    /// The `reason` of `metav1.Status` that belongs to the code.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::Invalid => "Invalid",
        }
    }
}
