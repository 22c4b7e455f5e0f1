//! A cluster of its own with Velero and velero-trust, beside others that use the same store.

use crate::story::recorded::{install_ledger, record_of, wait_for_annotation};
use crate::story::{
    PATIENCE, at, ensure_passed, get, install, velero, velero_trust, wait_for_phase,
};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::sync::Arc;
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::Installation;
use velero_trust_testing::minio::Minio;
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

/// The fields are dropped in this order: clients of the API server before it.
pub(super) struct Site {
    velero: Option<Velero>,
    pub(super) installation: Installation,
    pub(super) cluster: Cluster,
}

impl Site {
    /// Starts an empty cluster, and installs all but a running Velero. Its location is `bucket` of `minio`.
    pub(super) fn prepare(minio: &Arc<Minio>, bucket: &str) -> Result<Self> {
        let cluster = Cluster::start_with(minio)?;
        cluster.install_velero(VELERO_NAMESPACE, &[])?;
        install_ledger(&cluster)?;
        let installation = install(&cluster)?;
        let site = Self {
            velero: None,
            installation,
            cluster,
        };
        site.locate(VELERO_NAMESPACE, bucket)?;
        Ok(site)
    }

    /// Applies the location `default` of a Velero namespace. Velero looks into it each minute, and when it starts,
    /// but only if it is available then.
    pub(super) fn locate(&self, namespace: &str, bucket: &str) -> Result<()> {
        self.locate_as("default", namespace, bucket)
    }

    /// As [`Self::locate`], for a location of another name.
    pub(super) fn locate_as(&self, name: &str, namespace: &str, bucket: &str) -> Result<()> {
        let minio = self.cluster.minio()?;
        let (mut location, secret) = minio.location_with_ca(namespace, name, bucket);
        let spec = json!({
            "default": name == "default", "validationFrequency": "1s", "backupSyncPeriod": "1s",
        });
        let status = json!({"phase": "Available"});
        merge(&mut location, &json!({"spec": spec, "status": status}));
        for object in [secret, location] {
            self.cluster.kubectl().apply(&object.to_string())?;
        }
        Ok(())
    }

    /// Starts Velero.
    pub(super) fn start_velero(&mut self) -> Result<()> {
        let velero = self.cluster.start_velero(VELERO_NAMESPACE, &[])?;
        wait_for_phase(&self.cluster, "bsl", "default", "Available")
            .with_context(|| velero.tail())?;
        self.velero = Some(velero);
        Ok(())
    }

    /// Makes a namespace, and a backup of its name, as a user.
    pub(super) fn back_up(&self, name: &str) -> Result<()> {
        self.back_up_with(name, &[])
    }

    /// As [`Self::back_up`], with these options of Velero.
    pub(super) fn back_up_with(&self, name: &str, options: &[&str]) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.ok(&["create", "namespace", name])?;
        let prices = ["create", "configmap", "prices", "--from-literal=apple=3"];
        kubectl.ok(&[&["-n", name], &prices[..]].concat())?;
        let create = ["backup", "create", name, "--include-namespaces", name];
        let create = [&create[..], &["--wait"], options].concat();
        let created = velero(&self.cluster, &create)?;
        ensure_passed(name, &created)?;
        wait_for_phase(&self.cluster, "backup", name, "Completed").map(drop)
    }

    /// Waits until these backups are recorded.
    pub(super) fn has_recorded(&self, backups: &[&str]) -> Result<()> {
        for name in backups {
            wait_for_annotation(&self.cluster, name)?;
        }
        Ok(())
    }

    /// Waits until these backups are there, and not recorded for this reason.
    pub(super) fn has_judged(&self, backups: &[&str], reason: &str) -> Result<()> {
        for name in backups {
            wait::poll(&format!("backup {name} to be judged"), PATIENCE, || {
                let record = record_of(&self.cluster, name)?;
                let status = at(&record, "/status");
                ensure!(*at(status, "/state") == "Unobserved", "{status}");
                ensure!(*at(status, "/reason") == reason, "{status}");
                ensure!(at(status, "/envelope").is_null(), "{status}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Creates a Restore as a user, who may say something with it.
    pub(super) fn restore(&self, name: &str, backup: &str, says: Option<&str>) -> Result<Output> {
        let restore = ["restore", "create", name, "--from-backup", backup];
        let says = says.map(|says| ["--annotations", says]);
        let says = says.as_ref().map_or(&[][..], |says| says);
        velero(&self.cluster, &[&restore[..], says].concat())
    }

    /// Waits until the namespace of `backup` is restored, and returns the verdict.
    pub(super) fn has_restored(&self, name: &str, backup: &str) -> Result<Value> {
        let done = wait_for_phase(&self.cluster, "restore", name, "Completed")?;
        let kubectl = self.cluster.kubectl();
        let prices = kubectl.get(&["configmap", "prices", "-n", backup])?;
        ensure!(*at(&prices, "/data/apple") == "3", "{prices}");
        let verdict = at(&done, "/metadata/annotations/velero-trust.io~1verdict");
        let verdict = verdict.as_str().context("no verdict")?;
        Ok(serde_json::from_str(verdict)?)
    }

    /// Waits until Velero stops the Restore with these words, and nothing is restored.
    pub(super) fn has_stopped(&self, name: &str, backup: &str, words: &[&str]) -> Result<()> {
        let stopped = wait_for_phase(&self.cluster, "restore", name, "FailedValidation")?;
        let errors = at(&stopped, "/status/validationErrors").to_string();
        for word in words {
            ensure!(errors.contains(word), "{name}: `{word}` is not in {errors}");
        }
        let namespace = self.cluster.kubectl().run(&["get", "namespace", backup])?;
        ensure!(
            namespace.stderr.contains("NotFound"),
            "{name} restored something"
        );
        Ok(())
    }

    /// Deletes the namespace that is to be restored.
    pub(super) fn lose(&self, namespace: &str) -> Result<()> {
        let delete = ["delete", "namespace", namespace, "--timeout=60s"];
        self.cluster.kubectl().ok(&delete).map(drop)
    }

    /// Runs velero-trust as an administrator.
    pub(super) fn velero_trust(&self, arguments: &[&str]) -> Result<Output> {
        velero_trust(&self.cluster, arguments)
    }

    /// Returns an annotation of a Backup: `checksum` or `manifest`.
    pub(super) fn annotation(&self, backup: &str, name: &str) -> Result<String> {
        let backup = get(&self.cluster, "backup", backup)?;
        let pointer = format!("/metadata/annotations/velero-trust.io~1{name}");
        let value = at(&backup, &pointer).as_str().map(str::to_owned);
        value.with_context(|| format!("it has no such annotation: {backup}"))
    }

    /// Returns what Velero has printed so far: warnings of velero-trust at the gate are in it.
    pub(super) fn velero_log(&self) -> String {
        self.velero.as_ref().map(Velero::log).unwrap_or_default()
    }

    /// Returns the ends of the logs, for error messages.
    pub(super) fn logs(&self) -> Vec<String> {
        let mut logs = self.cluster.tails();
        logs.extend(self.velero.as_ref().map(Velero::tail));
        logs.push(self.installation.webhook.tail());
        logs
    }
}
