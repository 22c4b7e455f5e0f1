//! Checks the webhook configurations, and the certificate that the webhooks present.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{CheckSubject, Diagnostic, EXPIRY_WARNING_SECONDS, describe_expiry};
use crate::admission::HANDLERS;
use crate::ca::certificate::Certificate;
use crate::ca::pem;
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
            webhook.retired.is_none()
                && webhook.other_namespace.is_none()
                && webhook.path.ends_with(handler.path)
        };
        if !webhooks.iter().any(calls) {
            diagnostics.push(CheckSubject::new("webhooks", handler.path).fail(
                "no webhook configuration asks it",
                if cluster.is_absent() {
                    activate.clone()
                } else {
                    format!("kubectl apply -k manifests && {activate}")
                },
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
        if let Some(delete) = &webhook.retired {
            diagnostics.push(subject.warn(
                if webhook.has_rules {
                    "an earlier version left it behind, and it is still sent requests"
                } else {
                    "an earlier version left it behind; it is sent nothing"
                },
                delete,
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
         one in {}",
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
    let chain = pem::read(text.as_bytes()).certificates;
    let Some(leaf) = chain.first() else {
        let message = "there is no certificate in its tls.crt";
        return vec![subject("certificate").fail(message, activate_command(cluster))];
    };
    vec![
        check_trust(cluster, &chain, subject("certificate")),
        check_expiry(cluster, leaf, subject("expiry")),
    ]
}

/// Checks that the caBundle of every webhook that has one verifies the certificate.
fn check_trust(
    cluster: &ClusterSnapshot,
    chain: &[Certificate],
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
        if let Err(why) = verify(chain, webhook, cluster.now) {
            let message = format!("the caBundle of {} does not verify it: {why}", webhook.name);
            return subject.fail(message, activate_command(cluster));
        }
        count += 1;
    }
    subject.ok(format!("is verified by the caBundles of {count} webhooks"))
}

/// Verifies the certificate like the API server, except for its validity period, which has a
/// diagnostic of its own.
fn verify(chain: &[Certificate], webhook: &Webhook, now: i64) -> Result<(), String> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let mut roots = RootCertStore::empty();
    let cas = pem::read(&webhook.ca).certificates;
    roots.add_parsable_certificates(cas.iter().map(der));
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|_| "there is no usable CA in it".to_owned())?;
    let (leaf, rest) = chain.split_first().ok_or("there is no certificate")?;
    let host = ServerName::try_from(webhook.host.as_str());
    let host = host.map_err(|_| format!("`{}` is no host", webhook.host))?;
    let rest: Vec<_> = rest.iter().map(der).collect();
    // A time within the validity period. `check_expiry` reports an expired certificate.
    let moment = now.clamp(leaf.not_before, leaf.not_after);
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(moment.unsigned_abs()));
    let result = verifier.verify_server_cert(&der(leaf), &rest, &host, &[], moment);
    result.map(drop).map_err(|error| error.to_string())
}

fn check_expiry(
    cluster: &ClusterSnapshot,
    leaf: &Certificate,
    subject: CheckSubject,
) -> Diagnostic {
    let message = describe_expiry(cluster.now, leaf.not_after);
    if leaf.not_after < cluster.now {
        subject.fail(
            format!("{message}; every call to the webhook fails"),
            activate_command(cluster),
        )
    } else if leaf.not_after < cluster.now + EXPIRY_WARNING_SECONDS {
        subject.warn(message, activate_command(cluster))
    } else {
        subject.ok(message)
    }
}

/// Returns the command that creates a certificate and activates the webhooks. If velero-trust is
/// not installed in the namespace, the text says so instead, because the command would write the
/// certificate there.
fn activate_command(cluster: &ClusterSnapshot) -> String {
    if cluster.is_absent() {
        return "install velero-trust, or name its namespace with --namespace, first".to_owned();
    }
    format!(
        "velero-trust certs --install --namespace {}",
        cluster.namespace
    )
}
