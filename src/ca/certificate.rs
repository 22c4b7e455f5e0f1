//! One certificate, and what the rules ask of it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::x509::{self, Defect, Key};

/// A certificate that parses, as Go understands that.
#[derive(Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    fingerprint: Fingerprint,
    subject: Arc<[u8]>,
    issuer: Arc<[u8]>,
    /// From when it is valid, seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, seconds since 1970.
    pub not_after: i64,
    /// Whether basicConstraints and keyUsage let it vouch for other certificates.
    pub is_ca: bool,
    /// The digest of its signature, if it is one that is broken.
    pub weak_digest: Option<&'static str>,
    /// The length of its RSA modulus in bits, if its key is an RSA key.
    pub rsa_bits: Option<usize>,
}

/// SHA-256 of a certificate's DER: what makes it the same certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(fingerprint)
    }
}

/// The 64 hexadecimal digits; with an even precision, as in `{:.16}`, only so many.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64);
        for byte in self.0.iter().take(digits.div_ceil(2)) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Certificate {
    /// Reads the DER of a certificate.
    pub fn parse(der: impl Into<Arc<[u8]>>) -> Result<Self, Defect> {
        let der = der.into();
        let parsed = x509::parse(&der)?;
        Ok(Self {
            fingerprint: Fingerprint::of(&der),
            subject: parsed.subject.into(),
            issuer: parsed.issuer.into(),
            not_before: parsed.not_before,
            not_after: parsed.not_after,
            is_ca: parsed.is_ca,
            weak_digest: detect_weak_digest(parsed.signature),
            rsa_bits: match parsed.key {
                Key::Rsa(bits) => Some(bits),
                Key::Other => None,
            },
            der,
        })
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What makes it the same certificate as another.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its subject as a person reads it: at most 80 characters, none of them a control character.
    pub fn subject(&self) -> String {
        x509::display_name(&self.subject)
    }

    /// Its issuer as a person reads it, with the same limits.
    pub fn issuer(&self) -> String {
        x509::display_name(&self.issuer)
    }

    /// Its subject's DER, which the certificates it issued name as their issuer.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// Its issuer's DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether it names itself as its issuer, as roots do.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Certificates are the same when their bytes are.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Certificate({:.16} {})",
            self.fingerprint,
            self.subject()
        )
    }
}

/// The name of the digest in a signature algorithm, if it is one that nobody should trust.
fn detect_weak_digest(algorithm: &[u8]) -> Option<&'static str> {
    match algorithm {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2] => Some("MD2"),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4] => Some("MD5"),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]
        | [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3]
        | [0x2b, 0x0e, 3, 2, 29] => Some("SHA-1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    use x509_parser::public_key::PublicKey;

    #[test]
    fn agrees_with_another_parser_on_every_public_root() {
        for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            let ours = Certificate::parse(&der[..]).unwrap();
            let (_, theirs) = X509Certificate::from_der(der).unwrap();
            assert_eq!(ours.not_before, theirs.validity().not_before.timestamp());
            assert_eq!(ours.not_after, theirs.validity().not_after.timestamp());
            assert_eq!(ours.is_ca, theirs.is_ca(), "{ours:?}");
            assert_eq!(ours.subject_der(), theirs.subject().as_raw());
            assert_eq!(ours.issuer_der(), theirs.issuer().as_raw());
            let bits = match theirs.public_key().parsed().unwrap() {
                PublicKey::RSA(key) => Some(key.key_size()),
                _ => None,
            };
            assert_eq!(ours.rsa_bits, bits);
            let digest = theirs.signature_algorithm.algorithm.to_string();
            assert_eq!(ours.weak_digest.is_some(), digest == "1.2.840.113549.1.1.5");
            webpki::anchor_from_trusted_cert(der).unwrap();
        }
    }

    #[test]
    fn a_fingerprint_is_shown_in_full_or_as_short_as_asked() {
        let fingerprint = Fingerprint::of(b"");
        assert_eq!(
            fingerprint.to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(format!("{fingerprint:.16}"), "e3b0c44298fc1c14");
    }

    #[test]
    fn refuses_bytes_after_the_certificate() {
        let der = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let longer = [&der[..], &[0]].concat();
        assert_eq!(
            Certificate::parse(longer).unwrap_err().to_string(),
            "bytes follow the certificate"
        );
    }
}
