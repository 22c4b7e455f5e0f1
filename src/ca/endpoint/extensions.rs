//! Checks what the extensions of a certificate allow, as Go does.

use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use crate::ca::certificate::Certificate;
use crate::ca::x509::ExtendedKeyUsage;

/// Go's check for `ExtKeyUsageServerAuth`: accepts no purpose at all, serverAuth and any.
pub(super) struct ServerAuth;

impl ExtendedKeyUsageValidator for ServerAuth {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let server = KeyPurposeId::new(ExtendedKeyUsage::SERVER_AUTH);
        let any = KeyPurposeId::new(ExtendedKeyUsage::ANY);
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

/// Returns whether Go lets `ca` issue certificates, whatever they are for.
pub(super) const fn may_issue(ca: &Certificate) -> bool {
    ca.is_ca && !ca.path_constraints.has_unknown_critical
}

/// Checks that the extensions of `root` allow it to anchor a path with this number of
/// intermediates.
pub(super) fn check_anchor_extensions(
    root: &Certificate,
    intermediates: usize,
) -> Result<(), Error> {
    let constraints = root.path_constraints;
    let max = constraints
        .max_intermediates
        .and_then(|max| usize::try_from(max).ok());
    if max.is_some_and(|max| intermediates > max) {
        Err(Error::PathLenConstraintViolated)
    } else if constraints.allows_server_auth {
        Ok(())
    } else {
        Err(usage_not_found())
    }
}
