//! velero-trust installed into a cluster as its README says.
//!
//! No kubelet runs, so two things differ from a real installation: the server is a process on
//! loopback, to which the webhook configurations point by URL in place of the Service, and the
//! Pods of the Deployment, which the real controllers make, are called ready by hand.

use crate::cli::{Cli, Output};
use crate::cluster::Cluster;
use crate::webhook::Webhook;
use crate::{ports, scratch, wait};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The namespace in the manifests.
pub const NAMESPACE: &str = "velero-trust";

/// Longest wait for anything the controllers or the API server do.
const PATIENCE: Duration = Duration::from_mins(1);

/// An installation, step by step.
pub struct Installer<'a> {
    cluster: &'a Cluster,
    binary: &'a Path,
    namespace: &'a str,
    /// Where the server will listen; chosen first, because the configurations name it.
    port: u16,
    folder: TempDir,
}

/// velero-trust, installed and active.
pub struct Installation {
    /// The server, under the rights of its ServiceAccount.
    pub webhook: Webhook,
    /// What `certs --install` printed.
    pub certs: Output,
    _folder: TempDir,
}

impl<'a> Installer<'a> {
    /// Nothing is done yet. `binary` is velero-trust.
    pub fn new(cluster: &'a Cluster, binary: &'a Path, namespace: &'a str) -> Result<Self> {
        Ok(Self {
            cluster,
            binary,
            namespace,
            port: ports::free()?,
            folder: scratch::folder("installation")?,
        })
    }

    /// All steps, until the API server asks the webhook about everything it should.
    pub fn install(self) -> Result<Installation> {
        self.apply()?;
        let (webhook, certs) = self.activate()?;
        ensure!(certs.code == Some(0), "certs --install failed: {certs:?}");
        wait_until_asked(self.cluster.kubectl()).with_context(|| webhook.log())?;
        let folder = self.folder;
        Ok(Installation {
            webhook,
            certs,
            _folder: folder,
        })
    }

    /// `kubectl apply` of the manifests; nothing is active by that.
    pub fn apply(&self) -> Result<()> {
        let mut objects = rendered(self.cluster.kubectl(), self.namespace)?;
        for object in &mut objects {
            let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
            for webhook in webhooks.into_iter().flatten() {
                let path = webhook.pointer("/clientConfig/service/path");
                let path = path.and_then(Value::as_str).context("no path")?;
                let url = format!("https://127.0.0.1:{}{path}", self.port);
                let webhook = webhook.as_object_mut().context("no webhook")?;
                webhook.insert("clientConfig".to_owned(), json!({ "url": url }));
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.cluster.kubectl().apply(&list.to_string())?;
        Ok(())
    }

    /// `velero-trust certs --install` as the administrator, successful or not.
    pub fn certs(&self, wait: Duration) -> Result<Output> {
        let cli = Cli::new(self.binary.to_owned(), Some(self.cluster.kubeconfig()))?;
        let wait = wait.as_secs().to_string();
        let namespace = ["--namespace", self.namespace];
        cli.run(&[&["certs", "--install", "--wait", &wait][..], &namespace].concat())
    }

    /// [`Installer::certs`], and meanwhile what the nodes of a cluster would do: start the server
    /// as soon as its Secret is there, and say that its Pods are ready.
    pub fn activate(&self) -> Result<(Webhook, Output)> {
        thread::scope(|scope| {
            let certs = scope.spawn(|| self.certs(PATIENCE));
            wait::poll("the Secret with the certificate", PATIENCE, || {
                ensure!(!certs.is_finished() || self.has_secret(), "not yet");
                self.secret().map(drop)
            })?;
            let webhook = self.serve()?;
            wait::poll("certs --install to end", 2 * PATIENCE, || {
                self.set_ready(true)?;
                ensure!(certs.is_finished(), "it still waits");
                Ok(())
            })?;
            match certs.join() {
                Ok(output) => Ok((webhook, output?)),
                Err(_) => bail!("the thread of certs --install panicked"),
            }
        })
    }

    /// The server, with the certificate of the cluster's Secret and the rights of its account.
    pub fn serve(&self) -> Result<Webhook> {
        let secret = self.secret()?;
        for name in ["tls.crt", "tls.key"] {
            let data = secret.get("data").and_then(|data| data.get(name));
            let bytes: ByteString = serde_json::from_value(data.cloned().unwrap_or_default())?;
            fs::write(self.file(name), bytes.0)?;
        }
        let access = self.cluster.service_account(self.namespace, NAMESPACE)?;
        let kubeconfig = self.file("kubeconfig");
        fs::write(&kubeconfig, access.kubeconfig())?;
        let [certificate, key, kubeconfig] =
            [self.file("tls.crt"), self.file("tls.key"), kubeconfig]
                .map(|path| path.display().to_string());
        let listen = format!("127.0.0.1:{}", self.port);
        let arguments = [
            "serve",
            "--listen",
            &listen,
            "--ops-listen=127.0.0.1:0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "--log-format=json",
        ];
        Webhook::start(self.binary, &arguments, &[("KUBECONFIG", &kubeconfig)])
    }

    /// What kubelets report of the Pods that the controllers made from the Deployment.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        let selector = "app.kubernetes.io/component=webhook";
        let pods = kubectl.ok(&[
            "get",
            "pods",
            "-n",
            self.namespace,
            "-l",
            selector,
            "-o",
            "name",
        ])?;
        let status = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": status});
        let patch = json!({"status": {"phase": "Running", "conditions": [condition]}}).to_string();
        for pod in pods.lines() {
            kubectl.ok(&[
                "patch",
                pod,
                "-n",
                self.namespace,
                "--subresource=status",
                "--patch",
                &patch,
            ])?;
        }
        Ok(())
    }

    /// The Secret that `certs --install` writes.
    pub fn secret(&self) -> Result<Value> {
        let kubectl = self.cluster.kubectl();
        kubectl.get(&["secret", "velero-trust-tls", "-n", self.namespace])
    }

    fn has_secret(&self) -> bool {
        self.secret().is_ok()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The command of the README that lets velero-trust read the Secrets of `namespace`.
pub fn bind(kubectl: &Cli, namespace: &str) -> Result<()> {
    kubectl.ok(&[
        "-n",
        namespace,
        "create",
        "rolebinding",
        "velero-trust-secret-reader",
        "--clusterrole=velero-trust-secret-reader",
        "--serviceaccount=velero-trust:velero-trust",
    ])?;
    Ok(())
}

/// Where the manifests are.
pub fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// The manifests as `kubectl apply -k` would send them, installed into `namespace` by a
/// kustomization on top where it is not their own.
pub fn rendered(kubectl: &Cli, namespace: &str) -> Result<Vec<Value>> {
    let folder = scratch::folder("kustomization")?;
    let base = folder.path().join("manifests");
    fs::create_dir(&base)?;
    for entry in fs::read_dir(manifests())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), base.join(entry.file_name()))?;
        }
    }
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": ["manifests"],
    });
    fs::write(
        folder.path().join("kustomization.yaml"),
        overlay.to_string(),
    )?;
    let root = if namespace == NAMESPACE {
        &base
    } else {
        folder.path()
    };
    let text = kubectl.ok(&[Path::new("kustomize"), root])?;
    Ok(serde_saphyr::from_multiple(&text)?)
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
        wait::poll(&what, Duration::from_secs(30), || {
            let arguments = ["create", "--dry-run=server", "-f", "-"];
            let output = kubectl.run_with_input(&arguments, &object.to_string())?;
            ensure!(output.stderr.contains(rule), "{output:?}");
            Ok(())
        })?;
    }
    Ok(())
}
