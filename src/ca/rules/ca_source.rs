//! Where a bundle is, in the words of a message.

use std::fmt;

use super::Location;
use crate::ca::references::{CaReference, CaTarget, SecretKeyRef};
use crate::decision::{FieldPath, Finding, Rule};

/// A source, and how to speak of it.
#[derive(Clone, Debug)]
pub(super) struct CaSource<'s> {
    pub(super) path: &'s FieldPath,
    pub(super) namespace: &'s str,
    /// The key of the Secret that it names, if it names one.
    pub(super) reference: Option<&'s SecretKeyRef>,
    is_base64: bool,
}

impl<'s> CaSource<'s> {
    pub(super) fn new(location: &Location<'s>, reference: &'s CaReference<'_>) -> Self {
        Self {
            path: &reference.path,
            namespace: location.namespace,
            reference: match &reference.target {
                CaTarget::Secret(reference) => Some(reference),
                _ => None,
            },
            is_base64: matches!(reference.target, CaTarget::Base64(_)),
        }
    }

    /// A finding here. `detail` tells it from others of the same rule here, wherever they move.
    pub(super) fn finding(
        &self,
        rule: &'static Rule,
        detail: impl fmt::Display,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        let subject = format!("{self} {detail}");
        Finding::new(rule, self.path.clone(), subject.trim(), message, fix)
    }

    /// What to do to put another bundle here.
    pub(super) fn replace_instruction(&self) -> String {
        match self.reference {
            // A patch: `kubectl apply` would take other keys away, such as the credentials.
            Some(SecretKeyRef { secret, key }) => format!(
                "replace it: `kubectl -n {} patch secret {} -p \
                 \"{{\\\"data\\\":{{\\\"{key}\\\":\\\"$(base64 -w0 ca.pem)\\\"}}}}\"`",
                secret.namespace, secret.name
            ),
            None if self.is_base64 => {
                format!("put the output of `base64 -w0 ca.pem` into {}", self.path)
            }
            None => format!("put the PEM text of the CA into {}", self.path),
        }
    }

    /// The command that makes the Secret.
    pub(super) fn create_command(&self, reference: &SecretKeyRef) -> String {
        format!(
            "kubectl -n {} create secret generic {} --from-file={}=ca.pem",
            self.namespace, reference.secret.name, reference.key
        )
    }
}

/// `Secret velero/ca key ca.crt`, or nothing for what is written into the BSL itself.
impl fmt::Display for CaSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reference {
            Some(SecretKeyRef { secret, key }) => write!(f, "Secret {secret} key {key}"),
            None => Ok(()),
        }
    }
}
