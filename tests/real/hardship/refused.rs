//! An API server that refuses writes or reads.

use super::{Steady, bundle_path};
use crate::bundle::{PATIENCE, holds, location, location_with, secret, squeezed};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// Shortest pause between two attempts. The value is a little lower than the real one, because the
/// times are taken elsewhere.
const PAUSE: Duration = Duration::from_millis(800);

/// A refused write is retried with a growing backoff, and succeeds without any other change.
pub(super) fn refused(steady: &Steady) -> Result<()> {
    let namespace = "refused";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    let mut ca = Authority::new("first")?.pem();
    secret(kubectl, namespace, &ca)?;
    location(kubectl, namespace)?;
    holds(kubectl, namespace, &ca)?;
    for status in [409, 429, 500] {
        let before = steady.of_bundle("PATCH", namespace).len();
        let attempts = |what: &str, enough: fn(&[Duration]) -> bool| {
            wait::poll(what, PATIENCE, || {
                let seen = steady.of_bundle("PATCH", namespace).split_off(before);
                let pairs = seen.iter().zip(seen.iter().skip(1));
                let pauses: Vec<_> = pairs.map(|(one, next)| next.at - one.at).collect();
                let last = pauses.split_at(pauses.len().saturating_sub(5)).1;
                ensure!(
                    !seen.is_empty() && enough(&pauses),
                    "{} attempts, the last after {last:.1?}: {:?}",
                    seen.len(),
                    seen.last()
                );
                Ok(pauses)
            })
        };
        steady
            .proxy
            .refuse("PATCH", &bundle_path(namespace), status)?;
        servers.change_secret(namespace, &Authority::new("passing")?.pem())?;
        attempts("an attempt", |_| true)?;
        // A change between two attempts, which triggers the next attempt early.
        ca = Authority::new(&format!("while {status}"))?.pem();
        servers.change_secret(namespace, &ca)?;
        // Some attempts are triggered by changes, but the changes end. Only a loop without backoff
        // would never have a long pause.
        let pauses = attempts("three attempts and a pause", |pauses| {
            pauses.len() >= 2 && pauses.last() >= Some(&PAUSE)
        })?;
        eprintln!("refused: {status}: tried again after {pauses:.1?}");
        steady.proxy.heal();
        holds(kubectl, namespace, &ca).with_context(|| format!("after {status}"))?;
    }

    // A Secret that cannot be read neither removes its CA from the bundle nor blocks other CAs.
    let path = format!("/api/v1/namespaces/{namespace}/secrets/ca");
    steady.proxy.refuse("GET", &path, 500)?;
    let other = Authority::new("other")?.pem();
    kubectl.apply(&location_with(namespace, "other", &other).to_string())?;
    let bundle = holds(kubectl, namespace, &other)?;
    ensure!(squeezed(&bundle).contains(&squeezed(&ca)), "the CA is gone");
    steady.has_issues(
        namespace,
        &["the API server answered 500: refused by a test"],
    )?;
    steady.proxy.heal();
    steady.has_issues(namespace, &[])
}
