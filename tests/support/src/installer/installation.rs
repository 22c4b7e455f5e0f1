//! velero-trust while it is installed: its server dies, comes back, takes a new certificate.

use super::Installer;
use crate::cli::{Cli, Output};
use crate::https;
use crate::wait::{self, PATIENCE};
use crate::webhook::Webhook;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::fs;

/// velero-trust, installed and active. Dropping it ends its server and leaves the rest.
#[derive(Debug)]
pub struct Installation {
    /// The server, under the rights of its ServiceAccount.
    pub webhook: Webhook,
    /// What `certs --install` printed.
    pub certs: Output,
    pub(super) installer: Installer,
}

impl Installation {
    /// Kills the server at once, as when its node dies; the configurations stay in force.
    pub fn kill(&mut self) -> Result<()> {
        self.webhook.signal("KILL")?;
        self.webhook.ended(PATIENCE).map(drop)
    }

    /// Starts the server again where it was, with these arguments of `serve` besides its own, and
    /// waits until every webhook answers. It must have been killed before.
    pub fn start_again(&mut self, more: &[&str]) -> Result<()> {
        self.webhook = self.installer.serve(more)?;
        wait_until_asked(&self.installer.kubectl).with_context(|| self.webhook.log())
    }

    /// Installs a new serving certificate as README says. Every webhook must answer while the
    /// server still shows the old one, and when it has taken the new one up.
    pub fn renew_certificate(&self) -> Result<()> {
        let Installer { kubectl, .. } = &self.installer;
        let certs = self.installer.certs(PATIENCE)?;
        ensure!(certs.code == Some(0), "certs --install failed: {certs:?}");
        wait_until_asked(kubectl).context("with the old certificate")?;
        self.installer.mount_certificate()?;
        let ca = fs::read_to_string(self.installer.file("tls/ca.crt"))?;
        wait::poll("the new certificate to be shown", PATIENCE, || {
            // The new CA alone: any answer says that it signed what is shown.
            https::get(&format!("{}/", self.webhook.url), &ca, &[])
        })?;
        wait_until_asked(kubectl).context("with the new certificate")
    }
}

/// Waits until each of the webhooks answers a dry run with a rule of its own. New configurations
/// reach the API server's admission a moment after they were stored.
pub fn wait_until_asked(kubectl: &Cli) -> Result<()> {
    let location = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "is-it-asked", "namespace": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b", "caCert": "bm90aGluZw=="}},
    });
    let restore = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {"name": "is-it-asked", "namespace": "default"},
        "spec": {},
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "is-it-asked",
            "namespace": "default",
            "labels": {"velero-trust.io/inject": "perhaps"},
        },
        "spec": {"containers": [{"name": "c", "image": "none"}]},
    });
    for (object, rule) in [(location, "VT010"), (restore, "VT105"), (pod, "VT208")] {
        let what = format!("the webhook to speak of {rule}");
        wait::poll(&what, PATIENCE, || {
            let arguments = ["create", "--dry-run=server", "-f", "-"];
            let output = kubectl.run_with_input(&arguments, &object.to_string())?;
            ensure!(output.stderr.contains(rule), "{output:?}");
            Ok(())
        })?;
    }
    Ok(())
}
