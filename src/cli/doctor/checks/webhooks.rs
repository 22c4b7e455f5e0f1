//! Checks the webhook configurations, and the certificate that the webhooks present.

use super::causes::Prerequisite;
use super::server::effect_without_replicas;
use super::{CheckSubject, Diagnostic, describe_expiry};
use crate::admission::webhook_state::{
    Activation, Issuer, SET_BY_LEADER, WebhookState, WebhookStatus, renewal_fix,
};
use crate::admission::{HANDLERS, Handler};
use crate::ca::serving_certificate::{Refusal, ServingCertificate, Validity};
use crate::cli::advice::install;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Webhook};
use crate::cli::doctor::diagnostic::Level;
use crate::cli::install::TLS_SECRET;
use crate::cli::snapshot::activation;

/// Checks that all webhooks exist and are active. Whether they are is what `status` says.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let webhooks = match &cluster.webhooks {
        Err(why) => {
            return vec![CheckSubject::new("webhooks", "webhook configurations").unknown(why)];
        }
        Ok(webhooks) => webhooks,
    };
    let mut diagnostics = Vec::new();
    for handler in HANDLERS {
        let calls = |webhook: &&Webhook| is_own(webhook) && webhook.path.ends_with(handler.path);
        let own = webhooks.iter().filter(calls);
        diagnostics.extend(check_handler(cluster, handler, &own.collect::<Vec<_>>()));
    }
    let others = webhooks.iter().filter(|webhook| !is_own(webhook));
    diagnostics.extend(others.map(|webhook| describe_other(cluster, webhook)));
    diagnostics
}

/// Checks the webhooks of this installation that call `handler`.
fn check_handler(
    cluster: &ClusterSnapshot,
    handler: &Handler,
    webhooks: &[&Webhook],
) -> Vec<Diagnostic> {
    let activate = match activation(&cluster.activation) {
        Activation::ByLeader => SET_BY_LEADER.to_owned(),
        Activation::ByCommand => activate_command(cluster),
    };
    if webhooks.is_empty() {
        let subject = CheckSubject::new("webhooks", handler.path);
        let fix = install(&cluster.namespace);
        return vec![subject.fail("no webhook configuration asks it", fix)];
    }
    let subject = |webhook: &Webhook| {
        let name = format!("{}, {}", webhook.configuration, webhook.name);
        CheckSubject::new("webhooks", name)
    };
    let inactive = webhooks.iter().filter(|webhook| !is_active(webhook));
    let mut diagnostics: Vec<_> = inactive
        .map(|webhook| {
            let message = if webhook.has_rules {
                "has no caBundle, so every call to it fails"
            } else {
                "has no rules, so it is sent nothing"
            };
            subject(webhook).fail(message, &activate)
        })
        .collect();
    let active = webhooks.iter().filter(|webhook| is_active(webhook));
    match problem(cluster, handler) {
        None => diagnostics.extend(active.map(|webhook| subject(webhook).ok("is active"))),
        Some(status) if diagnostics.is_empty() && !is_told(cluster, status) => {
            let subject = CheckSubject::new("webhooks", status.webhook);
            diagnostics.push(subject.fail(&status.message, &status.fix));
        }
        Some(_) => {}
    }
    diagnostics
}

/// Describes a webhook that an earlier version left behind, or that calls another installation.
fn describe_other(cluster: &ClusterSnapshot, webhook: &Webhook) -> Diagnostic {
    let name = format!("{}, {}", webhook.configuration, webhook.name);
    let subject = CheckSubject::new("webhooks", name);
    if let Some(other) = &webhook.other_namespace {
        return subject.warn(
            format!("calls another installation of velero-trust, in namespace {other}"),
            second_installation_fix(cluster, other),
        );
    }
    let message = if webhook.has_rules {
        "an earlier version left it behind, and it is still sent requests"
    } else {
        "an earlier version left it behind; it is sent nothing"
    };
    subject.warn(message, &webhook.delete)
}

/// Returns what `status` says about the webhook that calls `handler`, if that is a problem.
pub(super) fn problem<'c>(
    cluster: &'c ClusterSnapshot,
    handler: &Handler,
) -> Option<&'c WebhookStatus> {
    let mut problems = cluster.states.iter().filter(|status| status.is_problem());
    problems.find(|status| status.webhook == handler.name())
}

/// Whether another check tells the cause of this `status`.
fn is_told(cluster: &ClusterSnapshot, status: &WebhookStatus) -> bool {
    match status.state {
        WebhookState::NoEndpoint => Prerequisite::Running.unmet(cluster).is_some(),
        WebhookState::WrongCaBundle | WebhookState::CertificateExpired => {
            let found = check_certificate(cluster);
            found.iter().any(|one| one.level == Level::Fail)
        }
        _ => false,
    }
}

fn is_own(webhook: &Webhook) -> bool {
    !webhook.is_retired && webhook.other_namespace.is_none()
}

/// Whether a webhook of this installation is sent requests, and can be called.
pub(super) fn is_active(webhook: &Webhook) -> bool {
    is_own(webhook) && webhook.has_rules && !webhook.ca.is_empty()
}

/// Whether the value of `tls.crt` contains a certificate.
pub(super) fn has_certificate(text: Option<&str>) -> bool {
    ServingCertificate::from_pem(text.unwrap_or_default().as_bytes()).is_some()
}

/// Warns about installations in other namespaces.
pub(super) fn check_installations(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = || CheckSubject::new("installations", "velero-trust");
    let others = match &cluster.other_installations {
        Err(why) => return vec![subject().unknown(why)],
        Ok(others) => others.iter(),
    };
    let warn = |other: &String| {
        subject().warn(
            format!(
                "there is another installation in namespace {other}; both write the bundles, and only \
                 one can have the webhook configurations of the manifests"
            ),
            second_installation_fix(cluster, other),
        )
    };
    others.map(warn).collect()
}

fn second_installation_fix(cluster: &ClusterSnapshot, other: &str) -> String {
    format!(
        "keep one of the two: uninstall the one in {other}, or use --namespace {other} and uninstall the \
         one in {} (docs/install.md)",
        cluster.namespace
    )
}

/// Checks that the API server accepts the certificate, and that it does not expire soon.
pub(super) fn check_certificate(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    if cluster.issues_itself() {
        return check_own_certificate(cluster);
    }
    let name = format!("Secret {}/{TLS_SECRET}", cluster.namespace);
    let subject = |check| CheckSubject::new(check, name.clone());
    let text = match &cluster.certificate {
        Err(why) => {
            let presented = cluster.presented.iter();
            let expiry = presented.map(|one| check_expiry(cluster, one, subject("expiry")));
            let unknown = subject("certificate").unknown(why);
            return std::iter::once(unknown).chain(expiry).collect();
        }
        Ok(text) => text.as_deref().unwrap_or_default(),
    };
    let Some(certificate) = ServingCertificate::from_pem(text.as_bytes()) else {
        let message = format!("there is no certificate in its tls.crt{}", effect(cluster));
        return vec![subject("certificate").fail(message, activate_command(cluster))];
    };
    vec![
        check_trust(cluster, &certificate, subject("certificate")),
        check_expiry(cluster, &certificate, subject("expiry")),
    ]
}

/// Checks the certificate that the leader presents, of an installation that issues its own, and their CA.
fn check_own_certificate(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = |check| CheckSubject::new(check, "the serving certificate of the leader");
    let Some(certificate) = &cluster.presented else {
        return vec![subject("certificate").unknown("the leader has not published it")];
    };
    let report = cluster.activation.as_ref().ok().and_then(Option::as_ref);
    let ca = report.and_then(|report| report.serving_ca.as_ref());
    let ca = ca.and_then(|ca| ca.not_after).map(|until| {
        let subject = CheckSubject::new("expiry", "the CA of the serving certificates");
        let text = describe_expiry(cluster.now, until.as_second());
        if until.as_second() < cluster.now {
            return subject.fail(text, renewal_command(cluster));
        }
        subject.ok(format!("{text}; the leader replaces it before"))
    });
    let checked = [
        check_trust(cluster, certificate, subject("certificate")),
        check_expiry(cluster, certificate, subject("expiry")),
    ];
    checked.into_iter().chain(ca).collect()
}

/// Returns what follows from the missing certificate while no replica is available; empty if one is.
fn effect(cluster: &ClusterSnapshot) -> String {
    match cluster.replicas() {
        Some((0, wanted)) if wanted > 0 => format!(
            ", so that none of {wanted} replicas starts{}",
            effect_without_replicas(cluster)
        ),
        _ => String::new(),
    }
}

/// Checks that the caBundle of every webhook that has one verifies the certificate.
fn check_trust(
    cluster: &ClusterSnapshot,
    certificate: &ServingCertificate,
    subject: CheckSubject,
) -> Diagnostic {
    let webhooks = match &cluster.webhooks {
        Err(why) => return subject.unknown(why),
        Ok(webhooks) => webhooks
            .iter()
            .filter(|webhook| webhook.other_namespace.is_none() && !webhook.ca.is_empty()),
    };
    let mut count = 0;
    for webhook in webhooks {
        match certificate.refusal(&webhook.ca, &webhook.host, cluster.now) {
            None => count += 1,
            Some(Refusal::Undecided) => {
                let message = format!(
                    "whether the caBundle of {} verifies it is not known",
                    webhook.name
                );
                return subject.unknown(message);
            }
            Some(why) => {
                let message = format!("the caBundle of {} does not verify it: {why}", webhook.name);
                return subject.fail(message, activate_command(cluster));
            }
        }
    }
    subject.ok(format!("is verified by the caBundles of {count} webhooks"))
}

fn check_expiry(
    cluster: &ClusterSnapshot,
    certificate: &ServingCertificate,
    subject: CheckSubject,
) -> Diagnostic {
    let message = describe_expiry(cluster.now, certificate.not_after());
    match certificate.validity(cluster.now) {
        Validity::Expired => {
            let message = format!("{message}; every call to the webhook fails");
            subject.fail(message, renewal_command(cluster))
        }
        Validity::ExpiresSoon => subject.fail(message, renewal_command(cluster)),
        Validity::Valid => subject.ok(message),
    }
}

/// Returns what renews the certificate.
fn renewal_command(cluster: &ClusterSnapshot) -> String {
    if cluster.issues_itself() {
        return renewal_fix(&cluster.namespace, Issuer::Own);
    }
    activate_command(cluster)
}

/// Returns what activates the webhooks with a certificate that they trust: a command, where one is needed.
fn activate_command(cluster: &ClusterSnapshot) -> String {
    if cluster.issues_itself() {
        return SET_BY_LEADER.to_owned();
    }
    format!(
        "velero-trust certs --install --namespace {}",
        cluster.namespace
    )
}
