//! What is there before a page begins: the clusters that it names, a bucket, and the folder in which its commands
//! run.

use super::node::Node;
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use velero_trust_testing::installer::{self, Installer, wait_until_asked};
use velero_trust_testing::minio::Minio;
use velero_trust_testing::page::{ClusterSpec, Page};
use velero_trust_testing::process::clean_command;
use velero_trust_testing::{rig, scratch, wait};

/// Longest time for one command, which ends long before.
const LIMIT: &str = "300";

const KUBECONFIG: &str = "kubeconfig";

/// The command that switches to a cluster.
const SWITCH: &str = "kubectl config use-context ";

/// The command of the README.
const INSTALL: &str = "kubectl apply -k manifests";

/// The clusters of a page, and the folder of its user. The fields are dropped in this order.
pub(super) struct Stage {
    places: Vec<Place>,
    specs: Vec<ClusterSpec>,
    minio: Arc<Minio>,
    folder: TempDir,
}

/// A cluster. The fields are dropped in this order: the servers before the API server.
struct Place {
    name: String,
    node: Node,
    installer: Arc<Installer>,
    cluster: Arc<Cluster>,
}

impl Stage {
    pub(super) fn of(page: &Page) -> Result<Self> {
        let folder = scratch::folder("page")?;
        let programs = folder.path().join("bin");
        fs::create_dir(&programs)?;
        for name in ["kubectl", "velero"] {
            symlink(rig::binary(name)?, programs.join(name))?;
        }
        symlink(binary(), programs.join("velero-trust"))?;
        let mut buckets: Vec<_> = page.clusters.iter().filter_map(bucket).collect();
        buckets.push(BUCKET);
        buckets.sort_unstable();
        buckets.dedup();
        let minio = Arc::new(Minio::start(&buckets)?);
        let home = folder.path();
        fs::write(home.join("passphrase"), "correct horse battery staple\n")?;
        fs::write(home.join("minio-ca.pem"), minio.authority.pem())?;
        fs::copy(minio.credentials_file(), home.join("credentials-velero"))?;
        Ok(Self {
            places: Vec::new(),
            specs: page.clusters.clone(),
            minio,
            folder,
        })
    }

    pub(super) fn store_url(&self) -> &str {
        &self.minio.url
    }

    /// Runs a command as the user of the page, and returns what a terminal would show.
    pub(super) fn run(&mut self, command: &str) -> Result<String> {
        match command.strip_prefix(SWITCH) {
            Some(name) => self.provide(name.trim())?,
            None if self.places.is_empty() => {
                let first = self.specs.first().context("no clusters")?.name.clone();
                self.provide(&first)?;
            }
            None => {}
        }
        self.shell(command)
    }

    fn shell(&self, command: &str) -> Result<String> {
        let home = self.folder.path();
        let mut shell = clean_command(Path::new("timeout"), home);
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            home.join("bin").display()
        );
        shell
            .env("PATH", path)
            .env("KUBECONFIG", home.join(KUBECONFIG));
        shell.args([LIMIT, "sh", "-c", &format!("{{ {command}\n}} 2>&1")]);
        let output = shell.stdin(std::process::Stdio::null()).output()?;
        ensure!(
            output.status.code() != Some(124),
            "`{command}` did not end in {LIMIT} s"
        );
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !printed.is_empty() && !printed.ends_with('\n') {
            printed.push('\n');
        }
        Ok(printed)
    }

    /// Sets up a cluster, if it is not there, and puts its files where a user of it has them.
    fn provide(&mut self, name: &str) -> Result<()> {
        let spec = self.specs.iter().find(|spec| spec.name == name).cloned();
        let spec = spec.with_context(|| format!("the page names no cluster {name}"))?;
        if spec.fresh {
            self.places.clear();
        }
        let is_there = self.places.iter().any(|place| place.name == name);
        if !is_there {
            let place = self.place(&spec)?;
            self.places.push(place);
        }
        self.write_kubeconfig(name)?;
        let place = self.places.iter().find(|place| place.name == name);
        let place = place.context("it is not there")?;
        self.write_manifests(&place.installer)?;
        if spec.velero_trust && !is_there {
            self.shell(INSTALL)?;
            wait_until_asked(place.cluster.kubectl())?;
            has_key(place.cluster.kubectl())?;
        }
        Ok(())
    }

    fn place(&self, spec: &ClusterSpec) -> Result<Place> {
        let cluster = Arc::new(Cluster::start_with(&self.minio)?);
        if spec.velero {
            cluster.install_velero(VELERO_NAMESPACE, &[])?;
            let bucket = bucket(spec).unwrap_or(BUCKET);
            if bucket != BUCKET {
                replicate(&self.minio, bucket)?;
            }
            self.locate(&cluster, bucket)?;
        }
        let installer = Installer::new(&cluster, binary(), installer::NAMESPACE)?;
        let installer = Arc::new(installer.issuing().whole());
        Ok(Place {
            name: spec.name.clone(),
            node: Node::start(&cluster, &installer),
            installer,
            cluster,
        })
    }

    /// Applies the location. Velero looks into it each minute, and when it starts, but only if it is available then.
    fn locate(&self, cluster: &Cluster, bucket: &str) -> Result<()> {
        let (mut location, secret) =
            self.minio
                .location_with_ca(VELERO_NAMESPACE, "default", bucket);
        let spec = json!({"default": true, "validationFrequency": "1s", "backupSyncPeriod": "1s"});
        merge(
            &mut location,
            &json!({"spec": spec, "status": {"phase": "Available"}}),
        );
        for object in [secret, location] {
            cluster.kubectl().apply(&object.to_string())?;
        }
        Ok(())
    }

    /// Writes the access to all clusters, which is to `current`.
    fn write_kubeconfig(&self, current: &str) -> Result<()> {
        let mut config = json!({"apiVersion": "v1", "kind": "Config", "current-context": current});
        for place in &self.places {
            let one: Value = serde_json::from_str(&place.cluster.access().kubeconfig())?;
            let name = &place.name;
            for (list, key) in [("clusters", "cluster"), ("users", "user")] {
                let entry = json!({"name": name, key: one[list][0][key]});
                push(&mut config, list, entry);
            }
            let context = json!({"cluster": name, "user": name});
            push(
                &mut config,
                "contexts",
                json!({"name": name, "context": context}),
            );
        }
        fs::write(self.folder.path().join(KUBECONFIG), config.to_string())?;
        Ok(())
    }

    /// Writes the manifests, with webhooks that call the server of this cluster.
    fn write_manifests(&self, installer: &Installer) -> Result<()> {
        let folder = self.folder.path().join("manifests");
        fs::create_dir_all(&folder)?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": installer.objects()?});
        fs::write(folder.join("objects.yaml"), list.to_string())?;
        let kustomization = json!({"resources": ["objects.yaml"]});
        fs::write(folder.join("kustomization.yaml"), kustomization.to_string())?;
        Ok(())
    }

    /// Ends all clusters, and returns the ends of their logs.
    pub(super) fn end(&mut self) -> Vec<String> {
        let places = self.places.iter_mut();
        let logs = places.flat_map(|place| [place.node.end(), place.cluster.tails()].concat());
        logs.collect()
    }
}

/// Waits until the leader has made its key, which takes less time than a user needs to type.
fn has_key(kubectl: &Cli) -> Result<()> {
    wait::poll("the key of the leader", wait::PATIENCE, || {
        let keys = kubectl.ok(&["get", "trustedkeys", "-o", "name"])?;
        ensure!(!keys.is_empty(), "there is no TrustedKey");
        Ok(())
    })
}

/// Does what the store of the page does: copies the bucket into another one.
fn replicate(minio: &Minio, bucket: &str) -> Result<()> {
    let from = minio.data().join(BUCKET).join("backups");
    let data = minio.data();
    let mut copy = clean_command(Path::new("cp"), &data);
    let copied = copy.arg("-r").arg(from).arg(data.join(bucket)).status()?;
    ensure!(copied.success(), "the bucket is not copied");
    Ok(())
}

fn bucket(spec: &ClusterSpec) -> Option<&str> {
    spec.bucket.as_deref()
}

fn push(config: &mut Value, list: &str, entry: Value) {
    match &mut config[list] {
        Value::Array(entries) => entries.push(entry),
        other => *other = json!([entry]),
    }
}
