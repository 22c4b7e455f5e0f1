//! Why nothing, or not everything, is active.

use std::fmt;

use super::OLDEST_KUBERNETES;
use super::canary::Heard;
use crate::names;

/// Why a webhook that is not active stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Somebody said so, by a ConfigMap in this namespace.
    Off(String),
    /// The Deployment in this namespace, or the namespace, is being deleted.
    Removed(String),
    /// The API server drops `matchConditions`.
    OldKubernetes((u32, u32)),
    /// The manifests of the canary are not applied.
    NoCanary,
    /// A configuration calls a path that this version does not serve.
    UnknownPath {
        /// Kind and name.
        configuration: String,
        /// The path.
        why: String,
    },
    /// The CA of the serving certificate is not known.
    NoCa(String),
    /// The CA beside the serving certificate is not that of it.
    WrongCa(String),
    /// The caBundle that somebody else sets does not verify the serving certificate, or is empty.
    OthersCaBundle {
        /// Kind and name.
        configuration: String,
        /// Who sets it.
        manager: String,
        /// Why it does not verify the certificate; `None` if it is empty.
        why: Option<String>,
    },
    /// Not every replica of the Deployment in this namespace is new and ready.
    NotRolledOut(String),
    /// The canary did not come back as it should.
    Canary(Heard),
}

/// Writes what is wrong.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off(namespace) => write!(
                f,
                "ConfigMap {namespace}/{} is there, so no webhook is made active",
                names::OFF
            ),
            Self::Removed(namespace) => write!(
                f,
                "Deployment {namespace}/{} or its namespace is being deleted, so no webhook is active",
                names::APP
            ),
            Self::OldKubernetes((major, minor)) => write!(
                f,
                "the cluster is Kubernetes {major}.{minor}, and velero-trust needs {}.{} for \
                 `matchConditions`, so no webhook is made active",
                OLDEST_KUBERNETES.0, OLDEST_KUBERNETES.1
            ),
            Self::NoCanary => f.write_str(
                "ValidatingWebhookConfiguration velero-trust-canary is not there, so no webhook is made active",
            ),
            Self::UnknownPath { configuration, why } => {
                write!(f, "{configuration} is not made active: {why}")
            }
            Self::NoCa(why) => write!(
                f,
                "the CA of the serving certificate is not known, so no webhook is made active: {why}"
            ),
            Self::WrongCa(why) => write!(
                f,
                "ca.crt beside the serving certificate does not verify it, so no webhook is made active: {why}"
            ),
            Self::OthersCaBundle {
                configuration,
                manager,
                why,
            } => match why {
                Some(why) => write!(
                    f,
                    "the caBundle of {configuration}, which is set by {manager}, does not verify the serving \
                     certificate: {why}"
                ),
                None => write!(
                    f,
                    "the caBundle of {configuration}, which is set by {manager}, is empty"
                ),
            },
            Self::NotRolledOut(namespace) => write!(
                f,
                "Deployment {namespace}/{} is not rolled out, so no webhook is made active",
                names::APP
            ),
            Self::Canary(heard) => {
                f.write_str("the API server does not reach velero-trust, so no webhook is made active: ")?;
                heard.fmt(f)
            }
        }
    }
}

impl Held {
    /// Returns what to do about it.
    pub fn fix(&self) -> String {
        let app = names::APP;
        match self {
            Self::Off(namespace) => {
                format!("to end it, run `{app} emergency-off --undo --namespace {namespace}`")
            }
            Self::Removed(_) => "to keep it, apply the manifests again".to_owned(),
            Self::OldKubernetes(_) => "upgrade the cluster".to_owned(),
            Self::NoCanary => "apply your kustomization of the manifests again".to_owned(),
            Self::UnknownPath { .. } => {
                "apply the manifests of this version, or delete the configuration".to_owned()
            }
            Self::NoCa(_) => {
                "have the tool that issues the certificate write ca.crt into its Secret, or let it set the \
                 caBundle itself"
                    .to_owned()
            }
            Self::WrongCa(_) => {
                "see which tool writes the Secret with the serving certificate".to_owned()
            }
            Self::OthersCaBundle { manager, .. } => {
                format!("see why {manager} does not set that of the serving certificate")
            }
            Self::NotRolledOut(namespace) => format!(
                "see `kubectl -n {namespace} get deployments,pods -l app.kubernetes.io/name={app}`"
            ),
            Self::Canary(heard) => heard.outcome.cause().to_owned(),
        }
    }

    /// Whether it is over by itself in most cases, as while an installation goes on.
    pub const fn is_expected(&self) -> bool {
        matches!(self, Self::NotRolledOut(_))
    }
}
