//! What was found at an endpoint, and its verdict for the hold; `display` has the messages.

use crate::ca::certificate::{Certificate, Fingerprint};
use crate::ca::hold::EndpointVerdict;

/// What an endpoint presented, and whether Go programs with the bundle trust it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The presented certificates, the server's own first, without those that do not parse.
    pub chain: Vec<PresentedCertificate>,
    /// The issuer of the last certificate of the chain, which is the CA that the bundle should
    /// contain; `None` if a certificate does not parse, or there is none.
    pub issuer: Option<String>,
    /// All problems; empty if the endpoint is trusted.
    pub problems: Vec<Problem>,
    /// Present if the server's certificate expires soon.
    pub expires_soon: Option<ExpiresSoon>,
}

/// A presented certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// Its subject, at most 80 printable characters.
    pub subject: String,
    /// Its issuer, with the same limits.
    pub issuer: String,
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// The start of its validity, seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, seconds since 1970.
    pub not_after: i64,
}

/// The server's certificate expires soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiresSoon {
    /// When it expires, seconds since 1970.
    pub not_after: i64,
    /// Full days left.
    pub days_left: i64,
    /// Whether at most 14 days are left, not 30; or, if that is less, a sixth of its lifetime, not
    /// a quarter. Short-lived certificates are renewed late, and every day.
    pub is_urgent: bool,
}

/// Why Velero does not trust an endpoint, or why that is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The server's certificate has expired.
    Expired {
        /// When it expired, seconds since 1970.
        not_after: i64,
    },
    /// The server's certificate does not name the host.
    NameMismatch {
        /// The expected host.
        host: String,
        /// Its first names, printable.
        names: Vec<String>,
        /// The number of its other names.
        more: usize,
    },
    /// The server's certificate is not valid yet.
    NotYetValid {
        /// The start of its validity, seconds since 1970.
        not_before: i64,
    },
    /// It is unknown whether Go would trust it. This is no reason for an alarm.
    Undecided {
        /// Why it is unknown.
        reason: String,
    },
    /// A certificate does not parse, which makes Go programs fail.
    Unreadable {
        /// Its position in the chain, from 1.
        number: usize,
        /// What is wrong with it.
        defect: String,
    },
    /// The CA does not match.
    Untrusted {
        /// The issuer that the bundle should contain.
        issuer: String,
        /// The subjects of the presented certificates, the server's own first.
        chain: Vec<String>,
        /// Why it does not match.
        reason: UntrustedReason,
    },
}

/// Why the CA does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UntrustedReason {
    /// The bundle's certificate with that name is not a CA.
    NotCa,
    /// The bundle's CA with that name has a different key.
    DifferentKey,
    /// A CA is not valid now.
    OutOfDate {
        /// Its subject.
        ca: String,
        /// Whether it is in the bundle. Otherwise the server presents it.
        is_in_bundle: bool,
        /// The start of its validity, seconds since 1970.
        not_before: i64,
        /// The end of its validity, seconds since 1970.
        not_after: i64,
    },
    /// Something in a certificate forbids it.
    Forbidden(&'static str),
    /// The bundle has no CA with that name.
    UnknownIssuer {
        /// Whether the issuer itself was presented, so that it cannot be a missing intermediate.
        is_presented: bool,
    },
    /// A signature uses a weak digest, which Go rejects.
    WeakSignature {
        /// The subject of the certificate with that signature.
        subject: String,
        /// The digest.
        digest: &'static str,
    },
}

impl Observation {
    /// Returns whether Go programs with the bundle trust the endpoint.
    pub const fn is_trusted(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns whether it is unknown if they trust it.
    pub fn is_undecided(&self) -> bool {
        !self.is_trusted()
            && self
                .problems
                .iter()
                .all(|problem| matches!(problem, Problem::Undecided { .. }))
    }

    /// Returns the verdict for the hold. Wrong names and dates do not count: no other bundle would
    /// change them.
    pub fn verdict(&self) -> EndpointVerdict {
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
            (Some(why), _) => EndpointVerdict::Untrusted(why),
            (None, Some(why)) => EndpointVerdict::Unknown(why),
            (None, None) => EndpointVerdict::Trusted,
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
