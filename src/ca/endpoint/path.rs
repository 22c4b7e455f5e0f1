//! The way from a server's certificate to a certificate of the bundle, as Go finds it.
//!
//! webpki builds it. What it does otherwise than Go's `crypto/x509`, and what is done about it:
//!
//! - It never looks at an anchor's dates and extensions, nor at any keyUsage; Go does. Those that
//!   Go would not take are left out, or refused when a path has led to them.
//! - It takes no RSA keys below 2048 bits; Go takes 1024. Our crypto library checks these with
//!   SHA-256 and SHA-512; with another digest we cannot tell.
//! - It does not know `anyExtendedKeyUsage`.
//! - It refuses a CA as a server's certificate, which `openssl req -x509` makes unless it is told
//!   otherwise. Where that certificate is itself in the bundle, Go looks no further, and neither do
//!   we. Where a CA of the bundle signed it, we look at the signature; with an intermediate between
//!   them we cannot tell.
//! - It knows fewer curves, and reads some certificates more strictly: again, we cannot tell.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, VerifiedPath, anchor_from_trusted_cert};

use super::algorithms::ALGORITHMS;
use super::extensions::{ServerAuth, check_anchor_extensions, may_issue};
use crate::ca::certificate::Certificate;
use crate::ca::x509::ParsedCertificate;

/// Most characters of another library's error that are shown.
const MAX_ERROR_CHARS: usize = 60;

/// Why there is no way, or none that we can see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathError {
    /// No certificate of the bundle vouches for what was presented.
    UnknownIssuer,
    /// One does, and is not allowed to.
    Forbidden(&'static str),
    /// We cannot tell what Go would say.
    Undecided(String),
}

/// Looks for a way from the first of `presented`, which is `parsed` too, through the others to one
/// of `roots`, on `now`.
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
    // webpki looks at their extensions, but not at keyUsage.
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

/// Whether `certificate` says that it was issued by `issuer`.
pub(super) fn names_as_issuer(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer_der() == issuer.subject_der()
}

/// Whether Go lets the anchor of `path` end a path of its length.
fn check_anchor(
    path: &VerifiedPath<'_>,
    roots: &[(&Certificate, CertificateDer<'_>)],
) -> Result<(), Error> {
    let anchor = path.anchor();
    // Certificates that share a name and a key: one that may is enough, as it is for Go.
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

/// Whether the key of `issuer` signed `certificate`, by any algorithm that Go takes.
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
        // It tells one error of several paths, and the one that counts may be another.
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

/// What there is in a certificate that webpki and Go may see differently.
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
        error => format!("our check stopped at {error:?}")
            .chars()
            .take(MAX_ERROR_CHARS)
            .collect(),
    })
}
