//! A certificate, reduced to what the rules check.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::x509::{self, Defect, Extensions, Key, ParsedCertificate};

/// A certificate that Go can parse.
#[derive(Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    fingerprint: Fingerprint,
    subject: Arc<[u8]>,
    issuer: Arc<[u8]>,
    /// The start of its validity, seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, seconds since 1970.
    pub not_after: i64,
    /// Whether basicConstraints and keyUsage allow it to issue certificates.
    pub is_ca: bool,
    /// The digest of its signature, if that is a broken one.
    pub weak_digest: Option<&'static str>,
    /// The length of its RSA modulus in bits, if its key is an RSA key.
    pub rsa_bits: Option<u32>,
    /// How its extensions constrain the paths that may contain it.
    pub path_constraints: PathConstraints,
}

/// How the extensions of a certificate constrain the paths, from a server's certificate to a root,
/// that may contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathConstraints {
    /// The maximum number of intermediates below it, if it limits them (pathLenConstraint).
    pub max_intermediates: Option<u32>,
    /// Whether it may be used for TLS servers: it has no extKeyUsage, or one that includes them.
    pub allows_server_auth: bool,
    /// Whether it has a critical extension that Go does not know. Go trusts no such certificate.
    pub has_unknown_critical: bool,
    /// Whether it has nameConstraints.
    pub has_name_constraints: bool,
}

impl PathConstraints {
    fn of(extensions: &Extensions<'_>) -> Self {
        let path_len = extensions
            .basic_constraints
            .and_then(|constraints| constraints.path_len);
        Self {
            // No chain has more than 2^32 certificates, so a higher limit has no effect.
            max_intermediates: path_len.and_then(|path_len| u32::try_from(path_len).ok()),
            allows_server_auth: extensions.allows_server_auth(),
            has_unknown_critical: extensions.has_unknown_critical,
            has_name_constraints: extensions.has_name_constraints,
        }
    }
}

/// SHA-256 of a certificate's DER, which identifies it.
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

/// Writes 64 hexadecimal digits, or fewer with an even precision such as `{:.16}`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64);
        // As one text: a review can write tens of thousands of these.
        let mut text = String::with_capacity(64);
        for byte in self.0.iter().take(digits.div_ceil(2)) {
            let halves = [byte >> 4, byte & 0xf].map(u32::from);
            text.extend(halves.map(|half| char::from_digit(half, 16).unwrap_or_default()));
        }
        f.write_str(&text)
    }
}

impl Certificate {
    /// Reads the DER of a certificate.
    pub fn parse(der: impl Into<Arc<[u8]>>) -> Result<Self, Defect> {
        let der = der.into();
        let parsed = ParsedCertificate::parse(&der)?;
        Ok(Self::of(&parsed, Arc::clone(&der)))
    }

    /// Keeps what the rules check of `parsed`, which was read from `der`.
    fn of(parsed: &ParsedCertificate<'_>, der: Arc<[u8]>) -> Self {
        Self {
            fingerprint: Fingerprint::of(&der),
            subject: parsed.subject.into(),
            issuer: parsed.issuer.into(),
            not_before: parsed.not_before,
            not_after: parsed.not_after,
            is_ca: parsed.is_ca(),
            weak_digest: detect_weak_digest(parsed.signature_algorithm),
            rsa_bits: match parsed.key {
                Key::Rsa(bits) => Some(bits),
                Key::Other => None,
            },
            path_constraints: PathConstraints::of(&parsed.extensions),
            der,
        }
    }

    /// Returns its DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns its fingerprint.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns its subject for display: at most 80 characters, without control characters.
    pub fn subject(&self) -> String {
        x509::display_name(&self.subject)
    }

    /// Returns its issuer for display, with the same limits.
    pub fn issuer(&self) -> String {
        x509::display_name(&self.issuer)
    }

    /// Returns the DER of its subject, which the certificates that it issued name as their issuer.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// Returns the DER of its issuer.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// Returns whether it names itself as its issuer, as roots do.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Copies what the rules check from a certificate that is already parsed.
impl From<&ParsedCertificate<'_>> for Certificate {
    fn from(parsed: &ParsedCertificate<'_>) -> Self {
        Self::of(parsed, parsed.der.into())
    }
}

/// Certificates are equal if their bytes are.
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

/// Returns the name of a signature algorithm's digest, if that is a broken one.
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
    fn a_certificate_keeps_no_more_memory_than_it_needs() {
        // Besides the DER and the two names: every CA of every namespace is kept.
        assert!(size_of::<Certificate>() <= 136);
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
