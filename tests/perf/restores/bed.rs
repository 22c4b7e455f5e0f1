//! A cluster with Velero, MinIO and, later, velero-trust.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use velero_trust::bucket::{BucketSettings, Credentials, Reach, Store, Timing, Trust};
use velero_trust::ca::endpoint::DeniedAddresses;
use velero_trust::dial::Proxies;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installation, Installer};
use velero_trust_testing::minio::{ACCESS_KEY, REGION, SECRET_KEY};
use velero_trust_testing::velero::Velero;
use velero_trust_testing::wait;

use super::{PATIENCE, time};

/// The namespace that is backed up and restored.
const SHOP: &str = "shop";

/// The servers. Velero ends before those that it uses.
pub(super) struct Bed {
    pub(super) velero: Velero,
    installation: Option<Installation>,
    pub(super) cluster: Cluster,
    binary: PathBuf,
}

impl Bed {
    /// Starts all but velero-trust.
    pub(super) fn start() -> Result<Self> {
        let cluster = Cluster::start()?;
        cluster.install_velero(VELERO_NAMESPACE, &[])?;
        let kubectl = cluster.kubectl();
        add_location(&cluster, "default", BUCKET, &json!({}))?;
        let velero = cluster.start_velero(VELERO_NAMESPACE, &[])?;
        kubectl.ok(&["create", "namespace", SHOP])?;
        let prices = ["create", "configmap", "prices", "--from-literal=apple=3"];
        kubectl.ok(&[&prices[..], &["-n", SHOP]].concat())?;
        let bed = Self {
            velero,
            installation: None,
            cluster,
            binary: PathBuf::new(),
        };
        bed.is_available("default")?;
        Ok(bed)
    }

    /// Installs velero-trust.
    pub(super) fn install(&mut self, binary: &Path) -> Result<()> {
        let kinds = installer::manifests().join("crds");
        let kinds = kinds.to_str().context("a path that is no text")?;
        self.cluster.kubectl().ok(&["apply", "-k", kinds])?;
        let installer = Installer::new(&self.cluster, binary, installer::NAMESPACE)?;
        self.installation = Some(installer.install()?);
        binary.clone_into(&mut self.binary);
        Ok(())
    }

    pub(super) fn installation(&self) -> Result<&Installation> {
        self.installation.as_ref().context("it is not installed")
    }

    /// Runs velero-trust as an administrator.
    pub(super) fn velero_trust(&self) -> Result<Cli> {
        Cli::new(self.binary.clone(), Some(self.cluster.kubeconfig()))
    }

    pub(super) fn is_available(&self, location: &str) -> Result<()> {
        wait::poll("the location to be available", PATIENCE, || {
            let phase = self.phase("BackupStorageLocation", location)?;
            ensure!(phase == "Available", "it is {phase}");
            Ok(())
        })
    }

    /// Makes a backup in a location, and waits until it is completed.
    pub(super) fn back_up(&self, name: &str, location: &str) -> Result<()> {
        let arguments = ["backup", "create", name, "--include-namespaces", SHOP];
        let location = ["--storage-location", location, "--wait"];
        let velero = self.cluster.velero_cli()?;
        velero.ok(&[&arguments[..], &location].concat())?;
        wait::poll("the backup to be completed", PATIENCE, || {
            let phase = self.phase("Backup", name)?;
            ensure!(phase == "Completed", "it is {phase}");
            Ok(())
        })
    }

    /// Waits until a backup is recorded.
    pub(super) fn is_recorded(&self, name: &str) -> Result<()> {
        wait::poll("the backup to be recorded", PATIENCE, || {
            let backup = self.get("Backup", name)?;
            let annotations = backup.metadata.annotations.unwrap_or_default();
            ensure!(
                annotations.contains_key("velero-trust.io/manifest"),
                "{annotations:?}"
            );
            Ok(())
        })
    }

    /// Creates a Restore of `backup`, and returns how long it takes until that is completed.
    pub(super) fn restore(&self, name: &str, backup: &str) -> Result<Duration> {
        self.create(name, backup)?;
        time(&format!("Restore {name}"), || {
            let phase = self.phase("Restore", name)?;
            ensure!(!phase.contains("Failed"), "{name} is {phase}");
            Ok(phase == "Completed")
        })
        .with_context(|| self.velero.tail())
    }

    /// Creates a Restore of `backup`.
    pub(super) fn create(&self, name: &str, backup: &str) -> Result<DynamicObject> {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Restore",
            "metadata": {"name": name, "namespace": VELERO_NAMESPACE},
            "spec": {"backupName": backup},
        });
        let object = serde_json::from_value(object)?;
        let restores = self.api("Restore");
        let params = PostParams::default();
        Ok(self.cluster.block_on(restores.create(&params, &object))?)
    }

    /// Returns `status.phase` of an object; empty if it has none.
    pub(super) fn phase(&self, kind: &str, name: &str) -> Result<String> {
        let object = self.get(kind, name)?;
        let phase = object.data.pointer("/status/phase");
        let phase = phase.and_then(Value::as_str).unwrap_or_default();
        Ok(phase.to_owned())
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Result<DynamicObject> {
        Ok(self.cluster.block_on(self.api(kind).get(name))?)
    }

    /// Returns a kind of Velero's in its namespace.
    pub(super) fn api(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.cluster.client(), VELERO_NAMESPACE, &resource)
    }

    /// Opens the bucket as an administrator of it.
    pub(super) fn store(&self) -> Result<Store> {
        let minio = self.cluster.minio()?;
        let settings = BucketSettings::of_bucket(VELERO_NAMESPACE, BUCKET, "")?;
        let settings = settings.at(Some(&minio.url), Some(REGION), true)?;
        let keys = object_store::aws::AwsCredential {
            key_id: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            token: None,
        };
        let reach = Reach {
            trust: Trust::bundle(VELERO_NAMESPACE, &minio.authority.pem()),
            denied: DeniedAddresses::nothing(),
            proxies: Proxies::default(),
            timing: Timing::default(),
        };
        let store = Store::open(settings, Credentials::fixed(keys)?, reach);
        Ok(self.cluster.block_on(store)?)
    }
}

/// Adds a location, with `config` in its `spec.config`.
pub(super) fn add_location(
    cluster: &Cluster,
    name: &str,
    bucket: &str,
    config: &Value,
) -> Result<()> {
    let minio = cluster.minio()?;
    let (mut location, secret) = minio.location_with_ca(VELERO_NAMESPACE, name, bucket);
    let more = json!({"spec": {"validationFrequency": "1s", "config": config}});
    merge(&mut location, &more);
    if name == "default" {
        merge(&mut location, &json!({"spec": {"default": true}}));
    }
    cluster.kubectl().apply(&secret.to_string())?;
    cluster.kubectl().apply(&location.to_string())?;
    Ok(())
}
