//! Whether the API server asks velero-trust: what becomes of the requests that each webhook should
//! judge, deduced from the configurations, the Service that they call, and the certificate that it
//! presents. What a webhook should be is what the manifests of this version say.

mod registered;
mod shipped;
mod words;

use std::fmt;

use serde::Serialize;

use self::words::{cause, effect, fix};
use super::{HANDLERS, Handler, Operation};
use crate::ca::serving_certificate::{Refusal, ServingCertificate, Validity};
use crate::names;

pub use registered::{RegisteredWebhook, ServiceReference};
pub use words::{SET_BY_LEADER, renewal_fix};

/// What answers at the Service that a webhook calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Something is ready.
    Ready,
    /// Nothing is ready.
    NoEndpoint,
    /// The namespace of the Service does not exist.
    NoNamespace,
    /// Not known.
    Unknown,
}

/// The state of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WebhookState {
    /// Every request that it should judge is sent to this installation.
    Active,
    /// No configuration has it.
    Absent,
    /// It has no rule for some or all of the requests that it should judge.
    NoRules,
    /// It has no caBundle, so that calls fail.
    NoCaBundle,
    /// Its caBundle does not verify the serving certificate for the host that it calls, so that calls
    /// fail.
    WrongCaBundle,
    /// The serving certificate has expired, so that calls fail.
    CertificateExpired,
    /// Nothing answers the calls.
    NoEndpoint,
    /// The namespace that it calls does not exist.
    NoNamespace,
    /// It calls another installation.
    OtherInstallation,
    /// Somebody added conditions to it, so that it is not sent what does not meet them.
    Narrowed,
    /// It is not sent requests in `kube-system`, which the servers include.
    KubeSystemExcluded,
    /// It has another failurePolicy than in the manifests.
    OtherFailurePolicy,
    /// It could not be read.
    Unknown,
}

impl WebhookState {
    /// Returns the name in metrics, which is also the one in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Absent => "absent",
            Self::NoRules => "noRules",
            Self::NoCaBundle => "noCaBundle",
            Self::WrongCaBundle => "wrongCaBundle",
            Self::CertificateExpired => "certificateExpired",
            Self::Narrowed => "narrowed",
            Self::KubeSystemExcluded => "kubeSystemExcluded",
            Self::OtherFailurePolicy => "otherFailurePolicy",
            Self::NoEndpoint => "noEndpoint",
            Self::NoNamespace => "noNamespace",
            Self::OtherInstallation => "otherInstallation",
            Self::Unknown => "unknown",
        }
    }
}

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// velero-trust judges them.
    Judged,
    /// An installation in another namespace judges them.
    JudgedElsewhere,
    /// They pass and nobody judges them.
    Unjudged,
    /// Some of them pass and nobody judges these.
    PartlyUnjudged,
    /// The API server refuses them, because it cannot call the webhook.
    Refused,
    /// Not known.
    Unknown,
}

/// The state of one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookStatus {
    /// The resource that it judges.
    pub webhook: &'static str,
    /// The worst state of all its operations.
    pub state: WebhookState,
    /// What becomes of the requests in that state.
    pub requests: Effect,
    /// The cause and the effect, for people; empty if it is active.
    pub message: String,
    /// How to fix it; empty if it is active.
    pub fix: String,
}

impl WebhookStatus {
    /// Returns the status of each webhook when the configurations could not be read, for this
    /// reason.
    pub fn unknown(why: &str) -> Vec<Self> {
        let all = HANDLERS.iter().map(|handler| Self {
            webhook: handler.name(),
            state: WebhookState::Unknown,
            requests: Effect::Unknown,
            message: format!("whether {} are judged is not known: {why}", handler.plural),
            fix: String::new(),
        });
        all.collect()
    }

    /// Whether requests are judged by this installation as they should be, as far as known.
    pub const fn is_problem(&self) -> bool {
        !matches!(self.state, WebhookState::Active | WebhookState::Unknown)
    }
}

/// Writes the message and the fix.
impl fmt::Display for WebhookStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.fix)
    }
}

/// What becomes of the requests of one operation, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome<'w> {
    effect: Effect,
    state: WebhookState,
    /// The webhook that decides it.
    webhook: Option<&'w RegisteredWebhook>,
    /// What is wrong with it, if the state alone does not say so.
    detail: String,
}

/// Who makes webhooks active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// A person, with `certs --install`.
    ByCommand,
    /// The leader, which says why if it does not.
    ByLeader,
}

/// Who issues the serving certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Issuer {
    /// `certs --install`, or a tool such as cert-manager. Servers read it from files.
    #[default]
    Files,
    /// Each server, from a CA of velero-trust's own.
    Own,
    /// It is not known.
    Unknown,
}

/// The installation that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The certificate that its servers present; `None` if it is not known.
    pub certificate: Option<&'a ServingCertificate>,
    /// Whether its servers include `kube-system`, as far as known.
    pub includes_kube_system: bool,
    /// Who makes its webhooks active.
    pub activation: Activation,
    /// Who issues its certificate.
    pub issuer: Issuer,
    /// The time, in seconds since 1970.
    pub now: i64,
}

impl<'a> Installation<'a> {
    /// The installation in `namespace` that presents this certificate, for what depends on nothing else.
    pub const fn presenting(
        namespace: &'a str,
        certificate: &'a ServingCertificate,
        now: i64,
    ) -> Self {
        Self {
            namespace,
            certificate: Some(certificate),
            includes_kube_system: false,
            activation: Activation::ByLeader,
            issuer: Issuer::Files,
            now,
        }
    }
}

/// Returns the status of each webhook of the `installation`, when these are `registered`. `backend`
/// tells what answers at a Service.
pub fn judge(
    installation: Installation<'_>,
    registered: &[RegisteredWebhook],
    backend: impl Fn(&ServiceReference) -> Backend,
) -> Vec<WebhookStatus> {
    let status = |handler: &&'static Handler| {
        let webhooks = registered.iter().filter(|webhook| webhook.calls(handler));
        let webhooks: Vec<_> = webhooks.collect();
        let outcomes = handler.operations.iter().map(|operation| {
            let outcome = outcome(installation, handler, *operation, &webhooks, &backend);
            (*operation, outcome)
        });
        describe(installation, handler, &outcomes.collect::<Vec<_>>())
    };
    HANDLERS.iter().map(status).collect()
}

/// Where the API server verifies the certificate of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Wherever it asks, as far as known.
    Everywhere,
    /// Not by the caBundle of one webhook, which this text names.
    Partly(String),
    /// By the caBundle of none of the webhooks that it asks.
    Nowhere(String),
}

/// Returns where the API server verifies the certificate of the `installation`, with these webhooks
/// `registered`. What calls another installation does not count.
pub fn verification(
    installation: Installation<'_>,
    registered: &[RegisteredWebhook],
) -> Verification {
    let is_asked = |webhook: &&RegisteredWebhook| {
        let of_handler = |handler: &&Handler| {
            let mut operations = handler.operations.iter();
            webhook.calls(handler)
                && operations.any(|operation| webhook.is_asked(handler, operation.as_str()))
        };
        let service = webhook.service();
        service.is_some_and(|service| service.namespace == installation.namespace)
            && HANDLERS.iter().any(of_handler)
    };
    let (mut verifies, mut refusal) = (false, None);
    for webhook in registered.iter().filter(is_asked) {
        let configuration = &webhook.configuration;
        match call(installation, webhook, &|_: &ServiceReference| {
            Backend::Unknown
        }) {
            Some((WebhookState::WrongCaBundle, _, detail)) => {
                refusal.get_or_insert_with(|| {
                    format!(
                        "the caBundle of {configuration} does not verify the serving certificate: {detail}"
                    )
                });
            }
            Some((WebhookState::NoCaBundle, ..)) => {
                refusal.get_or_insert_with(|| format!("{configuration} has no caBundle"));
            }
            _ => verifies = true,
        }
    }
    match refusal {
        None => Verification::Everywhere,
        Some(why) if verifies => Verification::Partly(why),
        Some(why) => Verification::Nowhere(why),
    }
}

/// Returns what becomes of requests of `operation`. One webhook that cannot be called is enough to
/// refuse a request, and one that judges it is enough to judge it.
fn outcome<'w>(
    installation: Installation<'_>,
    handler: &Handler,
    operation: Operation,
    webhooks: &[&'w RegisteredWebhook],
    backend: &impl Fn(&ServiceReference) -> Backend,
) -> Outcome<'w> {
    let of_webhook = |webhook: &&'w RegisteredWebhook| {
        let (state, effect, detail) = if webhook.is_asked(handler, operation.as_str()) {
            let call = call(installation, webhook, backend);
            call.unwrap_or_else(|| compare(installation, handler, webhook))
        } else {
            (WebhookState::NoRules, Effect::Unjudged, String::new())
        };
        Outcome {
            effect,
            state,
            webhook: Some(webhook),
            detail,
        }
    };
    let outcomes = webhooks.iter().map(of_webhook);
    let strongest = outcomes.max_by_key(|outcome| {
        let effect = match outcome.effect {
            Effect::Refused => 4,
            Effect::Judged => 3,
            Effect::JudgedElsewhere => 2,
            Effect::PartlyUnjudged => 1,
            Effect::Unjudged | Effect::Unknown => 0,
        };
        (effect, outcome.state == WebhookState::Active)
    });
    strongest.unwrap_or(Outcome {
        effect: Effect::Unjudged,
        state: WebhookState::Absent,
        webhook: None,
        detail: String::new(),
    })
}

/// Returns why a call does not reach this installation, what becomes of it, and the detail; `None` if
/// it does, as far as known.
fn call(
    installation: Installation<'_>,
    webhook: &RegisteredWebhook,
    backend: &impl Fn(&ServiceReference) -> Backend,
) -> Option<(WebhookState, Effect, String)> {
    let failure = if webhook.refuses_on_failure() {
        Effect::Refused
    } else {
        Effect::Unjudged
    };
    let fails = |state| Some((state, failure, String::new()));
    let Some(ca_bundle) = webhook.ca_bundle() else {
        return fails(WebhookState::NoCaBundle);
    };
    if let Some(service) = webhook.service() {
        match backend(service) {
            Backend::NoNamespace => return fails(WebhookState::NoNamespace),
            Backend::NoEndpoint => return fails(WebhookState::NoEndpoint),
            Backend::Ready | Backend::Unknown => {}
        }
        if service.namespace != installation.namespace {
            let state = WebhookState::OtherInstallation;
            return Some((state, Effect::JudgedElsewhere, String::new()));
        }
    }
    let certificate = installation.certificate?;
    let refusal = certificate.refusal(&ca_bundle, &webhook.host()?, installation.now);
    match refusal {
        // What answers at a URL may be a proxy with a certificate of its own.
        Some(Refusal::WrongName(_)) if webhook.service().is_none() => None,
        Some(refusal @ (Refusal::Untrusted(_) | Refusal::WrongName(_))) => {
            Some((WebhookState::WrongCaBundle, failure, refusal.to_string()))
        }
        _ if certificate.validity(installation.now) == Validity::Expired => Some((
            WebhookState::CertificateExpired,
            failure,
            certificate.expiry_date(),
        )),
        _ => None,
    }
}

/// Returns what becomes of the requests that `webhook` is asked about, by what it is in the manifests.
fn compare(
    installation: Installation<'_>,
    handler: &Handler,
    webhook: &RegisteredWebhook,
) -> (WebhookState, Effect, String) {
    let active = (WebhookState::Active, Effect::Judged, String::new());
    let Some(shipped) = shipped::shipped(handler) else {
        return active;
    };
    if let Some(detail) = webhook.narrowed_by(shipped) {
        return (WebhookState::Narrowed, Effect::PartlyUnjudged, detail);
    }
    if installation.includes_kube_system
        && let Some(detail) = webhook.excludes(names::EXCLUDED_NAMESPACE)
    {
        let state = WebhookState::KubeSystemExcluded;
        return (state, Effect::PartlyUnjudged, detail);
    }
    if webhook.refuses_on_failure() != shipped.refuses_on_failure() {
        let policy = if webhook.refuses_on_failure() {
            "Fail, not Ignore"
        } else {
            "Ignore, not Fail"
        };
        let state = WebhookState::OtherFailurePolicy;
        return (state, Effect::Judged, policy.to_owned());
    }
    active
}

/// Describes the first outcome that is not as it should be, with all operations that it is true of.
fn describe(
    installation: Installation<'_>,
    handler: &Handler,
    outcomes: &[(Operation, Outcome<'_>)],
) -> WebhookStatus {
    let mut wrong = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.state != WebhookState::Active);
    let Some((_, first)) = wrong.clone().max_by_key(|(_, outcome)| {
        // Where requests are refused, somebody notices. What passes unjudged nobody does.
        matches!(outcome.effect, Effect::Unjudged | Effect::PartlyUnjudged)
    }) else {
        return WebhookStatus {
            webhook: handler.name(),
            state: WebhookState::Active,
            requests: Effect::Judged,
            message: String::new(),
            fix: String::new(),
        };
    };
    let operations = wrong.by_ref().filter(|(_, outcome)| outcome == first);
    let operations: Vec<_> = operations.map(|(operation, _)| *operation).collect();
    WebhookStatus {
        webhook: handler.name(),
        state: first.state,
        requests: first.effect,
        message: format!(
            "{}: {}",
            cause(installation.namespace, first, &operations),
            effect(handler, first, &operations)
        ),
        fix: fix(installation, first),
    }
}

#[cfg(test)]
mod tests;
