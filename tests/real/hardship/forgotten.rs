//! `velero-trust ca forget`: a retained CA leaves, one that something names stays, and neither the
//! restart of the leader nor its absence changes that.

use super::{Steady, comes_from, memory};
use crate::bundle::{BUNDLE, holds, location, secret, squeezed};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use velero_trust::ca::certificate::Certificate;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::installer;
use velero_trust_testing::pki::Authority;

pub(super) fn forgotten() -> Result<()> {
    let Steady {
        replica,
        proxy,
        servers,
    } = Steady::start()?;
    let command = Cli::new(binary().to_owned(), Some(servers.kubeconfig()))?;
    let kubectl = &servers.kubectl;
    let [old, new] = [Authority::new("old")?, Authority::new("new")?];
    for namespace in ["leaves", "stays"] {
        servers.namespace(namespace)?;
        secret(kubectl, namespace, &old.pem())?;
        location(kubectl, namespace)?;
        holds(kubectl, namespace, &old.pem())?;
    }
    servers.change_secret("leaves", &new.pem())?;
    comes_from(&servers, "leaves", "locations=1 retained=1")?;

    let fingerprint = Certificate::parse(old.der())?.fingerprint().to_string();
    let ran = |arguments: &[&str], code: i32, says: &[&str]| -> Result<Output> {
        let output = command.run(&[&["ca", "forget"], arguments].concat())?;
        ensure!(output.code == Some(code), "{arguments:?}: {output:?}");
        for says in says {
            let is_said = output.stdout.contains(says) || output.stderr.contains(says);
            ensure!(is_said, "{arguments:?} does not say {says:?}: {output:?}");
        }
        Ok(output)
    };
    let retained = "leaves: CN=old (";
    let named = "BackupStorageLocation minio names it";
    ran(
        &["--dry-run", &fingerprint[..12]],
        1,
        &[retained, "would be forgotten", "stays: CN=old", named],
    )?;
    comes_from(&servers, "leaves", "locations=1 retained=1")?;
    ran(
        &["0123456789ab"],
        2,
        &["the memories of leaves, stays hold none"],
    )?;
    ran(
        &["--velero-namespace=gone", &fingerprint],
        2,
        &["there is no namespace gone"],
    )?;
    beside_a_broken_one(kubectl, |says| ran(&["--dry-run", &fingerprint], 2, says))?;
    let openssl: Vec<_> = fingerprint
        .as_bytes()
        .chunks(2)
        .map(String::from_utf8_lossy)
        .collect();
    ran(
        &[&openssl.join(":").to_ascii_uppercase()],
        1,
        &[retained, "is forgotten", named],
    )?;
    // The command has waited for it.
    let lacks = |namespace: &str| -> Result<()> {
        let text = kubectl.get(&["configmap", BUNDLE, "-n", namespace])?["data"].to_string();
        let text = squeezed(&text.replace("\\n", "\n"));
        ensure!(
            !text.contains(&squeezed(&old.pem())),
            "it is in the bundle of {namespace}"
        );
        Ok(())
    };
    lacks("leaves")?;
    comes_from(&servers, "leaves", "locations=1")?;
    holds(kubectl, "stays", &old.pem())?;
    let told = replica.events("somebody took a retained CA out of the memory");
    ensure!(
        told.len() == 1 && told[0]["fingerprint"] == fingerprint.as_str(),
        "{told:?}"
    );

    // No replica leads, and the next one does not bring it back.
    servers.change_secret("stays", &new.pem())?;
    comes_from(&servers, "stays", "locations=1 retained=1")?;
    drop(replica);
    drop(proxy);
    ran(
        &["--wait=0", &fingerprint],
        0,
        &["stays: CN=old (", "is forgotten"],
    )?;
    ran(&[&fingerprint], 2, &["hold none"])?;
    let replica = servers.replica(&[])?;
    comes_from(&servers, "stays", "locations=1").with_context(|| replica.log())?;
    lacks("stays")
}

/// A memory that cannot be used keeps no other namespace from its CA.
fn beside_a_broken_one(kubectl: &Cli, run: impl Fn(&[&str]) -> Result<Output>) -> Result<()> {
    memory::remember(kubectl, "broken", "}{")?;
    let broken = [
        "configmap",
        "velero-trust-memory.broken",
        "-n",
        installer::NAMESPACE,
    ];
    let label = "app.kubernetes.io/managed-by=velero-trust";
    kubectl.ok(&[&["label"], &broken[..], &[label]].concat())?;
    run(&[
        "leaves: CN=old (",
        "would be forgotten",
        "broken is left out: cannot use",
        "--velero-namespace",
    ])?;
    kubectl.ok(&[&["delete"], &broken[..]].concat())?;
    Ok(())
}
