//! Leaders that die while they replace the CA of the serving certificates.

use crate::load::{Answer, Load};
use crate::shared::{alone, applied, leads};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use libtest_mimic::Trial;
use std::time::Duration;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::Cluster;
use velero_trust_testing::installer::{self, NAMESPACE};
use velero_trust_testing::proxy::Proxy;
use velero_trust_testing::{https, wait};

/// The replica that serves never gets it.
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/velero-trust/leases/velero-trust";

/// Time limit for a change of the leader, and for what a replica looks at every 30 seconds.
const SOON: Duration = Duration::from_secs(100);

/// What a certificate begins with in PEM.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Time limit for two minutes in every webhook, a canary a minute, and another leader.
const ROTATION: Duration = Duration::from_secs(400);

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone(
        "leaders::die_at_each_step_of_a_rotation",
        die_in_a_rotation,
    )]
}

/// One replica serves and never leads. Of the others, the one that leads is killed when the next CA is made, and again
/// when that one signs. Each time the next leader goes on, and no write fails.
fn die_in_a_rotation() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubectl = cluster.kubectl();
    let proxy = Proxy::start(cluster.access())?;
    proxy.hold(None, LEASE);
    let installer = applied(&cluster, Some(&proxy.access().server))?;
    let serving = installer.serve(&[])?;
    installer.grant_directly()?;
    let first = installer.serve_beside("first")?;
    leads(&first)?;
    let second = installer.serve_beside("second")?;
    installer.set_ready(true)?;
    installer::wait_until_asked(kubectl).with_context(|| first.log())?;
    let before = stored(kubectl, "ca.crt")?.context("no CA")?;

    let load = Load::new(&cluster, Answer::Refused)?;
    let failed = load.during(|| {
        installer.command.ok(&["certs", "rotate"])?;
        wait::poll("the next CA", SOON, || {
            stored(kubectl, "next.crt")?.context("none").map(drop)
        })?;
        first.signal("KILL")?;
        leads(&second)?;
        let third = installer.serve_beside("third")?;
        wait::poll("the next CA to sign", ROTATION, || {
            let previous = stored(kubectl, "previous.crt")?;
            ensure!(previous.as_ref() == Some(&before), "not yet");
            Ok(())
        })
        .with_context(|| second.log())?;
        second.signal("KILL")?;
        leads(&third)?;
        let after = stored(kubectl, "ca.crt")?.context("no CA")?;
        ensure!(after != before, "the CA is the same");
        wait::poll("the new CA to issue what is presented", SOON, || {
            let host = format!("velero-trust.{NAMESPACE}.svc");
            https::handshake(&host, serving.address()?, &after).map(drop)
        })
        .with_context(|| serving.log())?;
        installer::wait_until_asked(kubectl)?;
        let certificates = ca_bundle(kubectl)?.matches(BEGIN).count();
        ensure!(
            certificates <= 3,
            "{certificates} certificates in the caBundle"
        );
        ensure!(
            stored(kubectl, "next.crt")?.is_none(),
            "another CA was made"
        );
        Ok(())
    })?;
    eprintln!("leaders: {} asked, {} failed", load.asked(), failed.len());
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

/// Returns a value of the Secret with the CA.
fn stored(kubectl: &Cli, key: &str) -> Result<Option<String>> {
    let secret = kubectl.get(&["secret", "velero-trust-serving-ca", "-n", NAMESPACE])?;
    let value = secret["data"].get(key).cloned();
    value
        .map(|value| text(serde_json::from_value(value)?))
        .transpose()
}

fn ca_bundle(kubectl: &Cli) -> Result<String> {
    let live = kubectl.get(&["validatingwebhookconfiguration", "velero-trust-restores"])?;
    let bundle = live["webhooks"][0]["clientConfig"]["caBundle"].clone();
    text(serde_json::from_value(bundle)?)
}

fn text(bytes: ByteString) -> Result<String> {
    Ok(String::from_utf8(bytes.0)?)
}
