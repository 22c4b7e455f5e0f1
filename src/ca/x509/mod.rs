//! X.509 exactly as Go's `crypto/x509.ParseCertificate` reads it.
//!
//! Velero, its plugins, restic and kopia are Go programs, and Go leaves out of a pool, without a
//! word, every certificate that it cannot parse. So "this certificate parses" has to mean what it
//! means there, in both directions; a test compares the two on thousands of mutated bundles.

mod der;
mod extensions;
mod keys;
mod names;
mod times;
mod uri;

use der::{Der, is_negative, tag};

pub(super) use keys::Key;

/// Why bytes are no certificate, to follow "the certificate does not parse:". It never contains
/// any of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Defect(&'static str);

/// What was read of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parsed<'a> {
    /// The subject, DER.
    pub(super) subject: &'a [u8],
    /// The issuer, DER.
    pub(super) issuer: &'a [u8],
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    /// Whether it may vouch for other certificates, by its version, basicConstraints and keyUsage.
    pub(super) is_ca: bool,
    /// What its key is made of.
    pub(super) key: Key,
    /// The OID of the algorithm it is signed with.
    pub(super) signature: &'a [u8],
}

/// The subject as a person reads it, at most 80 harmless characters.
pub(super) fn display_name(name: &[u8]) -> String {
    names::display_name(name)
}

/// Reads a certificate.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Defect> {
    let malformed = Defect("it is not DER of a certificate");
    let mut input = Der(bytes);
    let mut certificate = input.take(tag::SEQUENCE).ok_or(malformed)?;
    if !input.is_empty() {
        return Err(Defect("bytes follow the certificate"));
    }
    let mut tbs = certificate.take(tag::SEQUENCE).ok_or(malformed)?;
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
    let signature = read_algorithm(inner).ok_or(Defect("its signature algorithm is malformed"))?;

    let issuer = read_name(&mut tbs)?;
    let validity = tbs.take(tag::SEQUENCE).ok_or(malformed)?;
    let (not_before, not_after) = times::read_validity(validity)?;
    let subject = read_name(&mut tbs)?;
    let key = keys::read_key(tbs.take(tag::SEQUENCE).ok_or(malformed)?)?;

    let mut uses = extensions::Uses::default();
    if version >= 2 {
        for unique in [1, 2] {
            let unique = tbs.optional(tag::context(unique));
            unique.ok_or(Defect("its unique identifiers are malformed"))?;
        }
    }
    if version == 3 {
        let tagged = tbs.optional(tag::constructed(3));
        if let Some(tagged) = tagged.ok_or(Defect("its extensions are malformed"))? {
            uses = extensions::read_extensions(tagged)?;
        }
    }
    certificate
        .bits()
        .ok_or(Defect("its signature is malformed"))?;

    // Go's rule for a parent: version 3 needs `cA`, and a key usage has to allow signing.
    let is_ca = uses.ca.unwrap_or(version < 3) && uses.cert_sign.unwrap_or(true);
    Ok(Parsed {
        subject,
        issuer,
        not_before,
        not_after,
        is_ca,
        key,
        signature,
    })
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
    let malformed = Defect("a name in it is malformed");
    let element = tbs
        .element()
        .filter(|element| element.tag == tag::SEQUENCE)
        .ok_or(malformed)?;
    names::check_name(element.whole)?;
    Ok(element.whole)
}
