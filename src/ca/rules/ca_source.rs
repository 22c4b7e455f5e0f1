//! The place that a CA bundle comes from, as messages name it.

use std::fmt;

use super::Location;
use crate::ca::references::{CaReference, CaTarget};
use crate::decision::{FieldPath, Finding, Rule, SecretKeyRef};

/// The place that a CA bundle comes from: a key of a Secret, or a field of the location.
#[derive(Clone, Debug)]
pub(super) struct CaSource<'s> {
    pub(super) path: &'s FieldPath,
    pub(super) namespace: &'s str,
    /// The Secret and key that the source references, if it references any.
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

    /// Returns a finding about this source. `detail` distinguishes it from other findings of the
    /// same rule about the source, and must not depend on positions in the bundle.
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

    /// Returns how to replace the bundle.
    pub(super) fn replace_instruction(&self) -> String {
        match self.reference {
            // A patch, because `kubectl apply` would remove other keys, such as the credentials.
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

    /// Returns the command that creates the Secret.
    pub(super) fn create_command(&self, reference: &SecretKeyRef) -> String {
        format!(
            "kubectl -n {} create secret generic {} --from-file={}=ca.pem",
            self.namespace, reference.secret.name, reference.key
        )
    }
}

/// Writes `Secret velero/ca key ca.crt`, or nothing if the bundle is in the BSL itself.
impl fmt::Display for CaSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reference {
            Some(SecretKeyRef { secret, key }) => write!(f, "Secret {secret} key {key}"),
            None => Ok(()),
        }
    }
}
