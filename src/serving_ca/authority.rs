//! A CA with its private key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedIssuer, Issuer, KeyPair};
use time::OffsetDateTime;

use super::issue::{self, BACKDATE};
use crate::ca::bundle::pem_block;
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::ca::serving_certificate::ServingCertificate;

/// How long a CA is valid.
const CA_LIFE: Duration = Duration::from_hours(365 * 24);

/// How long before it is made the validity of a CA begins: more than a clock that is set back should
/// differ.
const CA_BACKDATE: Duration = Duration::from_hours(7 * 24);

/// How long a serving certificate is valid, in seconds.
pub const LEAF_LIFE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// A host that a certificate is issued for only to see whether a CA works.
const TRIAL_HOST: &str = "velero-trust.invalid";

pub use super::issue::Leaf;

/// A CA that signs serving certificates.
#[derive(Clone)]
pub struct Authority {
    certificate: Certificate,
    key: Arc<KeyPair>,
}

/// Why there is no CA, or no certificate of one. No text of a key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate is missing, broken, or one of several.
    #[error("its certificate is not the PEM of one certificate")]
    Certificate,
    /// The key is missing or broken.
    #[error("its key is not the PEM of a private key in PKCS#8")]
    Key,
    /// What the key signs is not verified by the certificate.
    #[error("its key and its certificate do not belong together, or it is no CA")]
    Mismatch,
    /// It is not valid at this time.
    #[error("it is valid from {from} to {to} only (seconds since 1970)")]
    NotValid {
        /// The start of its validity, seconds since 1970.
        from: i64,
        /// The end of its validity, seconds since 1970.
        to: i64,
    },
    /// The library failed.
    #[error("no certificate could be issued")]
    Failed,
}

impl Authority {
    /// Makes a CA that is valid for a year from `now`.
    pub fn generate(now: i64) -> Result<Self, AuthorityError> {
        let now = time(now)?;
        let params = issue::ca_params(now - CA_BACKDATE..now + CA_LIFE);
        let made = || CertifiedIssuer::self_signed(params, issue::new_key()?);
        let made = made().map_err(|_| AuthorityError::Failed)?;
        let certificate = Certificate::parse(made.der().as_ref());
        let certificate = certificate.map_err(|_| AuthorityError::Failed)?;
        let key = KeyPair::from_pem(&made.key().serialize_pem());
        let key = key.map_err(|_| AuthorityError::Failed)?;
        Ok(Self {
            certificate,
            key: Arc::new(key),
        })
    }

    /// Reads a CA that must be usable at `now`.
    pub fn from_pem(certificate: &[u8], key: &[u8], now: i64) -> Result<Self, AuthorityError> {
        let certificate = read_certificate(certificate)?;
        let key = std::str::from_utf8(key).map_err(|_| AuthorityError::Key)?;
        let key = KeyPair::from_pem(key).map_err(|_| AuthorityError::Key)?;
        let authority = Self {
            certificate,
            key: Arc::new(key),
        };
        if !authority.is_valid(now) {
            return Err(AuthorityError::NotValid {
                from: authority.certificate.not_before,
                to: authority.certificate.not_after,
            });
        }
        let leaf = authority.issue(&[TRIAL_HOST.to_owned()], now)?;
        let leaf = ServingCertificate::from_pem(leaf.certificate.as_bytes());
        let leaf = leaf.ok_or(AuthorityError::Failed)?;
        match leaf.refusal(authority.pem().as_bytes(), TRIAL_HOST, now) {
            None => Ok(authority),
            Some(_) => Err(AuthorityError::Mismatch),
        }
    }

    /// Issues a serving certificate for `names`, valid for [`LEAF_LIFE_SECONDS`] from `now`.
    pub fn issue(&self, names: &[String], now: i64) -> Result<Leaf, AuthorityError> {
        let start = time(now)? - BACKDATE;
        let end = time(now + LEAF_LIFE_SECONDS)?;
        // Only the name and the key of the issuer are in what it issues.
        let issuer = Issuer::new(issue::ca_params(start..end), &*self.key);
        issue::issue_leaf(&issuer, names, start..end).map_err(|_| AuthorityError::Failed)
    }

    /// Whether `now`, in seconds since 1970, is in its validity period.
    pub fn is_valid(&self, now: i64) -> bool {
        (self.certificate.not_before..self.certificate.not_after).contains(&now)
    }

    /// Returns its certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns its certificate as PEM.
    pub fn pem(&self) -> String {
        pem_block(&self.certificate)
    }

    /// Returns its private key as PEM.
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// Without the key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.certificate).finish()
    }
}

/// CAs are equal if their certificates are.
impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

/// Reads the only certificate in `text`.
pub(super) fn read_certificate(text: &[u8]) -> Result<Certificate, AuthorityError> {
    let mut certificates = pem::read(text).certificates.into_iter();
    match (certificates.next(), certificates.next()) {
        (Some(certificate), None) => Ok(certificate),
        _ => Err(AuthorityError::Certificate),
    }
}

fn time(seconds: i64) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving_ca::issue::service_names;

    const NOW: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    fn leaf(authority: &Authority, now: i64) -> ServingCertificate {
        let names = service_names("velero-trust", "guards");
        let leaf = authority.issue(&names, now).unwrap();
        ServingCertificate::from_pem(leaf.certificate.as_bytes()).unwrap()
    }

    #[test]
    fn what_it_issues_is_for_the_service_and_for_seven_days() {
        let ca = Authority::generate(NOW).unwrap();
        let leaf = leaf(&ca, NOW);
        let refusal = |host: &str| leaf.refusal(ca.pem().as_bytes(), host, NOW);
        for host in [
            "velero-trust",
            "velero-trust.guards",
            "velero-trust.guards.svc",
            "velero-trust.guards.svc.cluster.local",
        ] {
            assert_eq!(refusal(host), None, "{host}");
        }
        assert!(refusal("velero-trust.other.svc").is_some());
        assert_eq!(leaf.not_after(), NOW + 7 * DAY);
        assert_eq!(ca.certificate().not_after, NOW + 365 * DAY);
        assert!(ca.certificate().not_before <= NOW - 2 * DAY);
        let other = Authority::generate(NOW).unwrap();
        let refusal = leaf.refusal(other.pem().as_bytes(), "velero-trust", NOW);
        assert!(refusal.is_some(), "any CA of that name vouches for it");
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let (ca, other) = (Authority::generate(NOW), Authority::generate(NOW));
        let (ca, other) = (ca.unwrap(), other.unwrap());
        let read = |certificate: &str, key: &str, now| {
            Authority::from_pem(certificate.as_bytes(), key.as_bytes(), now)
        };
        let (pem, key) = (ca.pem(), ca.key_pem());
        assert_eq!(read(&pem, &key, NOW), Ok(ca.clone()));
        assert_eq!(read(&pem, &key, NOW - 2 * DAY), Ok(ca));
        let foreign = read(&pem, &other.key_pem(), NOW);
        assert_eq!(foreign, Err(AuthorityError::Mismatch));
        let two = [pem.as_str(), &other.pem()].concat();
        assert_eq!(read(&two, &key, NOW), Err(AuthorityError::Certificate));
        assert_eq!(read("", &key, NOW), Err(AuthorityError::Certificate));
        assert_eq!(read(&pem, &pem, NOW), Err(AuthorityError::Key));
        let late = read(&pem, &key, NOW + 366 * DAY);
        assert!(matches!(late, Err(AuthorityError::NotValid { .. })));
        // A certificate that is no CA, with its own key.
        let leaf = other.issue(&["a".to_owned()], NOW).unwrap();
        let leaf = read(&leaf.certificate, &leaf.key, NOW);
        assert_eq!(leaf, Err(AuthorityError::Mismatch));
    }
}
