//! What the extensions of a certificate let it be used for, as Go reads them.

use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::ca::certificate::Certificate;

/// Go's `ExtKeyUsageServerAuth`: no usage named, this one, or any.
pub(super) struct ServerAuth;

impl ExtendedKeyUsageValidator for ServerAuth {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let server = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
        let any = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);
        let mut is_empty = true;
        for usage in usages {
            is_empty = false;
            let usage = usage?;
            if usage == server || usage == any {
                return Ok(());
            }
        }
        if is_empty {
            Ok(())
        } else {
            Err(usage_not_found())
        }
    }
}

fn usage_not_found() -> Error {
    Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
        required: KeyUsage::server_auth(),
        present: Vec::new(),
    })
}

/// Whether the extendedKeyUsage of a certificate lets it serve TLS, or vouch for what does.
pub(super) fn allows_server_auth(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .extended_key_usage()
        .ok()
        .flatten()
        .is_none_or(|usages| usages.value.server_auth || usages.value.any)
}

/// Whether the certificate has a critical extension that Go does not know, which makes it good for
/// nothing. Those that Go knows are id-ce 15 to 54 here (`crypto/x509`, `processExtensions`).
pub(super) fn has_unknown_critical(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|extension| {
        extension.critical
            && !matches!(
                extension.oid.as_bytes(),
                [0x55, 0x1d, 15 | 17 | 19 | 30 | 31 | 32 | 33 | 36 | 37 | 54]
            )
    })
}

/// Whether Go lets `ca` vouch for others, whatever it vouches for.
pub(super) fn may_issue(ca: &Certificate) -> bool {
    let parsed = X509Certificate::from_der(ca.der());
    ca.is_ca && parsed.is_ok_and(|(_, parsed)| !has_unknown_critical(&parsed))
}

/// Whether the extensions of `root` let it end a path with so many intermediates.
pub(super) fn check_anchor_extensions(root: &[u8], intermediates: usize) -> Result<(), Error> {
    // What this parser does not read, webpki has read.
    let Ok((_, root)) = X509Certificate::from_der(root) else {
        return Ok(());
    };
    let longest = root
        .basic_constraints()
        .ok()
        .flatten()
        .and_then(|constraints| constraints.value.path_len_constraint)
        .and_then(|longest| usize::try_from(longest).ok());
    if longest.is_some_and(|longest| intermediates > longest) {
        Err(Error::PathLenConstraintViolated)
    } else if allows_server_auth(&root) {
        Ok(())
    } else {
        Err(usage_not_found())
    }
}
