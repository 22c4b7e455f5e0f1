//! The certificate that our own server presents, judged as the API server judges it, which is a Go
//! program too.

use std::fmt;

use super::bundle::pem_block;
use super::certificate::Certificate;
use super::endpoint::Problem;
use super::endpoint::judge::{expires_soon, judge};
use super::pem;
use super::rules::format_date;

/// A serving certificate with its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingCertificate {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
}

/// Where `now` is in the validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It does not expire soon.
    Valid,
    /// It expires within 30 days, or within the last quarter of its lifetime if that is shorter, as
    /// the certificates of endpoints.
    ExpiresSoon,
    /// It has expired.
    Expired,
}

/// Why the API server refuses a certificate, apart from its dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its CA does not match, for this reason.
    Untrusted(String),
    /// It does not name the host, as this text says.
    WrongName(String),
    /// Whether it is refused is not known.
    Undecided,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(why) | Self::WrongName(why) => f.write_str(why),
            Self::Undecided => f.write_str("it is not known"),
        }
    }
}

impl ServingCertificate {
    /// Creates it from a chain, the server's own certificate first; `None` if that is empty.
    pub fn new(chain: impl IntoIterator<Item = Certificate>) -> Option<Self> {
        let mut chain = chain.into_iter();
        Some(Self {
            leaf: chain.next()?,
            intermediates: chain.collect(),
        })
    }

    /// Reads a PEM file; `None` if there is no certificate in it.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        Self::new(pem::read(pem).certificates)
    }

    /// Returns it as PEM, with a comment before each certificate.
    pub fn to_pem(&self) -> String {
        self.chain().map(pem_block).collect()
    }

    /// Returns when it expires, seconds since 1970.
    pub const fn not_after(&self) -> i64 {
        self.leaf.not_after
    }

    /// Returns the day on which it expires.
    pub fn expiry_date(&self) -> String {
        format_date(self.leaf.not_after)
    }

    /// Returns where `now`, in seconds since 1970, is in its validity period.
    pub fn validity(&self, now: i64) -> Validity {
        if self.leaf.not_after < now {
            Validity::Expired
        } else if expires_soon(&self.leaf, now).is_some() {
            Validity::ExpiresSoon
        } else {
            Validity::Valid
        }
    }

    /// Returns why the API server refuses it for `host` with this `ca_bundle` (PEM) at `now`, in
    /// seconds since 1970. Its own dates are not considered.
    pub fn refusal(&self, ca_bundle: &[u8], host: &str, now: i64) -> Option<Refusal> {
        let presented: Vec<_> = self.chain().map(Certificate::der).collect();
        let roots = pem::read(ca_bundle).certificates;
        let problems = judge(&presented, host, &roots, now).problems;
        let refusals = problems.iter().filter_map(|problem| match problem {
            Problem::Expired { .. } | Problem::NotYetValid { .. } => None,
            Problem::NameMismatch { names, .. } if names.is_empty() => Some(Refusal::WrongName(
                format!("it names no host, so it is not for {host}"),
            )),
            Problem::NameMismatch { names, .. } => Some(Refusal::WrongName(format!(
                "it is for {}, not for {host}",
                names.join(", ")
            ))),
            Problem::Untrusted { issuer, reason, .. } => Some(Refusal::Untrusted(format!(
                "it was issued by {issuer}, and {reason}"
            ))),
            Problem::Undecided { .. } | Problem::Unreadable { .. } => Some(Refusal::Undecided),
        });
        // What is not known does not hide what is.
        refusals.min_by_key(|refusal| *refusal == Refusal::Undecided)
    }

    fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.intermediates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velero_trust_testing::pki::{Authority, VALID};

    /// A time within the validity period of what [`Authority`] issues.
    const NOW: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    fn served(authority: &Authority) -> ServingCertificate {
        let pem = authority.server("webhook").unwrap().certificate_pem;
        ServingCertificate::from_pem(pem.as_bytes()).unwrap()
    }

    #[test]
    fn it_is_refused_with_another_ca_and_for_another_host() {
        let (ours, other) = (Authority::new("a").unwrap(), Authority::new("b").unwrap());
        let certificate = served(&ours);
        let refusal = |ca: &str, host| certificate.refusal(ca.as_bytes(), host, NOW);
        assert_eq!(refusal(&ours.pem(), "localhost"), None);
        // A rotation: both are trusted.
        let both = [other.pem(), ours.pem()].concat();
        assert_eq!(refusal(&both, "localhost"), None);
        let untrusted = refusal(&other.pem(), "localhost").unwrap();
        assert!(matches!(&untrusted, Refusal::Untrusted(_)), "{untrusted}");
        let said = untrusted.to_string();
        assert!(said.contains("the bundle has no CA of that name"), "{said}");
        let nothing = refusal("", "localhost");
        assert!(
            matches!(nothing, Some(Refusal::Untrusted(_))),
            "{nothing:?}"
        );
        let wrong = refusal(&ours.pem(), "velero-trust.guards.svc").unwrap();
        assert!(matches!(&wrong, Refusal::WrongName(_)), "{wrong}");
        assert!(
            wrong
                .to_string()
                .ends_with("not for velero-trust.guards.svc")
        );
        let nameless = ours.server_named("webhook", &[]).unwrap().certificate_pem;
        let nameless = ServingCertificate::from_pem(nameless.as_bytes()).unwrap();
        let wrong = nameless
            .refusal(ours.pem().as_bytes(), "a.svc", NOW)
            .unwrap();
        assert_eq!(
            wrong.to_string(),
            "it names no host, so it is not for a.svc"
        );
    }

    #[test]
    fn its_dates_are_told_apart_from_its_ca() {
        let authority = Authority::valid("a", VALID).unwrap();
        let certificate = served(&authority);
        let end = certificate.not_after();
        assert_eq!(certificate.validity(NOW), Validity::Valid);
        let at = |left: i64| certificate.validity(end - left);
        assert_eq!(at(30 * DAY + 1), Validity::Valid);
        assert_eq!(at(30 * DAY), Validity::ExpiresSoon);
        assert_eq!(at(0), Validity::ExpiresSoon);
        assert_eq!(at(-1), Validity::Expired);
        let late = certificate.refusal(authority.pem().as_bytes(), "localhost", end + DAY);
        assert_eq!(late, None);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let certificate = served(&Authority::new("a").unwrap());
        let read = ServingCertificate::from_pem(certificate.to_pem().as_bytes());
        assert_eq!(read, Some(certificate));
        assert_eq!(ServingCertificate::from_pem(b"nothing"), None);
    }
}
