//! An API server that refuses what we write or read.

use super::{Steady, bundle_path};
use crate::bundle::{PATIENCE, holds, location, location_with, secret, squeezed};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// The shortest pause between two attempts, less than it is: the clock is read elsewhere.
const PAUSE: Duration = Duration::from_millis(800);

/// It is tried again, ever more slowly, and ends well without any other news.
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
        // Between two attempts, as late news come: it brings the next one forward.
        ca = Authority::new(&format!("while {status}"))?.pem();
        servers.change_secret(namespace, &ca)?;
        // Some attempts are due to news, of which there is an end. A loop without pauses never has
        // one that is long.
        let pauses = attempts("three attempts and a pause", |pauses| {
            pauses.len() >= 2 && pauses.last() >= Some(&PAUSE)
        })?;
        eprintln!("refused: {status}: tried again after {pauses:.1?}");
        steady.proxy.heal();
        holds(kubectl, namespace, &ca).with_context(|| format!("after {status}"))?;
    }

    // A Secret that cannot be read takes nothing away, and keeps nothing from coming.
    let path = format!("/api/v1/namespaces/{namespace}/secrets/ca");
    steady.proxy.refuse("GET", &path, 500)?;
    let other = Authority::new("other")?.pem();
    kubectl.apply(&location_with(namespace, "other", &other).to_string())?;
    let bundle = holds(kubectl, namespace, &other)?;
    ensure!(squeezed(&bundle).contains(&squeezed(&ca)), "the CA is gone");
    steady.complains(
        namespace,
        &["the API server answered 500: refused by a test"],
    )?;
    steady.proxy.heal();
    steady.complains(namespace, &[])
}
