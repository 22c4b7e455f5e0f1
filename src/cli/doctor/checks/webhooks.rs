//! The webhook configurations, and the certificate that the API server is shown.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Line, Of, SOON, days};
use crate::admission::HANDLERS;
use crate::ca::certificate::Certificate;
use crate::ca::pem;
use crate::cli::doctor::seen::{Seen, Webhook};
use crate::cli::install::TLS_SECRET;

/// The webhooks are all there, and are active.
pub(super) fn check(seen: &Seen) -> Vec<Line> {
    let webhooks = match &seen.webhooks {
        Err(why) => return vec![Of::new("webhooks", "webhook configurations").unknown(why)],
        Ok(webhooks) => webhooks,
    };
    let activate = activate(seen);
    let mut lines = Vec::new();
    for handler in HANDLERS {
        let asks = |webhook: &Webhook| webhook.path.ends_with(handler.path);
        if !webhooks.iter().any(asks) {
            lines.push(Of::new("webhooks", handler.path).fail(
                "no webhook configuration asks it",
                if seen.is_absent() {
                    activate.clone()
                } else {
                    format!("kubectl apply -k manifests && {activate}")
                },
            ));
        }
    }
    for webhook in webhooks {
        let about = format!("{}, {}", webhook.configuration, webhook.name);
        let of = Of::new("webhooks", about);
        lines.push(match (webhook.has_rules, webhook.ca.is_empty()) {
            (true, false) => of.ok("is active"),
            (false, _) => of.fail("has no rules, so it is sent nothing", &activate),
            (true, true) => of.fail("has no caBundle, so every call to it fails", &activate),
        });
    }
    lines
}

/// The certificate is one that the API server accepts, and will for a while.
pub(super) fn certificate(seen: &Seen) -> Vec<Line> {
    let about = format!("Secret {}/{TLS_SECRET}", seen.namespace);
    let of = |check| Of::new(check, about.clone());
    let text = match &seen.certificate {
        Err(why) => return vec![of("certificate").unknown(why)],
        Ok(text) => text.as_deref().unwrap_or_default(),
    };
    let chain = pem::read(text.as_bytes()).certificates;
    let Some(leaf) = chain.first() else {
        let nothing = "there is no certificate in its tls.crt";
        return vec![of("certificate").fail(nothing, activate(seen))];
    };
    vec![
        trusted(seen, &chain, of("certificate")),
        lasting(seen, leaf, of("expiry")),
    ]
}

/// Whether every webhook that has a caBundle would accept the certificate.
fn trusted(seen: &Seen, chain: &[Certificate], of: Of) -> Line {
    let webhooks = match &seen.webhooks {
        Err(why) => return of.unknown(why),
        Ok(webhooks) => webhooks.iter().filter(|webhook| !webhook.ca.is_empty()),
    };
    let mut count = 0;
    for webhook in webhooks {
        if let Err(why) = verify(chain, webhook, seen.now) {
            let said = format!("the caBundle of {} does not verify it: {why}", webhook.name);
            return of.fail(said, activate(seen));
        }
        count += 1;
    }
    of.ok(format!("is verified by the caBundles of {count} webhooks"))
}

/// As the API server would, except for the dates, which have a line of their own.
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
    // Within its life: of one that has expired, the other line says so.
    let moment = now.clamp(leaf.not_before, leaf.not_after);
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(moment.unsigned_abs()));
    let judged = verifier.verify_server_cert(&der(leaf), &rest, &host, &[], moment);
    judged.map(drop).map_err(|error| error.to_string())
}

fn lasting(seen: &Seen, leaf: &Certificate, of: Of) -> Line {
    let said = days(seen.now, leaf.not_after);
    if leaf.not_after < seen.now {
        of.fail(
            format!("{said}; every call to the webhook fails"),
            activate(seen),
        )
    } else if leaf.not_after < seen.now + SOON {
        of.warn(said, activate(seen))
    } else {
        of.ok(said)
    }
}

/// The command that makes a certificate and makes the webhooks active. Not for a namespace where
/// velero-trust is not: the certificate would be written there.
fn activate(seen: &Seen) -> String {
    if seen.is_absent() {
        return "install velero-trust, or name its namespace with --namespace, first".to_owned();
    }
    format!(
        "velero-trust certs --install --namespace {}",
        seen.namespace
    )
}
