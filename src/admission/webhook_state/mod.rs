//! Whether the API server asks velero-trust: what becomes of the requests that each webhook should
//! judge, deduced from the rules, the caBundle and the Service of the configurations.

mod registered;

use std::fmt;

use serde::Serialize;

use super::{HANDLERS, Handler, Mode, Operation};
use crate::names;

pub use registered::{RegisteredWebhook, ServiceReference};

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
    /// Nothing answers the calls.
    NoEndpoint,
    /// The namespace that it calls does not exist.
    NoNamespace,
    /// It calls another installation.
    OtherInstallation,
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
            webhook: handler.resource,
            state: WebhookState::Unknown,
            requests: Effect::Unknown,
            message: format!("whether {} are judged is not known: {why}", plural(handler)),
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
}

/// Returns the status of each webhook of the installation in namespace `own`, when these are
/// `registered`. `backend` tells what answers at a Service.
pub fn judge(
    own: &str,
    registered: &[RegisteredWebhook],
    backend: impl Fn(&ServiceReference) -> Backend,
) -> Vec<WebhookStatus> {
    let status = |handler: &&'static Handler| {
        let webhooks = registered.iter().filter(|webhook| webhook.calls(handler));
        let webhooks: Vec<_> = webhooks.collect();
        let outcomes = handler.operations.iter().map(|operation| {
            let outcome = outcome(own, handler, *operation, &webhooks, &backend);
            (*operation, outcome)
        });
        describe(own, handler, &outcomes.collect::<Vec<_>>())
    };
    HANDLERS.iter().map(status).collect()
}

/// Returns what becomes of requests of `operation`. One webhook that cannot be called is enough to
/// refuse a request, and one that judges it is enough to judge it.
fn outcome<'w>(
    own: &str,
    handler: &Handler,
    operation: Operation,
    webhooks: &[&'w RegisteredWebhook],
    backend: &impl Fn(&ServiceReference) -> Backend,
) -> Outcome<'w> {
    let of_webhook = |webhook: &&'w RegisteredWebhook| {
        let (state, effect) = if webhook.is_asked(handler, operation.as_str()) {
            call(own, webhook, backend)
        } else {
            (WebhookState::NoRules, Effect::Unjudged)
        };
        Outcome {
            effect,
            state,
            webhook: Some(webhook),
        }
    };
    let outcomes = webhooks.iter().map(of_webhook);
    let strongest = outcomes.max_by_key(|outcome| match outcome.effect {
        Effect::Refused => 3,
        Effect::Judged => 2,
        Effect::JudgedElsewhere => 1,
        Effect::Unjudged | Effect::Unknown => 0,
    });
    strongest.unwrap_or(Outcome {
        effect: Effect::Unjudged,
        state: WebhookState::Absent,
        webhook: None,
    })
}

/// Returns what becomes of a call.
fn call(
    own: &str,
    webhook: &RegisteredWebhook,
    backend: &impl Fn(&ServiceReference) -> Backend,
) -> (WebhookState, Effect) {
    let failure = if webhook.refuses_on_failure() {
        Effect::Refused
    } else {
        Effect::Unjudged
    };
    if !webhook.has_ca_bundle() {
        return (WebhookState::NoCaBundle, failure);
    }
    let Some(service) = webhook.service() else {
        return (WebhookState::Active, Effect::Judged);
    };
    match backend(service) {
        Backend::NoNamespace => (WebhookState::NoNamespace, failure),
        Backend::NoEndpoint => (WebhookState::NoEndpoint, failure),
        Backend::Ready | Backend::Unknown if service.namespace != own => {
            (WebhookState::OtherInstallation, Effect::JudgedElsewhere)
        }
        Backend::Ready | Backend::Unknown => (WebhookState::Active, Effect::Judged),
    }
}

/// Describes the first outcome that is not as it should be, with all operations that it is true of.
fn describe(own: &str, handler: &Handler, outcomes: &[(Operation, Outcome<'_>)]) -> WebhookStatus {
    let mut wrong = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.effect != Effect::Judged);
    let Some((_, first)) = wrong.clone().max_by_key(|(_, outcome)| {
        // Where requests are refused, somebody notices. What passes unjudged nobody does.
        outcome.effect == Effect::Unjudged
    }) else {
        return WebhookStatus {
            webhook: handler.resource,
            state: WebhookState::Active,
            requests: Effect::Judged,
            message: String::new(),
            fix: String::new(),
        };
    };
    let operations = wrong.by_ref().filter(|(_, outcome)| outcome == first);
    let operations: Vec<_> = operations.map(|(operation, _)| *operation).collect();
    WebhookStatus {
        webhook: handler.resource,
        state: first.state,
        requests: first.effect,
        message: format!(
            "{}: {}",
            cause(own, first, &operations),
            effect(handler, first.effect, &operations)
        ),
        fix: fix(own, first),
    }
}

fn cause(own: &str, outcome: &Outcome<'_>, operations: &[Operation]) -> String {
    let name = outcome
        .webhook
        .map(|webhook| webhook.configuration.as_str());
    let name = name.unwrap_or_default();
    let service = outcome.webhook.and_then(RegisteredWebhook::service);
    let service = service.cloned().unwrap_or_default();
    let ServiceReference {
        namespace,
        name: service,
        ..
    } = &service;
    match outcome.state {
        WebhookState::Active | WebhookState::Unknown => String::new(),
        WebhookState::Absent => "no webhook configuration calls velero-trust".to_owned(),
        WebhookState::NoRules if outcome.webhook.is_some_and(RegisteredWebhook::has_rules) => {
            let names = operations.iter().map(|operation| operation.as_str());
            let names: Vec<_> = names.collect();
            format!("{name} has no rule for {}", names.join(" and "))
        }
        WebhookState::NoRules => format!("{name} has no rules"),
        WebhookState::NoCaBundle => format!("{name} has no caBundle, so every call fails"),
        WebhookState::NoEndpoint => {
            format!("{name} calls Service {namespace}/{service}, which has no ready endpoint")
        }
        WebhookState::NoNamespace => {
            format!("{name} calls namespace {namespace}, which is not there")
        }
        WebhookState::OtherInstallation => {
            format!("{name} calls the installation in namespace {namespace}, not the one in {own}")
        }
    }
}

fn effect(handler: &Handler, effect: Effect, operations: &[Operation]) -> String {
    let verbs = operations.iter().map(|operation| match operation.as_str() {
        "CREATE" => "created",
        _ => "changed",
    });
    let verbs: Vec<_> = verbs.collect();
    let what = format!("{} that are {}", plural(handler), verbs.join(" or "));
    match (effect, handler.mode) {
        (Effect::Refused, _) => format!("{what} are refused now"),
        (Effect::Unjudged, Mode::Mutate) => format!("{what} start without the CA bundle now"),
        (Effect::JudgedElsewhere, _) => format!("that one decides about {what}"),
        _ => format!("{what} pass unjudged now"),
    }
}

fn fix(own: &str, outcome: &Outcome<'_>) -> String {
    let app = names::APP;
    let certs = format!("{app} certs --install --namespace {own}");
    let service = outcome.webhook.and_then(RegisteredWebhook::service);
    let namespace = service.map_or(own, |service| service.namespace.as_str());
    match outcome.state {
        WebhookState::Active | WebhookState::Unknown => String::new(),
        WebhookState::NoRules | WebhookState::NoCaBundle => format!("run `{certs}`"),
        WebhookState::Absent => format!("apply the manifests, then run `{certs}`"),
        WebhookState::NoNamespace => {
            let (kind, name) = outcome
                .webhook
                .and_then(|webhook| webhook.configuration.split_once(' '))
                .unwrap_or_default();
            let kind = kind.to_lowercase();
            format!(
                "install {app} again, or, if it should be gone, run `kubectl delete {kind} {name}`"
            )
        }
        WebhookState::NoEndpoint => format!(
            "see `kubectl -n {namespace} get deployments,pods -l app.kubernetes.io/name={app}`"
        ),
        WebhookState::OtherInstallation => format!(
            "uninstall one of the two; to keep the one in {own}, apply its manifests again, then run \
             `{certs}`; to keep the other, use --namespace {namespace}"
        ),
    }
}

/// Returns the plural of the kind that `handler` judges.
fn plural(handler: &Handler) -> String {
    match handler.mode {
        Mode::Validate => format!("{}s", handler.kind),
        Mode::Mutate => format!("{}s of Velero", handler.kind),
    }
}

#[cfg(test)]
mod tests;
