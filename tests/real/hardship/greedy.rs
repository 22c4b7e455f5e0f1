//! A namespace whose locations name far more CAs than a bundle can hold.

use crate::bundle::{location, location_at, location_with, secret, squeezed};
use crate::servers::Servers;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{PostParams, Request};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::wait;

/// Locations with an inline CA bundle, and Secrets with one, each named by a location.
const INLINE: usize = 60;
const SECRETS: usize = 16;

/// Size of a bundle in base64, and in a Secret: what etcd can hold, in base64.
const INLINE_BYTES: usize = 925 << 10;
const SECRET_BYTES: usize = 740 << 10;

const SECRETS_PATH: &str = "/api/v1/namespaces/greedy/secrets";
const LOCATIONS_PATH: &str = "/apis/velero.io/v1/namespaces/greedy/backupstoragelocations";

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
    let began = Instant::now();
    create(&servers)?;
    let created = began.elapsed();

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
    let published = began.elapsed();
    wait::poll("the report to say what is left out", PATIENCE, || {
        let report = servers.report("greedy")?;
        let issues = report["issues"].as_array().cloned().unwrap_or_default();
        let issue = issues.iter().find(|issue| issue["type"] == "OverBudget");
        let issue = issue.with_context(|| format!("{issues:?}"))?;
        // On a busy machine a few cannot be read in time, which is an issue of its own for each.
        let unread = issues.iter().filter(|issue| issue["count"].is_null());
        let left_out = issue["count"].as_u64().unwrap_or_default() + unread.count() as u64;
        ensure!(
            left_out >= (INLINE + SECRETS - 1) as u64 && issue["first"] != "z-oldest",
            "{issues:?}"
        );
        Ok(())
    })?;
    ensure!(replica.is_running()?, "it was killed: {}", replica.tail());
    let (now, peak) = replica.memory()?;
    eprintln!(
        "greedy: {INLINE} inline bundles and {SECRETS} Secrets, created in {created:.1?}, published \
         after {published:.1?}, told after {:.1?}; memory {now} KiB, {peak} KiB at the \
         most; as the limit counts it {} KiB",
        began.elapsed(),
        replica.peak()? >> 10
    );
    Ok(())
}

/// Creates the Secrets and the locations.
fn create(servers: &Servers) -> Result<()> {
    let mut bundles = Bundles::new()?;
    let mut bodies = Vec::new();
    for number in 0..SECRETS {
        let text = bundles.next(SECRET_BYTES, false);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("ca-{number}")},
            "stringData": {"ca.crt": HERE},
        });
        bodies.push((SECRETS_PATH, filled(&secret, &text.replace('\n', "\\n"))));
        let mut location = location_at("greedy", &format!("named-{number}"));
        let ca = json!({"name": format!("ca-{number}"), "key": "ca.crt"});
        location["spec"]["objectStorage"]["caCertRef"] = ca;
        bodies.push((LOCATIONS_PATH, location.to_string()));
    }
    for number in 0..INLINE {
        let mut location = location_at("greedy", &format!("inline-{number}"));
        location["spec"]["objectStorage"] = json!({"bucket": "b", "caCert": HERE});
        let text = bundles.next(INLINE_BYTES, true);
        bodies.push((LOCATIONS_PATH, filled(&location, &text)));
    }
    let created = futures::stream::iter(bodies).map(async |(path, body)| {
        let request = Request::new(path).create(&PostParams::default(), body.into_bytes())?;
        servers.client.request_text(request).await?;
        anyhow::Ok(())
    });
    let created = created.buffer_unordered(20).try_collect::<()>();
    servers.runtime.block_on(created)
}

/// Where a bundle stands in the JSON text of an object. To build a value with it, and to parse the
/// answer, would take as long as the API server needs.
const HERE: &str = "<bundle>";

fn filled(object: &Value, text: &str) -> String {
    object.to_string().replace(HERE, text)
}

/// Bundles of certificates of which no two are equal. Their signatures are wrong, which nobody
/// verifies of a CA that is trusted by itself.
pub(super) struct Bundles {
    /// A certificate as PEM, and that in base64. The number begins at a multiple of 3 bytes, and
    /// the length is one, so that each part of the text is a part of the base64.
    block: String,
    encoded: String,
    /// Where the number is in the certificate: digits are base64 too.
    at: usize,
    count: u32,
}

impl Bundles {
    const DIGITS: usize = 6;

    pub(super) fn new() -> Result<Self> {
        let base64 = STANDARD.encode(Authority::new("greedy")?.der());
        let begin = "-----BEGIN CERTIFICATE-----\n";
        // In the signature, before the last four characters, which may have padding.
        let at = begin.len() + base64.len() - 4 - Self::DIGITS;
        let before = "\n".repeat(at.wrapping_neg() % 3);
        let at = before.len() + at;
        let block = format!("{before}{begin}{base64}\n-----END CERTIFICATE-----");
        let block = format!("{block}{}", "\n".repeat(3 - block.len() % 3));
        let encoded = STANDARD.encode(&block);
        Ok(Self {
            block,
            encoded,
            at,
            count: 0,
        })
    }

    /// Returns a bundle of about this many bytes, as PEM or that in base64.
    pub(super) fn next(&mut self, bytes: usize, is_encoded: bool) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            self.count += 1;
            let number = format!("{:0digits$}", self.count, digits = Self::DIGITS);
            let (block, at, number) = if is_encoded {
                (&self.encoded, self.at / 3 * 4, STANDARD.encode(number))
            } else {
                (&self.block, self.at, number)
            };
            text.push_str(&block[..at]);
            text.push_str(&number);
            text.push_str(&block[at + number.len()..]);
        }
        text
    }
}
