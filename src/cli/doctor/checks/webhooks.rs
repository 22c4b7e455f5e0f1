//! Checks the webhook configurations, and the certificate that the webhooks present.

use super::{CheckSubject, Diagnostic, describe_expiry};
use crate::admission::HANDLERS;
use crate::admission::webhook_state::{WebhookState, WebhookStatus};
use crate::ca::serving_certificate::{Refusal, ServingCertificate, Validity};
use crate::cli::advice::apply_manifests;
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, Webhook};
use crate::cli::install::TLS_SECRET;

/// Checks that all webhooks exist and are active.
pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let webhooks = match &cluster.webhooks {
        Err(why) => {
            return vec![CheckSubject::new("webhooks", "webhook configurations").unknown(why)];
        }
        Ok(webhooks) => webhooks,
    };
    let activate = activate_command(cluster);
    let mut diagnostics = Vec::new();
    for handler in HANDLERS {
        let calls = |webhook: &Webhook| {
            !webhook.is_retired
                && webhook.other_namespace.is_none()
                && webhook.path.ends_with(handler.path)
        };
        if !webhooks.iter().any(calls) {
            diagnostics.push(CheckSubject::new("webhooks", handler.path).fail(
                "no webhook configuration asks it",
                apply_manifests(&cluster.namespace, true),
            ));
        }
    }
    for webhook in webhooks {
        let name = format!("{}, {}", webhook.configuration, webhook.name);
        let subject = CheckSubject::new("webhooks", name);
        if let Some(other) = &webhook.other_namespace {
            diagnostics.push(subject.warn(
                format!("calls another installation of velero-trust, in namespace {other}"),
                second_installation_fix(cluster, other),
            ));
            continue;
        }
        if webhook.is_retired {
            diagnostics.push(subject.warn(
                if webhook.has_rules {
                    "an earlier version left it behind, and it is still sent requests"
                } else {
                    "an earlier version left it behind; it is sent nothing"
                },
                &webhook.delete,
            ));
            continue;
        }
        diagnostics.push(match (webhook.has_rules, webhook.ca.is_empty()) {
            (true, false) => subject.ok("is active"),
            (false, _) => subject.fail("has no rules, so it is sent nothing", &activate),
            (true, true) => subject.fail("has no caBundle, so every call to it fails", &activate),
        });
    }
    diagnostics
}

/// Whether a webhook of this installation is sent requests, and can be called.
pub(super) fn is_active(webhook: &Webhook) -> bool {
    !webhook.is_retired
        && webhook.other_namespace.is_none()
        && webhook.has_rules
        && !webhook.ca.is_empty()
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
    let name = format!("Secret {}/{TLS_SECRET}", cluster.namespace);
    let subject = |check| CheckSubject::new(check, name.clone());
    let text = match &cluster.certificate {
        Err(why) => return vec![subject("certificate").unknown(why)],
        Ok(text) => text.as_deref().unwrap_or_default(),
    };
    let Some(certificate) = ServingCertificate::from_pem(text.as_bytes()) else {
        let message = "there is no certificate in its tls.crt";
        return vec![subject("certificate").fail(message, activate_command(cluster))];
    };
    vec![
        check_trust(cluster, &certificate, subject("certificate")),
        check_expiry(cluster, &certificate, subject("expiry")),
    ]
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

/// Reports what else the webhooks are not: what [`check`] and [`check_trust`] do not find.
pub(super) fn check_states(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let is_told = |status: &&WebhookStatus| {
        matches!(
            status.state,
            WebhookState::Narrowed | WebhookState::OtherFailurePolicy
        )
    };
    let found = cluster.states.iter().filter(is_told);
    let warn = |status: &WebhookStatus| {
        let subject = CheckSubject::new("webhooks", status.webhook);
        subject.warn(&status.message, &status.fix)
    };
    found.map(warn).collect()
}

fn check_expiry(
    cluster: &ClusterSnapshot,
    certificate: &ServingCertificate,
    subject: CheckSubject,
) -> Diagnostic {
    let message = describe_expiry(cluster.now, certificate.not_after());
    match certificate.validity(cluster.now) {
        Validity::Expired => subject.fail(
            format!("{message}; every call to the webhook fails"),
            activate_command(cluster),
        ),
        Validity::ExpiresSoon => subject.warn(message, activate_command(cluster)),
        Validity::Valid => subject.ok(message),
    }
}

/// Returns the command that creates a certificate and activates the webhooks.
fn activate_command(cluster: &ClusterSnapshot) -> String {
    format!(
        "velero-trust certs --install --namespace {}",
        cluster.namespace
    )
}
