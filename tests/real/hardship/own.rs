//! The report, and the certificate that the leader presents, are as the leader wrote them, whatever
//! somebody or a Restore does to them.

use super::Steady;
use crate::bundle::{PATIENCE, location, secret};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use velero_trust_testing::pki::Authority;
use velero_trust_testing::{installer, wait};

const CERTIFICATE: &str = "velero-trust-serving-certificate";

pub(super) fn replaced(steady: &Steady) -> Result<()> {
    let namespace = "kept-report";
    let servers = &steady.servers;
    let kubectl = &servers.kubectl;
    servers.namespace(namespace)?;
    secret(kubectl, namespace, &Authority::new("own")?.pem())?;
    location(kubectl, namespace)?;
    let report = format!("velero-trust-report.{namespace}");
    for (name, key, says) in [
        (CERTIFICATE, "tls.crt", "BEGIN CERTIFICATE"),
        (&report, "report.json", "Secret ca key ca.crt"),
    ] {
        let map = ["configmap", name, "-n", installer::NAMESPACE];
        let is_ours = || -> Result<Value> {
            let map = kubectl.get(&map)?;
            let text = map["data"][key].as_str().unwrap_or_default();
            ensure!(text.contains(says), "{map}");
            ensure!(map["data"].get("planted").is_none(), "{map}");
            let restored = &map["metadata"]["labels"]["velero.io/restore-name"];
            ensure!(restored.is_null(), "{map}");
            Ok(map)
        };
        let patch = |patch: Value| {
            let patch = patch.to_string();
            kubectl.ok(&[&["patch"], &map[..], &["--type=merge", "-p", &patch]].concat())
        };
        wait::poll(&format!("{name} to be written"), PATIENCE, is_ours)?;
        kubectl.ok(&[&["delete"], &map[..]].concat())?;
        wait::poll(&format!("{name} to be back"), PATIENCE, is_ours)?;
        patch(json!({"data": {key: "planted"}}))?;
        wait::poll(&format!("{name} to be right again"), PATIENCE, is_ours)?;
        // As Velero restores it from a forged backup.
        patch(json!({
            "metadata": {"labels": {"velero.io/restore-name": "r"}},
            "data": {key: "planted", "planted": "more"},
        }))?;
        wait::poll(&format!("{name} to be ours again"), PATIENCE, is_ours)
            .context("it has the label of a Restore")?;
    }
    Ok(())
}
