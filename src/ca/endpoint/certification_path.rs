//! The path from a server's certificate to a certificate of the bundle, as Go finds it.
//!
//! webpki builds it. These are its differences from Go's `crypto/x509`, and how they are handled:
//!
//! - It ignores the dates and extensions of an anchor, and every keyUsage; Go checks them. Anchors
//!   that Go would not accept are left out, or rejected when a path has led to them.
//! - It accepts no RSA keys below 2048 bits; Go accepts 1024. Our crypto library verifies these
//!   with SHA-256 and SHA-512. With other digests the result is undecided.
//! - It does not know `anyExtendedKeyUsage`.
//! - It rejects a CA as a server's certificate, which is what `openssl req -x509` creates by
//!   default. If that certificate is itself in the bundle, Go stops there, and so do we. If a CA
//!   of the bundle signed it, we verify the signature. With an intermediate between them the
//!   result is undecided.
//! - It knows fewer curves, and parses some certificates more strictly. The result is undecided.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, VerifiedPath, anchor_from_trusted_cert};

use super::algorithms::ALGORITHMS;
use super::extensions::{ServerAuth, check_anchor_extensions, may_issue};
use crate::ca::certificate::Certificate;
use crate::ca::x509::ParsedCertificate;

/// Maximum length of webpki's error in a message, in characters.
const MAX_ERROR_CHARS: usize = 60;

/// Why no path was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathError {
    /// No certificate of the bundle issued what was presented.
    UnknownIssuer,
    /// There is a path, and something in a certificate forbids it.
    Forbidden(&'static str),
    /// It is unknown what Go would decide.
    Undecided(String),
}

/// Looks for a path from the first of `presented` through the others to one of `roots`, valid at
/// `now`, in seconds since 1970. `parsed` is that first certificate.
pub(super) fn find_path(
    parsed: &ParsedCertificate<'_>,
    presented: &[Certificate],
    roots: &[Certificate],
    now: i64,
) -> Result<(), PathError> {
    let Some((leaf, others)) = presented.split_first() else {
        return Err(PathError::UnknownIssuer);
    };
    if roots.contains(leaf) {
        return Ok(());
    }
    let roots: Vec<_> = roots
        .iter()
        .filter(|root| presented.iter().any(|one| names_as_issuer(one, root)))
        .filter(|root| root.not_before <= now && now <= root.not_after && may_issue(root))
        .map(|root| (root, CertificateDer::from(root.der())))
        .collect();
    if roots.is_empty() {
        return Err(PathError::UnknownIssuer);
    }
    let mut anchors = Vec::with_capacity(roots.len());
    for (_, der) in &roots {
        anchors.push(anchor_from_trusted_cert(der).map_err(|error| to_undecided(&error))?);
    }
    // webpki checks their extensions except keyUsage.
    let others: Vec<_> = others
        .iter()
        .filter(|other| may_issue(other))
        .map(|other| CertificateDer::from(other.der()))
        .collect();
    let der = CertificateDer::from(leaf.der());
    let end = EndEntityCert::try_from(&der).map_err(|error| to_undecided(&error))?;
    // No certificate is valid before 1970.
    let seconds = u64::try_from(now).unwrap_or_default();
    let found = end.verify_for_usage(
        &ALGORITHMS,
        &anchors,
        &others,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        ServerAuth,
        None,
        Some(&|path| check_anchor(path, &roots)),
    );
    match found {
        Ok(_) => Ok(()),
        Err(Error::CaUsedAsEndEntity)
            if roots.iter().any(|(root, der)| {
                names_as_issuer(leaf, root)
                    && find_unsupported(root).is_none()
                    && check_anchor_extensions(root, 0).is_ok()
                    && has_signed(der, parsed)
            }) =>
        {
            Ok(())
        }
        Err(error) => Err(classify_error(&error, presented, &roots)),
    }
}

/// Returns whether `certificate` names `issuer` as its issuer.
pub(super) fn names_as_issuer(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer_der() == issuer.subject_der()
}

/// Checks that Go accepts the anchor of `path` for a path of that length.
fn check_anchor(
    path: &VerifiedPath<'_>,
    roots: &[(&Certificate, CertificateDer<'_>)],
) -> Result<(), Error> {
    let anchor = path.anchor();
    // Several roots may share a name and a key. As for Go, one acceptable root is enough.
    let mut refusal = Ok(());
    for (root, der) in roots {
        let is_same = anchor_from_trusted_cert(der).is_ok_and(|same| {
            same.subject == anchor.subject
                && same.subject_public_key_info == anchor.subject_public_key_info
        });
        if !is_same {
            continue;
        }
        refusal = check_anchor_extensions(root, path.intermediate_certificates().count());
        if refusal.is_ok() {
            break;
        }
    }
    refusal
}

/// Returns whether the key of `issuer` signed `certificate`, with any algorithm that Go accepts.
fn has_signed(issuer: &CertificateDer<'_>, certificate: &ParsedCertificate<'_>) -> bool {
    let Ok(issuer) = EndEntityCert::try_from(issuer) else {
        return false;
    };
    ALGORITHMS.iter().any(|algorithm| {
        issuer
            .verify_signature(*algorithm, certificate.tbs, certificate.signature)
            .is_ok()
    })
}

fn classify_error(
    error: &Error,
    presented: &[Certificate],
    roots: &[(&Certificate, CertificateDer<'_>)],
) -> PathError {
    PathError::Forbidden(match error {
        // webpki reports the error of one path only; another path may be the relevant one.
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::CertExpired { .. }
        | Error::CertNotValidYet { .. } => {
            let mut involved = roots.iter().map(|(root, _)| *root).chain(presented);
            return involved
                .find_map(find_unsupported)
                .map_or(PathError::UnknownIssuer, |why| {
                    PathError::Undecided(why.to_owned())
                });
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
            if presented.iter().any(|one| one.weak_digest.is_some()) =>
        {
            return PathError::UnknownIssuer;
        }
        Error::NameConstraintViolation => "a CA on the way may not vouch for this name",
        Error::PathLenConstraintViolated => {
            "a CA on the way may not vouch for so long a chain (pathLenConstraint)"
        }
        Error::RequiredEkuNotFoundContext(_) => {
            "a certificate on the way is not for servers (extendedKeyUsage lacks serverAuth)"
        }
        error => return to_undecided(error),
    })
}

/// Returns what in a certificate webpki and Go may treat differently.
fn find_unsupported(certificate: &Certificate) -> Option<&'static str> {
    let is_odd_key = certificate
        .rsa_bits
        .is_some_and(|bits| bits >= 1024 && !(2048..=8192).contains(&bits));
    if is_odd_key {
        return Some("a certificate has an RSA key of an unusual length");
    }
    certificate
        .path_constraints
        .has_name_constraints
        .then_some("a CA on the way has name constraints")
}

fn to_undecided(error: &Error) -> PathError {
    PathError::Undecided(match error {
        Error::CaUsedAsEndEntity => {
            "the server's certificate is itself a CA (basicConstraints CA:TRUE)".to_owned()
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate is signed in a way that velero-trust does not know".to_owned()
        }
        error => format!("our check stopped: {}", words(&format!("{error:?}"))),
    })
}

/// Returns the name of a variant, such as `BadDer`, in words. What it contains is left out.
fn words(variant: &str) -> String {
    let name = variant.chars().take_while(char::is_ascii_alphanumeric);
    let mut words = String::new();
    for letter in name.take(MAX_ERROR_CHARS) {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
