//! Hundreds of locations in one namespace.

use super::{DEBOUNCE, Steady, times};
use crate::bundle::{location_at, squeezed};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

const LOCATIONS: usize = 500;
/// Largest number of Secrets that are read concurrently.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_mins(1);

/// Each location has its own Secret and CA.
pub(super) fn crowd(steady: &Steady) -> Result<()> {
    let namespace = "crowd";
    let servers = &steady.servers;
    servers.namespace(namespace)?;
    let names = (0..LOCATIONS).map(|number| format!("crowd-{number}"));
    let cas = names.map(|name| Ok((Authority::new(&name)?.pem(), name)));
    let cas: Vec<_> = cas.collect::<Result<_>>()?;
    let (memory, _) = steady.replica.memory()?;
    let seen = steady.proxy.seen(|_| true).len();

    let began = Instant::now();
    let secrets = cas.iter().map(|(pem, name)| secret(namespace, name, pem));
    create(servers, ("", "Secret"), namespace, secrets)?;
    let locations = cas.iter().map(|(_, name)| {
        let mut location = location_at(namespace, name);
        location["spec"]["objectStorage"]["caCertRef"]["name"] = name.as_str().into();
        location
    });
    create(
        servers,
        ("velero.io", "BackupStorageLocation"),
        namespace,
        locations,
    )?;
    let created = began.elapsed();
    let all: Vec<_> = cas.iter().map(|(pem, _)| squeezed(pem)).collect();
    has(steady, namespace, &all)?;
    let published = began.elapsed();
    steady.has_issues(namespace, &[])?;
    let made = steady.made(namespace);
    let took = began.elapsed();
    let asked = steady.proxy.seen(|_| true).len() - seen;
    let (now, peak) = steady.replica.memory()?;
    eprintln!(
        "crowd: {LOCATIONS} locations made in {created:.1?}, all in the bundle after {published:.1?}; \
         made {made} times with {asked} requests; memory {memory} KiB before, {now} KiB after, \
         {peak} KiB at the most"
    );
    ensure!(
        made <= times(took, DEBOUNCE) + 2,
        "made {made} times in {took:?}"
    );

    // Each request may use its own connection, and the API server has other clients too. (Other
    // trials send a few requests at the same time.)
    let at_once = steady.proxy.most_at_once();
    ensure!(at_once <= 2 * AT_ONCE, "{at_once} requests at once");

    // One of the Secrets changes.
    let changed = Authority::new("changed")?.pem();
    let patch = json!({"stringData": {"ca.crt": changed}}).to_string();
    let patch = [
        "patch", "secret", "crowd-7", "-n", namespace, "--patch", &patch,
    ];
    servers.kubectl.ok(&patch)?;
    let began = Instant::now();
    has(steady, namespace, &[squeezed(&changed)])?;
    eprintln!(
        "crowd: one CA of {LOCATIONS} changed, in the bundle after {:.1?}",
        began.elapsed()
    );
    has(steady, namespace, &all)
}

fn secret(namespace: &str, name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "stringData": {"ca.crt": pem},
    })
}

/// Creates objects of one kind, many concurrently.
pub(super) fn create(
    servers: &Servers,
    (group, kind): (&str, &str),
    namespace: &str,
    objects: impl Iterator<Item = Value>,
) -> Result<()> {
    let kind = GroupVersionKind::gvk(group, "v1", kind);
    let resource = ApiResource::from_gvk(&kind);
    let client = servers.client.clone();
    let api = Api::<DynamicObject>::namespaced_with(client, namespace, &resource);
    let params = PostParams::default();
    let made = futures::stream::iter(objects).map(async |object| {
        let object: DynamicObject = serde_json::from_value(object)?;
        api.create(&params, &object).await?;
        anyhow::Ok(())
    });
    let made = made.buffer_unordered(20).try_collect::<()>();
    servers.runtime.block_on(made)
}

fn has(steady: &Steady, namespace: &str, all: &[String]) -> Result<()> {
    wait::poll("the bundle to hold all", PATIENCE, || {
        let map = steady.servers.bundle(namespace)?;
        let text = map["data"]["ca-bundle.crt"].as_str();
        let text = squeezed(text.context("no bundle in it")?);
        let missing = all.iter().filter(|pem| !text.contains(*pem)).count();
        ensure!(missing == 0, "{missing} are missing");
        Ok(())
    })
}
