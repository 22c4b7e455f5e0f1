//! A user vouches for a backup that Velero synced, and that is not recorded by itself.

use super::recorded::{is_verified, record_of};
use super::{at, ensure_passed, ensure_refused, get, restore, wait_for_phase};
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::{rig, scratch};

/// `name` is complete and not recorded. It is declared, wrongly, then signed and restored.
pub(super) fn who_may_attest_vouches(cluster: &Cluster, name: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let refused = kubectl.create(&restore("too-early", name))?;
    let adopt = format!("velero-trust backup adopt {name}");
    ensure_refused("the Restore", &refused, &["[VT101]", &adopt])?;
    let jane = Jane::new(cluster)?;
    for (role, verbs, resource) in [
        ("may-patch", "--verb=get,list,patch", "backups.velero.io"),
        (
            "may-read",
            "--verb=get,list",
            "backuprecords.velero-trust.io",
        ),
    ] {
        let resource = format!("--resource={resource}");
        kubectl.ok(&["create", "clusterrole", role, verbs, &resource])?;
        bind(cluster, role)?;
    }
    let without = jane.adopt(&[name])?;
    ensure!(without.code == Some(1), "{without:?}");
    let grant = "--clusterrole=velero-trust-attest --user=jane";
    for said in [
        "Unobserved (Synced)",
        "jane may not vouch for this backup",
        grant,
    ] {
        ensure!(without.stderr.contains(said), "{said}: {without:?}");
    }
    // Nor can she set the checksum.
    let checksum = format!("velero-trust.io/checksum=sha256:{}", "0".repeat(64));
    let by_hand = [
        "annotate",
        "backup",
        name,
        &checksum,
        "-n",
        VELERO_NAMESPACE,
    ];
    let by_hand = jane.kubectl.run(&by_hand)?;
    ensure_refused("the checksum", &by_hand, &["velero-trust alone sets"])?;
    bind(cluster, "velero-trust-attest")?;

    let listed = jane.adopt(&["--all"])?;
    ensure!(listed.code == Some(1), "{listed:?}");
    let line = format!("{VELERO_NAMESPACE}/{name}: Unobserved (Synced)");
    ensure!(listed.stdout.starts_with(&line), "{listed:?}");
    ensure!(listed.stdout.lines().count() == 1, "{listed:?}");
    declared(cluster, &jane, name)?;
    signed(cluster, &jane, name)
}

/// Nothing is read, and nothing is signed.
fn declared(cluster: &Cluster, jane: &Jane, name: &str) -> Result<()> {
    let checksum = format!("sha256:{}", "0f".repeat(32));
    let declared = jane.adopt(&[name, "--checksum", &checksum])?;
    ensure_passed("the declaration", &declared)?;
    ensure!(declared.stdout.contains("declared by jane"), "{declared:?}");
    let backup = get(cluster, "backup", name)?;
    let annotation = at(&backup, "/metadata/annotations/velero-trust.io~1checksum");
    ensure!(*annotation == checksum, "{annotation}");
    let record = record_of(cluster, name)?;
    ensure!(at(&record, "/status/state") == "Declared", "{record}");
    ensure!(at(&record, "/status/envelope").is_null(), "{record}");
    let restored = cluster.kubectl().create(&restore("declared", name))?;
    ensure_passed("the Restore", &restored)?;
    // What a person declares is compared with the tarball before Velero begins.
    let stopped = wait_for_phase(cluster, "restore", "declared", "FailedValidation")?;
    let errors = at(&stopped, "/status/validationErrors").to_string();
    let says = format!("expected {checksum}, found sha256:");
    ensure!(
        errors.contains("[VT115]") && errors.contains(&says),
        "{errors}"
    );
    Ok(())
}

/// The files are read as they are.
fn signed(cluster: &Cluster, jane: &Jane, name: &str) -> Result<()> {
    let adopted = jane.adopt(&[name])?;
    ensure_passed("the adoption", &adopted)?;
    let how = "recorded and signed on the word of jane";
    ensure!(adopted.stdout.contains(how), "{adopted:?}");
    let backup = get(cluster, "backup", name)?;
    for annotation in ["adopt", "declared-checksum"] {
        let pointer = format!("/metadata/annotations/velero-trust.io~1{annotation}");
        ensure!(at(&backup, &pointer).is_null(), "{annotation}: {backup}");
    }
    let verified = is_verified(cluster, name)?;
    ensure!(verified.contains("on the word of jane"), "{verified}");
    let shown = super::velero_trust(cluster, &["backup", "show", name])?;
    ensure_passed("show", &shown)?;
    for said in ["yes, signed by", "on the word of jane"] {
        ensure!(shown.stdout.contains(said), "{said}: {shown:?}");
    }
    let restored = cluster.kubectl().create(&restore("adopted", name))?;
    ensure_passed("the Restore", &restored)?;
    wait_for_phase(cluster, "restore", "adopted", "Completed")?;
    ensure_passed("another adoption", &jane.adopt(&[name])?)
}

/// A user whom the administrator impersonates.
pub(crate) struct Jane {
    pub(crate) kubectl: Cli,
    velero_trust: Cli,
    _folder: tempfile::TempDir,
}

impl Jane {
    pub(crate) fn new(cluster: &Cluster) -> Result<Self> {
        let text = fs::read_to_string(cluster.kubeconfig())?;
        let mut config: Value = serde_saphyr::from_str(&text)?;
        for user in config["users"].as_array_mut().context("no users")? {
            user["user"]["as"] = json!("jane");
        }
        let folder = scratch::folder("jane")?;
        let path = folder.path().join("kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(Self {
            kubectl: Cli::new(rig::binary("kubectl")?, Some(&path))?,
            velero_trust: Cli::new(binary().to_owned(), Some(&path))?,
            _folder: folder,
        })
    }

    fn adopt(&self, arguments: &[&str]) -> Result<Output> {
        let adopt = ["backup", "adopt", "--wait=90"];
        self.velero_trust.run(&[&adopt[..], arguments].concat())
    }
}

pub(super) fn bind(cluster: &Cluster, role: &str) -> Result<()> {
    let by_role = format!("--clusterrole={role}");
    let bind = [
        "create",
        "clusterrolebinding",
        role,
        "--user=jane",
        &by_role,
    ];
    cluster.kubectl().ok(&bind).map(drop)
}
