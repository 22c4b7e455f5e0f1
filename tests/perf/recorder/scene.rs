//! An API server, a MinIO, and Backups with their files.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use velero_trust::integrity::recording::RecordState;
use velero_trust::kubernetes::crds::BackupRecord;
use velero_trust_testing::access::Access;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::installer::{self, NAMESPACE};
use velero_trust_testing::minio::Minio;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::velero::{Velero, Version};
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{scratch, velero, wait};

use super::transfer;

/// The namespace of Velero.
pub(super) const VELERO: &str = "velero";

const BUCKET: &str = "backups";

/// What follows the name of a backup in the names of the files that Velero 1.18 writes beside the
/// tarball and `velero-backup.json`.
const SUFFIXES: [&str; 7] = [
    "-itemoperations.json.gz",
    "-logs.gz",
    "-podvolumebackups.json.gz",
    "-resource-list.json.gz",
    "-results.gz",
    "-volumeinfo.json.gz",
    "-volumesnapshots.json.gz",
];

/// Longest time for a backup to be recorded.
const PATIENCE: Duration = Duration::from_mins(5);

/// The environment of the recorder. The servers are dropped last.
pub(super) struct Scene<'r> {
    pub(super) runtime: &'r Runtime,
    /// The administrator's client.
    pub(super) client: Client,
    binary: &'r Path,
    access: Access,
    folder: TempDir,
    minio: Minio,
    server: ApiServer,
}

impl<'r> Scene<'r> {
    pub(super) fn start(runtime: &'r Runtime, binary: &'r Path) -> Result<Self> {
        let (server, minio) = (ApiServer::start()?, Minio::start(&[BUCKET])?);
        let kubectl = server.kubectl()?;
        velero::apply_crds(&kubectl)?;
        let ledger = installer::manifests().join("crds");
        kubectl.ok(&["apply", "-k", ledger.to_str().context("no text")?])?;
        for namespace in [NAMESPACE, VELERO] {
            kubectl.ok(&["create", "namespace", namespace])?;
        }
        kubectl.apply(&fs::read_to_string(
            installer::manifests().join("rbac.yaml"),
        )?)?;
        installer::bind(&kubectl, VELERO)?;
        let folder = scratch::folder("recorder")?;
        let certificates = folder.path().display().to_string();
        Cli::new(binary.to_owned(), None)?.ok(&["certs", "--dir", &certificates])?;
        fs::write(folder.path().join("minio.crt"), minio.authority.pem())?;
        add_location(&kubectl, &minio)?;
        Ok(Self {
            runtime,
            client: runtime.block_on(server.access().client())?,
            binary,
            access: server.service_account(NAMESPACE, NAMESPACE)?,
            folder,
            minio,
            server,
        })
    }

    /// Starts a replica as it is deployed, and waits until it leads.
    pub(super) fn replica(&self) -> Result<Webhook> {
        let replica = self.start_replica("replica")?;
        wait::poll("the replica to lead", PATIENCE, || {
            let leads = replica.metrics()?.contains("velero_trust_leader 1");
            ensure!(leads, "not yet");
            Ok(())
        })?;
        Ok(replica)
    }

    /// Starts a replica of this name as it is deployed.
    pub(super) fn start_replica(&self, name: &str) -> Result<Webhook> {
        let kubeconfig = self.folder.path().join("kubeconfig");
        fs::write(&kubeconfig, self.access.kubeconfig())?;
        let serve = Serve::new(self.binary, self.folder.path()).kubeconfig(&kubeconfig);
        let serve = serve.variable("HOSTNAME", name).as_deployed()?;
        let arguments = ["--probe=loopback", "--namespace", NAMESPACE];
        serve.arguments(&arguments).start()
    }

    /// Starts Velero, which syncs at once.
    pub(super) fn velero(&self) -> Result<Velero> {
        let access = self.server.access();
        let keys = self.minio.credentials_file();
        Velero::start(Version::Newest, access, VELERO, &keys, &[])
    }

    /// Returns the CA of the replicas.
    pub(super) fn ca_of_replicas(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("ca.crt"))?)
    }

    /// Returns how many requests the store had so far, as it counts them every few seconds.
    pub(super) fn requests_to_bucket(&self) -> Result<f64> {
        self.minio.requests()
    }

    /// Writes the files of a backup but `velero-backup.json`.
    pub(super) fn upload(&self, name: &str, size: u64) -> Result<()> {
        let file = self.folder.path().join("upload");
        File::create(&file)?.set_len(size)?;
        self.put(name, &format!("{name}.tar.gz"), &file)?;
        fs::write(&file, name)?;
        for suffix in SUFFIXES {
            self.put(name, &format!("{name}{suffix}"), &file)?;
        }
        Ok(())
    }

    /// Makes the Backup of uploaded files as Velero does: it is seen before it is complete.
    pub(super) fn complete(&self, name: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {"name": name, "namespace": VELERO},
            "spec": {"storageLocation": "default"},
            "status": {"phase": "InProgress", "startTimestamp": "2026-01-01T00:00:00Z"},
        });
        let object = serde_json::from_value(object)?;
        let backups = self.backups();
        let params = PostParams::default();
        let mut object = self.runtime.block_on(backups.create(&params, &object))?;
        object.data["status"]["phase"] = json!("Completed");
        object.metadata.managed_fields = None;
        let file = self.folder.path().join("upload");
        fs::write(&file, serde_json::to_vec(&object)?)?;
        self.put(name, "velero-backup.json", &file)?;
        let phase = Patch::Merge(json!({"status": {"phase": "Completed"}}));
        let params = PatchParams::default();
        self.runtime
            .block_on(backups.patch(name, &params, &phase))?;
        Ok(())
    }

    pub(super) fn until_recorded(&self, name: &str) -> Result<BackupRecord> {
        wait::poll("the backup to be recorded", PATIENCE, || {
            let record = self.record(name)?;
            let state = record.status.as_ref().map(|status| status.state);
            ensure!(state == Some(RecordState::Recorded), "{:?}", record.status);
            Ok(record)
        })
    }

    /// Returns the record of a backup.
    pub(super) fn record(&self, name: &str) -> Result<BackupRecord> {
        let backups = self.backups();
        let backup = self.runtime.block_on(backups.get(name))?;
        let uid = backup.metadata.uid.context("no uid")?;
        let records = Api::<BackupRecord>::all(self.client.clone());
        let record = self
            .runtime
            .block_on(records.get(&format!("{name}.{uid}")))?;
        Ok(record)
    }

    /// Reads the tarball with curl and openssl. Returns the digest and their CPU time.
    pub(super) fn read_with_tools(&self, name: &str) -> Result<(String, Duration)> {
        let url = self.url(name, &format!("{name}.tar.gz"));
        transfer::read(&url, &self.ca())
    }

    /// Removes the files of a backup.
    pub(super) fn remove_files(&self, name: &str) -> Result<()> {
        let folder = self.minio.data().join(BUCKET).join("backups").join(name);
        Ok(fs::remove_dir_all(folder)?)
    }

    pub(super) fn backups(&self) -> Api<DynamicObject> {
        self.objects("Backup")
    }

    /// Returns the objects of a kind of Velero.
    pub(super) fn objects(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), VELERO, &resource)
    }

    fn put(&self, backup: &str, name: &str, file: &Path) -> Result<()> {
        transfer::upload(file, &self.url(backup, name), &self.ca())
    }

    fn url(&self, backup: &str, file: &str) -> String {
        format!("{}/{BUCKET}/backups/{backup}/{file}", self.minio.url)
    }

    fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("minio.crt")
    }
}

fn add_location(kubectl: &Cli, minio: &Minio) -> Result<()> {
    let (mut location, ca) = minio.location_with_ca(VELERO, "default", BUCKET);
    location["spec"]["credential"] = json!({"name": "cloud", "key": "cloud"});
    // Velero syncs when it starts only if the location is available then.
    location["spec"]["backupSyncPeriod"] = json!("1s");
    location["status"] = json!({"phase": "Available"});
    let keys = ByteString(fs::read(minio.credentials_file())?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": VELERO, "name": "cloud"},
        "data": {"cloud": keys},
    });
    for object in [ca, secret, location] {
        kubectl.apply(&object.to_string())?;
    }
    Ok(())
}
