//! Why a look-up failed.

use super::NoBundle;

/// The reason why a look-up failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// The kind of error.
    pub kind: LookupErrorKind,
    /// Message for users: what happened and, if they can do something about it, what.
    pub message: String,
}

/// The kinds of [`LookupError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// velero-trust has no right to read the object, until somebody grants it.
    Forbidden,
    /// No answer within the time limit.
    Timeout,
    /// The API server returned 429 or 5xx, or could not be reached.
    Unreachable,
    /// The answer could not be parsed.
    Unreadable,
    /// This version cannot read it at all, such as a bucket of a provider other than S3.
    Unsupported,
    /// An object with velero-trust's name belongs to somebody else.
    Foreign,
    /// There is no bundle, and none is made in this namespace.
    NoBundle(NoBundle),
}
