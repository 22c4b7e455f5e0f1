//! What to do about a problem at an endpoint.

use super::problem::{Problem, UntrustedReason};
use crate::names::CA_SECRET_ANNOTATION;
use crate::velero::text::shown;

impl Problem {
    /// Returns what to do about it, for a BSL in `namespace`.
    pub fn fix(&self, namespace: &str) -> String {
        match self {
            Self::Expired { .. } => "renew it at the server".to_owned(),
            Self::NameMismatch { host, .. } => format!(
                "have it issued again with `{}` in its subjectAltName, or write one of its names \
                 into the BSL",
                shown(host)
            ),
            Self::NotYetValid { .. } => {
                "check the clock of who issued it, and this machine's".to_owned()
            }
            Self::Undecided { .. } => {
                "see whether Velero reports the BSL as Available; a certificate of the usual form \
                 would tell"
                    .to_owned()
            }
            Self::Unreadable { .. } => "have it issued again".to_owned(),
            Self::Untrusted { issuer, reason, .. } => fix_untrusted(namespace, issuer, reason),
        }
    }
}

fn fix_untrusted(namespace: &str, issuer: &str, reason: &UntrustedReason) -> String {
    match reason {
        UntrustedReason::NotCa
        | UntrustedReason::DifferentKey
        | UntrustedReason::UnknownIssuer { .. } => {
            let present = match reason {
                UntrustedReason::UnknownIssuer {
                    is_presented: false,
                } => {
                    ". If that is an intermediate, the server should present it, and its root \
                     is the CA to name"
                }
                _ => "",
            };
            format!(
                "name {issuer} on the BSL: `kubectl -n {namespace} create secret generic \
                 velero-ca --from-file=ca.crt=ca.pem`, then spec.objectStorage.caCertRef with name \
                 velero-ca and key ca.crt or, before Velero 1.18, the annotation \
                 `{CA_SECRET_ANNOTATION}: velero-ca/ca.crt`{present}"
            )
        }
        UntrustedReason::OutOfDate {
            is_in_bundle: true, ..
        } => "put its successor beside it in the BSL's Secret".to_owned(),
        UntrustedReason::OutOfDate { .. } => "let the server present its successor".to_owned(),
        UntrustedReason::Forbidden(_) | UntrustedReason::WeakSignature { .. } => {
            "have the server's certificate issued again".to_owned()
        }
    }
}
