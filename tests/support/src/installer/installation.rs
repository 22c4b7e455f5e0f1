//! An installed velero-trust: its server can be killed, restarted, and given a new certificate.

use super::Installer;
use crate::cli::{Cli, Output};
use crate::https;
use crate::wait::{self, PATIENCE};
use crate::webhook::Webhook;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::thread;

/// velero-trust, installed and active. Dropping it ends its server and leaves the rest.
#[derive(Debug)]
pub struct Installation {
    /// The server, with the rights of its ServiceAccount.
    pub webhook: Webhook,
    /// The output of `certs --install`.
    pub certs: Output,
    /// What it was installed with.
    pub installer: Installer,
}

impl Installation {
    /// Kills the server at once, as when its node dies. The configurations stay in force.
    pub fn kill(&mut self) -> Result<()> {
        self.webhook.signal("KILL")?;
        self.webhook.ended(PATIENCE).map(drop)
    }

    /// Starts a killed server again behind the same Service, with these arguments of `serve` in
    /// addition to its own, and waits until every webhook answers.
    pub fn start_again(&mut self, more: &[&str]) -> Result<()> {
        self.webhook = self.installer.serve(more)?;
        wait_until_asked(&self.installer.kubectl).with_context(|| self.webhook.log())
    }

    /// Installs a new serving certificate as the README describes. Every webhook must answer while
    /// the server still presents the old one, and after it has loaded the new one.
    pub fn renew_certificate(&self) -> Result<()> {
        let Installer { kubectl, .. } = &self.installer;
        let certs = self.installer.certs(PATIENCE)?;
        ensure!(certs.code == Some(0), "certs --install failed: {certs:?}");
        wait_until_asked(kubectl).context("with the old certificate")?;
        self.installer.mount_certificate()?;
        let ca = self.installer.ca()?;
        wait::poll("the new certificate to be shown", PATIENCE, || {
            // Only the new CA is trusted: any answer shows that the presented certificate is signed
            // by it.
            https::get(&format!("{}/", self.webhook.url), &ca, &[])
        })?;
        wait_until_asked(kubectl).context("with the new certificate")
    }
}

impl Installation {
    /// Runs `certs --install --revoke-old`, and meanwhile does what the nodes of a cluster would do:
    /// the server gets the new certificate, and the new Pods become ready. Every webhook must answer
    /// afterwards.
    pub fn revoke_old_cas(&self) -> Result<Output> {
        let installer = &self.installer;
        let output = thread::scope(|scope| {
            let certs = scope.spawn(|| installer.certs_with(PATIENCE, &["--revoke-old"]));
            wait::poll("certs --install --revoke-old to end", 2 * PATIENCE, || {
                installer.mount_certificate()?;
                installer.set_ready(true)?;
                ensure!(certs.is_finished(), "it still waits");
                Ok(())
            })?;
            match certs.join() {
                Ok(output) => output,
                Err(_) => bail!("the thread of certs --install panicked"),
            }
        })?;
        wait_until_asked(&installer.kubectl).context("with only the new CA")?;
        Ok(output)
    }
}

/// Waits until each of the webhooks answers a dry run with a rule of its own. The API server's
/// admission uses new configurations only a moment after they are stored.
pub fn wait_until_asked(kubectl: &Cli) -> Result<()> {
    let location = json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "is-it-asked", "namespace": "default"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "b", "caCert": "bm90aGluZw=="}},
    });
    let with = |annotations: Value| {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "Restore",
            "metadata": {
                "name": "is-it-asked", "namespace": "default", "annotations": annotations,
            },
            "spec": {},
        })
    };
    let restore = with(Value::Null);
    // The webhook that stamps it removes that annotation, and says so.
    let stamped = with(json!({"velero-trust.io/reconcile-requested-at": "x"}));
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
    let backup = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {
            "name": "is-it-asked",
            "namespace": "default",
            "annotations": {"velero-trust.io/checksum": "forged"},
        },
        "spec": {},
    });
    for (object, rule) in [
        (location, "VT010"),
        (restore, "VT105"),
        (stamped, "only velero-trust writes it"),
        (pod, "VT208"),
        (backup, "VT111"),
    ] {
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
