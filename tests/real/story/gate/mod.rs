//! A Restore begins only from the bytes that were signed, on real Velero and MinIO.

mod accepted;
mod brought;
mod crowd;
mod elsewhere;
mod forged;
mod oldest;
mod partial;
mod tampered;
mod traces;
mod waiting;

use super::recorded::{install_ledger, start_velero, wait_for_annotation};
use super::{at, ensure_passed, get, install, restore, velero, wait_for_phase};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use velero_trust_testing::cli::Output;
use velero_trust_testing::cluster::{Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::Installation;
use velero_trust_testing::velero::{Velero, Version};

/// The namespace that is backed up, deleted and restored.
const SHOP: &str = "shop";

/// A cluster in which backups are recorded.
struct Bed {
    cluster: Cluster,
    installation: Installation,
    velero: Velero,
}

impl Bed {
    fn start() -> Result<Self> {
        Self::start_with(Version::Newest)
    }

    fn start_with(version: Version) -> Result<Self> {
        let cluster = Cluster::start_for(version)?;
        cluster.install_velero(VELERO_NAMESPACE, &[])?;
        install_ledger(&cluster)?;
        let installation = install(&cluster)?;
        let velero = start_velero(&cluster)?;
        Ok(Self {
            cluster,
            installation,
            velero,
        })
    }

    /// Runs a story. Its error has what everybody logged.
    fn run(mut self, story: fn(&mut Self) -> Result<()>) -> Result<()> {
        story(&mut self).with_context(|| {
            let Self {
                installation,
                velero,
                ..
            } = &self;
            format!(
                "{}\nour log:\n{}",
                velero.tail(),
                installation.webhook.log()
            )
        })
    }

    /// Makes a backup of the shop, which is gone then, and waits until it is recorded.
    fn back_up(&self, name: &str) -> Result<()> {
        self.open()?;
        self.make(name, &[])?;
        self.are_recorded(&[name])?;
        self.close()
    }

    /// Makes the namespace.
    fn open(&self) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.ok(&["create", "namespace", SHOP])?;
        let prices = ["create", "configmap", "prices", "--from-literal=apple=3"];
        kubectl.ok(&[&["-n", SHOP], &prices[..]].concat()).map(drop)
    }

    /// Makes a backup of the shop, as a user with these options. Velero leaves one that is asked for beside
    /// another one in its queue for a minute.
    fn make(&self, name: &str, options: &[&str]) -> Result<()> {
        let create = ["backup", "create", name, "--include-namespaces", SHOP];
        let created = velero(&self.cluster, &[&create[..], options].concat())?;
        ensure_passed(name, &created)?;
        wait_for_phase(&self.cluster, "backup", name, "Completed").map(drop)
    }

    /// Waits until these backups are recorded.
    fn are_recorded(&self, names: &[&str]) -> Result<()> {
        for name in names {
            wait_for_annotation(&self.cluster, name)?;
        }
        Ok(())
    }

    /// Deletes the namespace.
    fn close(&self) -> Result<()> {
        let delete = ["delete", "namespace", SHOP, "--timeout=60s"];
        self.cluster.kubectl().ok(&delete).map(drop)
    }

    /// Starts Velero anew, which lets it compare the bucket with its Backups at once.
    fn sync(&mut self) -> Result<()> {
        self.velero.signal("KILL")?;
        let always = r#"{"spec": {"backupSyncPeriod": "1s"}}"#;
        let location = ["bsl", "default", "-n", VELERO_NAMESPACE];
        let patch = ["--type=merge", "-p", always];
        let patch = [&["patch"], &location[..], &patch].concat();
        self.cluster.kubectl().ok(&patch)?;
        self.velero = start_velero(&self.cluster)?;
        Ok(())
    }

    /// Creates a Restore.
    fn create(&self, name: &str, backup: &str, annotations: &Value) -> Result<Output> {
        let mut object: Value = serde_json::from_str(&restore(name, backup))?;
        merge(
            &mut object,
            &json!({"metadata": {"annotations": annotations}}),
        );
        self.cluster.kubectl().create(&object.to_string())
    }

    /// Fails unless `backup` is restored, with a verdict of this level.
    fn restores(&self, name: &str, backup: &str, level: &str) -> Result<Value> {
        ensure_passed(name, &self.create(name, backup, &Value::Null)?)?;
        self.has_restored(name, level)
    }

    fn has_restored(&self, name: &str, level: &str) -> Result<Value> {
        let done = wait_for_phase(&self.cluster, "restore", name, "Completed")?;
        let prices = self
            .cluster
            .kubectl()
            .get(&["configmap", "prices", "-n", SHOP])?;
        ensure!(*at(&prices, "/data/apple") == "3", "{prices}");
        let verdict = at(&done, "/metadata/annotations/velero-trust.io~1verdict");
        let verdict: Value = serde_json::from_str(verdict.as_str().context("no verdict")?)?;
        // A backup that is complete before it is seen is recorded as late.
        let is_late = verdict["level"] == "late" && level == "observed";
        ensure!(is_late || verdict["level"] == level, "{verdict}");
        self.close()?;
        Ok(verdict)
    }

    /// Fails unless Velero stops the Restore with these words, and nothing is restored.
    fn is_stopped(&self, name: &str, words: &[&str]) -> Result<()> {
        let stopped = wait_for_phase(&self.cluster, "restore", name, "FailedValidation")?;
        let errors = at(&stopped, "/status/validationErrors").to_string();
        for word in words {
            ensure!(errors.contains(word), "{name}: `{word}` is not in {errors}");
        }
        let namespace = self.cluster.kubectl().run(&["get", "namespace", SHOP])?;
        ensure!(namespace.code != Some(0), "{name} restored something");
        Ok(())
    }
}

/// Returns a Restore.
fn restore_of(cluster: &Cluster, name: &str) -> Result<Value> {
    get(cluster, "restore", name)
}

/// Everything that was changed in the bucket or in the cluster is refused, and nothing else.
pub(super) fn only_signed_bytes() -> Result<()> {
    Bed::start()?.run(tampered::story)
}

/// What a user accepts or expects.
pub(super) fn what_a_person_says() -> Result<()> {
    Bed::start()?.run(accepted::story)
}

/// Velero may read the bucket, and velero-trust may not.
pub(super) fn where_velero_alone_may_read() -> Result<()> {
    Bed::start()?.run(partial::story)
}

/// What cannot be known yet waits, and goes on by itself.
pub(super) fn waits_and_goes_on() -> Result<()> {
    Bed::start()?.run(waiting::story)
}

/// Velero 1.14.0.
pub(super) fn with_the_oldest_velero() -> Result<()> {
    Bed::start_with(Version::Oldest)?.run(oldest::story)
}

/// Many Restores of one backup share what is read, also with two replicas.
pub(super) fn many_at_once() -> Result<()> {
    Bed::start()?.run(crowd::story)
}
