//! A namespace whose locations name far more CAs than a bundle can hold.

use super::crowd::create;
use crate::bundle::{location, location_at, location_with, secret, squeezed};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// Locations with an inline CA bundle, and Secrets with one, each named by a location.
const INLINE: usize = 60;
const SECRETS: usize = 40;

/// Size of a bundle in base64, and in a Secret: what etcd can hold, in base64.
const INLINE_BYTES: usize = 925 << 10;
const SECRET_BYTES: usize = 740 << 10;

/// Beside that many builds.
const PATIENCE: Duration = Duration::from_mins(2);

/// A new leader starts below the memory limit of the Deployment, publishes the bundle of the other
/// namespace, and what there is room for in the greedy one, and says what it leaves out.
pub(super) fn greedy() -> Result<()> {
    let servers = Servers::start()?;
    let other = Authority::new("other")?.pem();
    servers.namespace("other")?;
    secret(&servers.kubectl, "other", &other)?;
    location(&servers.kubectl, "other")?;
    servers.namespace("greedy")?;
    let first = Authority::new("first")?.pem();
    // The oldest location of the namespace.
    let oldest = location_with("greedy", "z-oldest", &first);
    servers.kubectl.apply(&oldest.to_string())?;
    // A creationTimestamp has a resolution of one second.
    std::thread::sleep(Duration::from_millis(1100));
    let mut bundles = Bundles::new()?;
    let secrets = (0..SECRETS).map(|number| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "greedy", "name": format!("ca-{number}")},
            "stringData": {"ca.crt": bundles.next(SECRET_BYTES)},
        })
    });
    create(&servers, ("", "Secret"), "greedy", secrets)?;
    let named = (0..SECRETS).map(|number| {
        let mut location = location_at("greedy", &format!("named-{number}"));
        let ca = json!({"name": format!("ca-{number}"), "key": "ca.crt"});
        location["spec"]["objectStorage"]["caCertRef"] = ca;
        location
    });
    let kind = ("velero.io", "BackupStorageLocation");
    create(&servers, kind, "greedy", named)?;
    let inline = (0..INLINE).map(|number| {
        let name = format!("inline-{number}");
        location_with("greedy", &name, &bundles.next(INLINE_BYTES))
    });
    create(&servers, kind, "greedy", inline)?;

    let mut replica = servers.limited_replica()?;
    let mut has = |namespace: &str, pem: &str| {
        let what = format!("the bundle of {namespace}");
        wait::poll(&what, PATIENCE, || {
            // Not to wait for one that was killed.
            if !replica.is_running()? {
                return Ok(());
            }
            let map = servers.bundle(namespace)?;
            let text = map["data"]["ca-bundle.crt"].as_str();
            let text = squeezed(text.context("no bundle")?);
            ensure!(text.contains(&squeezed(pem)), "it lacks the CA");
            let count = text.matches("-----BEGINCERTIFICATE-----").count();
            ensure!(
                count > 100,
                "it has {count} certificates, not the public roots"
            );
            Ok(())
        })
    };
    let published = has("other", &other).and_then(|()| has("greedy", &first));
    ensure!(replica.is_running()?, "it was killed: {}", replica.tail());
    published.with_context(|| replica.tail())?;
    wait::poll("the report to say what is left out", PATIENCE, || {
        let report = servers.report("greedy")?;
        let issues = report["issues"].as_array().cloned().unwrap_or_default();
        let issue = issues.iter().find(|issue| issue["type"] == "OverBudget");
        let issue = issue.with_context(|| format!("{issues:?}"))?;
        let count = issue["count"].as_u64().unwrap_or_default();
        ensure!(count > 90 && issue["first"] != "z-oldest", "{issue}");
        Ok(())
    })?;
    ensure!(replica.is_running()?, "it was killed: {}", replica.tail());
    let (now, peak) = replica.memory()?;
    eprintln!(
        "greedy: {INLINE} inline bundles and {SECRETS} Secrets; memory {now} KiB, {peak} KiB at the \
         most; as the limit counts it {} KiB",
        replica.peak()? >> 10
    );
    Ok(())
}

/// Bundles of certificates of which no two are equal. Their signatures are wrong, which nobody
/// verifies of a CA that is trusted by itself.
struct Bundles {
    der: Vec<u8>,
    count: u32,
}

impl Bundles {
    fn new() -> Result<Self> {
        let der = Authority::new("greedy")?.der();
        Ok(Self { der, count: 0 })
    }

    /// Returns a bundle of about this many bytes.
    fn next(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            self.count += 1;
            let at = self.der.len() - 4;
            self.der[at..].copy_from_slice(&self.count.to_be_bytes());
            let base64 = STANDARD.encode(&self.der);
            // Writing to a String never fails.
            let _ = write!(
                text,
                "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"
            );
        }
        text
    }
}
