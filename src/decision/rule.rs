//! A rule: the stable identity of one thing that is checked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hint::Hint;

/// One thing that is checked. Each is a `static` beside the check that uses it, and holds all that
/// other parts of the program need to know of it; nothing compares ids. Start from
/// [`Rule::DEFAULT`] and set what differs.
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
    /// The hint that `lint --fix-hint` adds to a finding.
    pub hint: Hint,
    /// For rules that warn: the warning can begin to apply when time passes, without a change of
    /// any object. Nobody saw it at admission, so the controllers write an Event about it, as they
    /// do for every denial.
    pub depends_on_date: bool,
    /// The finding covers the expiry of every certificate of the object, so that `status` need not
    /// list the expired ones again.
    pub covers_expiry: bool,
}

impl Rule {
    /// The base of all rules: a warning without a hint. `id`, `title` and `about` are empty and must
    /// be set.
    pub const DEFAULT: Self = Self {
        id: "",
        title: "",
        about: "",
        severity: Severity::Warn,
        code: Code::Invalid,
        fixed: false,
        hint: Hint::None,
        depends_on_date: false,
        covers_expiry: false,
    };
}

/// Rules are one each: two are equal when their ids are.
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
