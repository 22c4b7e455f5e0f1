//! The certificate that the leader presents, as `status` shows it.

use k8s_openapi::jiff::Timestamp;

use super::model::{ServingCertificateState, ServingCertificateStatus};
use crate::admission::webhook_state::{Issuer, renewal_fix};
use crate::ca::serving_certificate::{ServingCertificate, Validity};
use crate::kubernetes::error;

/// Returns the status of the certificate that the leader of the installation in namespace `own` has
/// published.
pub(super) fn status(
    own: &str,
    issuer: Issuer,
    published: &kube::Result<Option<ServingCertificate>>,
    now: Timestamp,
) -> ServingCertificateStatus {
    let unknown = |why: String| ServingCertificateStatus {
        state: ServingCertificateState::Unknown,
        not_after: None,
        message: Some(why),
    };
    let certificate = match published {
        Ok(Some(certificate)) => certificate,
        Ok(None) => return unknown("the leader has not published it".to_owned()),
        Err(error) => return unknown(error::lookup_error(error).message),
    };
    let (state, message) = match certificate.validity(now.as_second()) {
        Validity::Valid => (ServingCertificateState::Valid, None),
        Validity::ExpiresSoon => (
            ServingCertificateState::ExpiresSoon,
            Some(renewal_fix(own, issuer)),
        ),
        Validity::Expired => (
            ServingCertificateState::Expired,
            Some(renewal_fix(own, issuer)),
        ),
    };
    ServingCertificateStatus {
        state,
        not_after: Timestamp::from_second(certificate.not_after()).ok(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velero_trust_testing::pki::Authority;

    #[test]
    fn it_is_valid_expires_soon_expired_or_unknown() {
        let pem = Authority::new("a").unwrap().pem();
        let certificate = ServingCertificate::from_pem(pem.as_bytes()).unwrap();
        let end = certificate.not_after();
        let published = Ok(Some(certificate));
        let at = |left: i64| {
            let now = Timestamp::from_second(end - left).unwrap();
            status("guards", Issuer::Files, &published, now)
        };
        let valid = at(31 * 86_400);
        assert_eq!(valid.state, ServingCertificateState::Valid);
        assert_eq!(valid.message, None);
        assert_eq!(valid.not_after.unwrap().to_string(), "2120-01-01T00:00:00Z");
        for (left, state) in [
            (30 * 86_400, ServingCertificateState::ExpiresSoon),
            (-1, ServingCertificateState::Expired),
        ] {
            let status = at(left);
            assert_eq!(status.state, state);
            let fix = status.message.unwrap();
            assert!(fix.contains("certs --install --namespace guards"), "{fix}");
        }
        let unknown = status("guards", Issuer::Own, &Ok(None), Timestamp::UNIX_EPOCH);
        assert_eq!(unknown.state, ServingCertificateState::Unknown);
        assert_eq!(
            unknown.message.as_deref(),
            Some("the leader has not published it")
        );
    }
}
