//! The words about the state of a webhook: its cause, what becomes of requests, and the fix.

use super::{
    Activation, Effect, Installation, Issuer, Outcome, RegisteredWebhook, ServiceReference,
    WebhookState,
};
use crate::admission::{Handler, Mode, Operation};
use crate::names;

/// Returns why requests of `operations` are not judged as they should be.
pub(super) fn cause(own: &str, outcome: &Outcome<'_>, operations: &[Operation]) -> String {
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
        WebhookState::WrongCaBundle => format!(
            "the caBundle of {name} does not verify the serving certificate ({}), so every new connection fails",
            outcome.detail
        ),
        WebhookState::CertificateExpired => format!(
            "the serving certificate that {name} calls expired on {}, so every new connection fails",
            outcome.detail
        ),
        WebhookState::Narrowed => format!(
            "{name} has {}, which the manifests do not have",
            outcome.detail
        ),
        WebhookState::KubeSystemExcluded => format!(
            "{name} has the namespaceSelector `{}`, though {} is started with --include-kube-system",
            outcome.detail,
            names::APP
        ),
        WebhookState::OtherFailurePolicy => {
            format!("the failurePolicy of {name} is {}", outcome.detail)
        }
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

/// Returns what becomes of requests of `operations`.
pub(super) fn effect(handler: &Handler, outcome: &Outcome<'_>, operations: &[Operation]) -> String {
    let verbs = operations.iter().map(|operation| match operation.as_str() {
        "CREATE" => "created",
        _ => "changed",
    });
    let verbs: Vec<_> = verbs.collect();
    let what = format!("{} that are {}", handler.plural, verbs.join(" or "));
    let unjudged = handler.unjudged;
    match (outcome.effect, handler.mode) {
        (Effect::Judged, Mode::Mutate) => {
            format!(
                "{what} are refused, and backups fail, whenever {} does not answer",
                names::APP
            )
        }
        (Effect::Judged, Mode::Validate | Mode::Gate) => {
            format!("{what} {unjudged} whenever {} does not answer", names::APP)
        }
        _ if outcome.state == WebhookState::KubeSystemExcluded => {
            format!("{what} in {} {unjudged} now", names::EXCLUDED_NAMESPACE)
        }
        (Effect::PartlyUnjudged, _) => format!("{what} {unjudged} now where that is not met"),
        (Effect::Refused, _) => format!("{what} are refused now"),
        (Effect::JudgedElsewhere, _) => format!("that one decides about {what}"),
        _ => format!("{what} {unjudged} now"),
    }
}

/// Returns what to do about it.
pub(super) fn fix(installation: Installation<'_>, outcome: &Outcome<'_>) -> String {
    let app = names::APP;
    let own = installation.namespace;
    if installation.activation == Activation::ByLeader
        && let Some(fix) = fix_by_leader(own, outcome)
    {
        return fix;
    }
    let certs = format!("{app} certs --install --namespace {own}");
    let service = outcome.webhook.and_then(RegisteredWebhook::service);
    let namespace = service.map_or(own, |service| service.namespace.as_str());
    match outcome.state {
        WebhookState::Active | WebhookState::Unknown => String::new(),
        WebhookState::NoRules | WebhookState::NoCaBundle => format!("run `{certs}`"),
        WebhookState::WrongCaBundle => format!(
            "run `{certs}`; where another tool, such as cert-manager, issues the certificate, let it set \
             its CA as the caBundle"
        ),
        WebhookState::CertificateExpired => renewal_fix(own, installation.issuer),
        WebhookState::Narrowed => {
            let (kind, name) = kind_and_name(outcome);
            format!("take it out with `kubectl edit {kind} {name}`, unless it is meant")
        }
        WebhookState::KubeSystemExcluded => {
            "add the component manifests/components/kube-system to your kustomization and apply it \
             (docs/bundle.md)"
                .to_owned()
        }
        WebhookState::OtherFailurePolicy => {
            "apply your kustomization of the manifests again".to_owned()
        }
        WebhookState::Absent => {
            format!("apply your kustomization of the manifests, then run `{certs}`")
        }
        WebhookState::NoNamespace => {
            let (kind, name) = kind_and_name(outcome);
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

/// Returns what to do where the leader makes webhooks active; `None` where that makes no difference.
fn fix_by_leader(own: &str, outcome: &Outcome<'_>) -> Option<String> {
    Some(match outcome.state {
        WebhookState::NoRules | WebhookState::NoCaBundle | WebhookState::WrongCaBundle => {
            SET_BY_LEADER.to_owned()
        }
        WebhookState::Absent => "apply your kustomization of the manifests again".to_owned(),
        WebhookState::OtherInstallation => {
            format!("uninstall one of the two; to keep the one in {own}, apply its manifests again")
        }
        _ => return None,
    })
}

/// What to do about rules or a caBundle that the leader sets.
pub const SET_BY_LEADER: &str = "the leader sets it by itself; what keeps it from that is told by \
                                 `velero-trust status` and the Event WebhooksHeld";

/// Returns how to renew the serving certificate of the installation in namespace `own`.
pub fn renewal_fix(own: &str, issuer: Issuer) -> String {
    let app = names::APP;
    match issuer {
        Issuer::Files => format!(
            "run `{app} certs --install --namespace {own}`, or renew it where another tool, such as \
             cert-manager, issues it; if it was renewed, see the log of {app}"
        ),
        Issuer::Unknown => format!(
            "each replica renews one of its own by itself; if it comes from files, run `{app} certs --install \
             --namespace {own}`, or renew it where another tool issues it"
        ),
        Issuer::Own => format!(
            "each replica renews it by itself; see the clock of its node, and \
             `kubectl -n {own} logs -l app.kubernetes.io/name={app}`"
        ),
    }
}

/// Returns kind and name of the configuration, as kubectl takes them.
fn kind_and_name(outcome: &Outcome<'_>) -> (String, String) {
    let configuration = outcome
        .webhook
        .map(|webhook| webhook.configuration.as_str());
    let configuration = configuration.and_then(|configuration| configuration.split_once(' '));
    let (kind, name) = configuration.unwrap_or_default();
    (kind.to_lowercase(), name.to_owned())
}
