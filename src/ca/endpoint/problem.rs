//! What was found at an endpoint, and what it means for the hold; `display` says it.

use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::hold::Verdict;

/// What an endpoint presented, and what Go programs with the bundle think of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The certificates as presented, the server's own first. Those that do not parse are left out.
    pub chain: Vec<PresentedCertificate>,
    /// All that is wrong; empty when the endpoint is trusted.
    pub problems: Vec<Problem>,
    /// Whether the server's certificate soon expires.
    pub expires_soon: Option<ExpiresSoon>,
}

/// A presented certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// Its subject, at most 80 harmless characters.
    pub subject: String,
    /// Its issuer, with the same limits.
    pub issuer: String,
    /// What makes it the same certificate.
    pub fingerprint: Fingerprint,
    /// From when it is valid, seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, seconds since 1970.
    pub not_after: i64,
}

/// The server's certificate expires soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiresSoon {
    /// When, seconds since 1970.
    pub not_after: i64,
    /// How many days are left.
    pub days_left: i64,
    /// Whether it is at most 14 days, not 30 (or, if that is less, a sixth of its life, not a
    /// quarter: short-lived certificates are renewed late, and every day).
    pub is_urgent: bool,
}

/// Why Velero does not trust an endpoint, or why that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The server's certificate is over.
    Expired {
        /// Since when, seconds since 1970.
        not_after: i64,
    },
    /// The server's certificate does not name the host.
    NameMismatch {
        /// The host that it should name.
        host: String,
        /// The first names that it has, harmless.
        names: Vec<String>,
        /// How many more it has.
        more: usize,
    },
    /// The server's certificate is not valid yet.
    NotYetValid {
        /// From when, seconds since 1970.
        not_before: i64,
    },
    /// We cannot tell whether Go would trust it; no reason for an alarm.
    Undecided {
        /// What stopped us.
        reason: String,
    },
    /// A certificate does not parse, and Go programs give up at that.
    Unreadable {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        defect: String,
    },
    /// The CA does not match.
    Untrusted {
        /// The issuer that the bundle would have to have.
        issuer: String,
        /// The subjects that were presented, the server's own first.
        chain: Vec<String>,
        /// What is the matter with it.
        reason: UntrustedReason,
    },
}

/// Why the CA does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UntrustedReason {
    /// The certificate of that name in the bundle is no CA.
    NotCa,
    /// The CA of that name in the bundle has another key.
    DifferentKey,
    /// A CA is not valid today.
    OutOfDate {
        /// Its subject.
        ca: String,
        /// Whether it is in the bundle; otherwise the server presents it.
        is_in_bundle: bool,
        /// From when it is valid, seconds since 1970.
        not_before: i64,
        /// Until when it is valid, seconds since 1970.
        not_after: i64,
    },
    /// Something in a certificate forbids it.
    Forbidden(&'static str),
    /// The bundle has no such CA.
    UnknownIssuer {
        /// Whether the issuer itself was presented, and so is no intermediate that is missing.
        is_presented: bool,
    },
    /// A signature that nobody should trust, and Go does not.
    WeakSignature {
        /// Whose.
        subject: String,
        /// Its digest.
        digest: &'static str,
    },
}

impl Observation {
    /// Whether Go programs with the bundle trust the endpoint.
    pub const fn is_trusted(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether it cannot be told.
    pub fn is_undecided(&self) -> bool {
        !self.is_trusted()
            && self
                .problems
                .iter()
                .all(|problem| matches!(problem, Problem::Undecided { .. }))
    }

    /// What it means for the namespace's Pods. A wrong name or date is the same with any roots.
    pub fn verdict(&self) -> Verdict {
        let of = |is_it: fn(&Problem) -> bool| {
            let texts = self.problems.iter().filter(|problem| is_it(problem));
            let texts: Vec<_> = texts.map(ToString::to_string).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        };
        let untrusted = of(|problem| matches!(problem, Problem::Untrusted { .. }));
        let unclear = of(|problem| {
            matches!(
                problem,
                Problem::Undecided { .. } | Problem::Unreadable { .. }
            )
        });
        match (untrusted, unclear) {
            (Some(why), _) => Verdict::Untrusted(why),
            (None, Some(why)) => Verdict::Unknown(why),
            (None, None) => Verdict::Trusted,
        }
    }
}

impl From<&Certificate> for PresentedCertificate {
    fn from(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            fingerprint: certificate.fingerprint(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        }
    }
}
