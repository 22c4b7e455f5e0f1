//! X.509 exactly as Go's `crypto/x509.ParseCertificate` reads it.
//!
//! Velero, its plugins, restic and kopia are Go programs. Go silently leaves every certificate
//! that it cannot parse out of a pool. So "this certificate parses" must mean here what it means
//! in Go, in both directions; a test compares the two on thousands of mutated bundles.
//!
//! This is the only reader of certificates. It returns all that it validates and that somebody
//! needs, so no other code parses the same DER again; only webpki does, to verify paths and
//! signatures.

mod der;
mod extensions;
mod general_names;
mod keys;
mod names;
mod times;
mod uri;
mod usage;

pub use extensions::Extensions;
pub use general_names::GeneralName;
pub use keys::Key;
pub(super) use names::display_name;
pub use usage::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use der::{Der, Element, is_negative, tag};

/// Why bytes are not a certificate. Messages put it after "the certificate does not parse:". It
/// never contains any of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Defect(&'static str);

/// The contents of a certificate, borrowed from its DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedCertificate<'a> {
    /// The whole certificate, DER.
    pub der: &'a [u8],
    /// The part that is signed (`tbsCertificate`), DER.
    pub tbs: &'a [u8],
    /// The version: 1, 2 or 3.
    pub version: u8,
    /// The issuer, DER.
    pub issuer: &'a [u8],
    /// The start of its validity, seconds since 1970.
    pub not_before: i64,
    /// The end of its validity, seconds since 1970.
    pub not_after: i64,
    /// The subject, DER.
    pub subject: &'a [u8],
    /// The subjectPublicKeyInfo, DER.
    pub spki: &'a [u8],
    /// The kind of its key.
    pub key: Key,
    /// The extensions; all absent before version 3.
    pub extensions: Extensions<'a>,
    /// The OID of the algorithm it is signed with, as its octets.
    pub signature_algorithm: &'a [u8],
    /// The octets of its signature.
    pub signature: &'a [u8],
}

impl<'a> ParsedCertificate<'a> {
    /// Reads the DER of a certificate.
    pub fn parse(der: &'a [u8]) -> Result<Self, Defect> {
        let malformed = Defect("it is not DER of a certificate");
        let mut input = Der(der);
        let mut certificate = input.take(tag::SEQUENCE).ok_or(malformed)?;
        if !input.is_empty() {
            return Err(Defect("bytes follow the certificate"));
        }
        let tbs_element = certificate.take_element(tag::SEQUENCE).ok_or(malformed)?;
        let mut tbs = Der(tbs_element.content);
        let version = read_version(&mut tbs).ok_or(Defect("its version is not 1, 2 or 3"))?;
        let serial = tbs
            .integer()
            .ok_or(Defect("its serial number is malformed"))?;
        if is_negative(serial) {
            return Err(Defect("its serial number is negative"));
        }
        let inner = tbs.take(tag::SEQUENCE).ok_or(malformed)?;
        let outer = certificate.take(tag::SEQUENCE).ok_or(malformed)?;
        if inner.0 != outer.0 {
            return Err(Defect("it names two different signature algorithms"));
        }
        let signature_algorithm =
            read_algorithm(inner).ok_or(Defect("its signature algorithm is malformed"))?;

        let issuer = read_name(&mut tbs)?;
        let validity = tbs.take(tag::SEQUENCE).ok_or(malformed)?;
        let (not_before, not_after) = times::read_validity(validity)?;
        let subject = read_name(&mut tbs)?;
        let spki = tbs.take_element(tag::SEQUENCE).ok_or(malformed)?;
        let key = keys::read_key(Der(spki.content))?;

        let extensions = read_optional_parts(&mut tbs, version)?;
        let (_, signature) = certificate
            .bits()
            .ok_or(Defect("its signature is malformed"))?;
        Ok(Self {
            der,
            tbs: tbs_element.whole,
            version,
            issuer,
            not_before,
            not_after,
            subject,
            spki: spki.whole,
            key,
            extensions,
            signature_algorithm,
            signature,
        })
    }

    /// Returns whether it may issue certificates, by Go's rule for a parent: version 3 needs `cA`
    /// in basicConstraints, and a keyUsage must include keyCertSign.
    pub fn is_ca(&self) -> bool {
        let constraints = self.extensions.basic_constraints;
        let usage = self.extensions.key_usage;
        constraints.map_or(self.version < 3, |constraints| constraints.is_ca)
            && usage.is_none_or(KeyUsage::allows_cert_sign)
    }
}

/// Reads what follows the key: the unique identifiers and the extensions.
fn read_optional_parts<'a>(tbs: &mut Der<'a>, version: u8) -> Result<Extensions<'a>, Defect> {
    if version >= 2 {
        for unique in [1, 2] {
            let unique = tbs.optional(tag::context(unique));
            unique.ok_or(Defect("its unique identifiers are malformed"))?;
        }
    }
    if version == 3 {
        let tagged = tbs.optional(tag::constructed(3));
        if let Some(tagged) = tagged.ok_or(Defect("its extensions are malformed"))? {
            return extensions::read_extensions(tagged);
        }
    }
    Ok(Extensions::default())
}

fn read_version(tbs: &mut Der<'_>) -> Option<u8> {
    let Some(mut tagged) = tbs.optional(tag::constructed(0))? else {
        return Some(1);
    };
    match tagged.integer()? {
        [number @ 0..=2] if tagged.is_empty() => Some(number + 1),
        _ => None,
    }
}

fn read_algorithm(mut identifier: Der<'_>) -> Option<&[u8]> {
    let oid = identifier.oid()?;
    if !identifier.is_empty() {
        identifier.element()?;
    }
    Some(oid)
}

fn read_name<'a>(tbs: &mut Der<'a>) -> Result<&'a [u8], Defect> {
    let Element { whole, .. } = tbs
        .take_element(tag::SEQUENCE)
        .ok_or(Defect("a name in it is malformed"))?;
    names::check_name(whole)?;
    Ok(whole)
}
