//! Messages about what was found at an endpoint. `fix` says what to do about it.

use core::fmt;

use super::problem::{ExpiresSoon, Problem, UntrustedReason};
use crate::ca::rules::format_date;
use crate::velero::text::shown;

/// Maximum number of certificates of a chain, and of names of a certificate, in a message.
const MAX_LISTED: usize = 5;

/// Says what is wrong.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { not_after } => {
                write!(
                    f,
                    "the server's certificate expired on {}",
                    format_date(*not_after)
                )
            }
            Self::NameMismatch { host, names, .. } if names.is_empty() => write!(
                f,
                "the server's certificate does not name `{}`: it has no subjectAltName, and a common name counts for nothing",
                shown(host)
            ),
            Self::NameMismatch { host, names, more } => write!(
                f,
                "the server's certificate does not name `{}`, only {}",
                shown(host),
                join_listed(names, ", ", *more)
            ),
            Self::NotYetValid { not_before } => write!(
                f,
                "the server's certificate is not valid before {}",
                format_date(*not_before)
            ),
            Self::Undecided { reason } => {
                write!(
                    f,
                    "cannot tell whether the CA matches the endpoint: {reason}"
                )
            }
            Self::Unreadable { number, defect } => write!(
                f,
                "presented certificate {number} does not parse ({defect}), and Velero gives up at that"
            ),
            Self::Untrusted {
                issuer,
                chain,
                reason,
            } => write!(
                f,
                "CA does not match the endpoint: issuer {issuer}, presented chain {}; {reason}",
                join_listed(chain, " <- ", chain.len().saturating_sub(MAX_LISTED))
            ),
        }
    }
}

impl fmt::Display for UntrustedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCa => f.write_str("the bundle's certificate of that name is no CA"),
            Self::DifferentKey => f.write_str("the bundle's CA of that name has another key"),
            Self::OutOfDate {
                ca,
                is_in_bundle,
                not_before,
                not_after,
            } => write!(
                f,
                "{ca}, {}, is valid from {} to {} only",
                if *is_in_bundle {
                    "in the bundle"
                } else {
                    "which the server presents"
                },
                format_date(*not_before),
                format_date(*not_after)
            ),
            Self::Forbidden(reason) => f.write_str(reason),
            Self::UnknownIssuer { .. } => f.write_str("the bundle has no CA of that name"),
            Self::WeakSignature { subject, digest } => {
                write!(f, "{subject} is signed with {digest}, which Velero refuses")
            }
        }
    }
}

impl fmt::Display for ExpiresSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            not_after,
            days_left,
            ..
        } = self;
        write!(
            f,
            "the server's certificate expires on {}, in {days_left} days",
            format_date(*not_after)
        )
    }
}

/// Joins the first of `texts` and adds the number of the others.
fn join_listed(texts: &[String], between: &str, more: usize) -> String {
    let list: Vec<_> = texts.iter().take(MAX_LISTED).map(String::as_str).collect();
    let list = list.join(between);
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

/// Returns the first of `names`, made safe for a message, and the number of the others.
pub(super) fn take_listed(names: impl Iterator<Item = String>) -> (Vec<String>, usize) {
    let mut names = names;
    let first = names
        .by_ref()
        .take(MAX_LISTED)
        .map(|name| shown(&name))
        .collect();
    (first, names.count())
}
