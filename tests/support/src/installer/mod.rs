//! Installs velero-trust into a cluster as its README describes.
//!
//! No kubelet runs, so two things differ from a real installation. The server is a process on
//! loopback, and a balancer is behind the Service, which the API server calls as in production. The Pods of the
//! Deployment, which the real controllers create, are marked ready by hand.

mod installation;
mod manifests;

pub use installation::{Installation, wait_until_asked};
pub use manifests::{manifests, rendered, rendered_with, whole};

use crate::access::Access;
use crate::balancer::Balancer;
use crate::cli::{Cli, Output};
use crate::cluster::{Cluster, VELERO_NAMESPACE};
use crate::pki::{Authority, Identity};
use crate::serve::Serve;
use crate::wait::{self, PATIENCE};
use crate::webhook::Webhook;
use crate::{kubelet, scratch};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The namespace in the manifests.
pub const NAMESPACE: &str = "velero-trust";

/// The Service in the manifests.
const SERVICE: &str = "velero-trust";

/// The option of kubectl to be velero-trust, which alone says what is recorded of a Backup.
pub const AS_VELERO_TRUST: &str = "--as=system:serviceaccount:velero-trust:velero-trust";

/// An installation, step by step.
#[derive(Debug)]
pub struct Installer {
    /// The administrator's access.
    access: Access,
    kubectl: Cli,
    /// velero-trust as run by the administrator.
    pub command: Cli,
    binary: PathBuf,
    namespace: String,
    /// What is behind the Service.
    balancer: Balancer,
    /// Arguments of `serve` in addition to those that every test needs.
    options: Vec<String>,
    /// Whether the leader makes the webhooks active, instead of `certs --install`.
    is_activating: bool,
    /// Whether the replicas issue their own certificates, and no Secret with one is mounted.
    is_issuing: bool,
    /// The URL of the API server for the replicas, if it is another one than for the administrator.
    server: Option<String>,
    /// Whether everything is applied that the manifests have.
    is_whole: bool,
    /// The components of the manifests that are used.
    components: Vec<String>,
    folder: TempDir,
}

impl Installer {
    /// Creates an installer; nothing is installed yet. `binary` is velero-trust.
    pub fn new(cluster: &Cluster, binary: &Path, namespace: &str) -> Result<Self> {
        Ok(Self {
            access: cluster.access().clone(),
            kubectl: Cli::kubectl(cluster.kubeconfig())?,
            command: Cli::new(binary.to_owned(), Some(cluster.kubeconfig()))?,
            binary: binary.to_owned(),
            namespace: namespace.to_owned(),
            balancer: Balancer::start(Ipv4Addr::LOCALHOST, &[])?,
            options: Vec::new(),
            is_activating: false,
            is_issuing: false,
            server: None,
            is_whole: false,
            components: Vec::new(),
            folder: scratch::folder("installation")?,
        })
    }

    /// Sets arguments for the server, in addition to its own.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> Self {
        self.options
            .extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Lets the leader make the webhooks active by itself.
    #[must_use]
    pub fn activating(mut self) -> Self {
        self.is_activating = true;
        self
    }

    /// Lets the replicas issue their own certificates, and the leader make the webhooks active, as in the
    /// manifests.
    #[must_use]
    pub fn issuing(mut self) -> Self {
        self.is_issuing = true;
        self
    }

    /// Lets those that are started from now on take their certificate from files, with the leader that makes the webhooks
    /// active.
    #[must_use]
    pub fn from_files(mut self) -> Self {
        self.is_issuing = false;
        self.is_activating = true;
        self
    }

    /// Lets the replicas reach the API server by this URL.
    #[must_use]
    pub fn with_server(mut self, url: &str) -> Self {
        self.server = Some(url.to_owned());
        self
    }

    /// Applies also the kinds of records, and the right to read the Secrets in the namespace `velero`, which
    /// must exist. See [`rendered`].
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// Uses components of the manifests. What they set of the Deployment is not seen by the server,
    /// which is no Pod.
    #[must_use]
    pub fn with_components(mut self, components: &[&str]) -> Self {
        let components = components.iter().map(|component| (*component).to_owned());
        self.components.extend(components);
        self
    }

    /// Installs it with a certificate from files, until the API server calls the webhook for everything it
    /// should. The namespace `velero` must exist, because velero-trust is granted the right to read
    /// its Secrets.
    pub fn install(self) -> Result<Installation> {
        self.apply()?;
        bind_account_of(&self.kubectl, VELERO_NAMESPACE, &self.namespace)?;
        let (webhook, certs) = self.activate()?;
        ensure!(certs.code == Some(0), "certs --install failed: {certs:?}");
        wait_until_asked(&self.kubectl).with_context(|| webhook.log())?;
        Ok(Installation {
            webhook,
            certs,
            installer: self,
        })
    }

    /// Returns the namespace into which it installs.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `kubectl apply` on the manifests, which activates nothing yet. Another namespace than that of the
    /// manifests is made before.
    pub fn apply(&self) -> Result<()> {
        if self.namespace != NAMESPACE {
            let metadata = json!({"name": self.namespace});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            self.kubectl.apply(&namespace.to_string())?;
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.objects()?});
        self.kubectl.apply(&list.to_string())?;
        Ok(())
    }

    /// Returns the objects of the manifests, with a Service through which the API server reaches the balancer.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let mut components = self.components.clone();
        if !self.is_issuing {
            components.push("certificate-files".to_owned());
        }
        let render = if self.is_whole { whole } else { rendered_with };
        let mut objects = render(&self.kubectl, &self.namespace, &components)?;
        for object in &mut objects {
            if object["kind"] == "Service" {
                let mut service = Balancer::service(&self.namespace, SERVICE);
                let spec = service.pointer_mut("/spec").map(Value::take);
                object["spec"] = spec.context("no spec")?;
            }
            let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
            for webhook in webhooks.into_iter().flatten() {
                let service = webhook.pointer_mut("/clientConfig/service");
                service.context("no Service")?["port"] = json!(self.balancer.port());
            }
        }
        Ok(objects)
    }

    /// Runs `velero-trust certs --install` as the administrator, whether it succeeds or not.
    pub fn certs(&self, wait: Duration) -> Result<Output> {
        self.certs_with(wait, &[])
    }

    fn certs_with(&self, wait: Duration, more: &[&str]) -> Result<Output> {
        let wait = wait.as_secs().to_string();
        let namespace = ["--namespace", &self.namespace];
        let certs = ["certs", "--install", "--wait", &wait];
        self.command.run(&[&certs[..], &namespace, more].concat())
    }

    /// Runs [`Installer::certs`], and meanwhile does what the nodes of a cluster would do: starts
    /// the server as soon as its Secret exists, and reports that its Pods are ready.
    pub fn activate(&self) -> Result<(Webhook, Output)> {
        thread::scope(|scope| {
            let certs = scope.spawn(|| self.certs(PATIENCE));
            wait::poll("the Secret with the certificate", PATIENCE, || {
                ensure!(!certs.is_finished() || self.secret().is_ok(), "not yet");
                self.secret().map(drop)
            })?;
            let webhook = self.serve(&[])?;
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

    /// Starts the server, with the certificate from the cluster's Secret, the rights of its
    /// account, and these additional arguments.
    pub fn serve(&self, more: &[&str]) -> Result<Webhook> {
        if !self.is_issuing {
            self.mount_certificate()?;
        }
        self.grant()?;
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        // As in a Pod, whose container may restart under the same name.
        let server = self.replica(NAMESPACE).arguments(&options);
        let server = server.arguments(more).start()?;
        self.balancer.set_replicas(&[server.address()?]);
        self.kubectl.apply(&self.endpoints().to_string())?;
        Ok(server)
    }

    /// Gives the replicas the token of their account.
    pub fn grant(&self) -> Result<()> {
        self.grant_by(self.server.as_deref())
    }

    /// Gives it to those that are started from now on, which reach the API server as the administrator does, whatever
    /// the others do.
    pub fn grant_directly(&self) -> Result<()> {
        self.grant_by(None)
    }

    fn grant_by(&self, server: Option<&str>) -> Result<()> {
        let mut access = self
            .access
            .service_account(&self.kubectl, &self.namespace, NAMESPACE)?;
        if let Some(server) = server {
            server.clone_into(&mut access.server);
        }
        Ok(fs::write(self.file("kubeconfig"), access.kubeconfig())?)
    }

    /// Returns what the controllers would write for the Service if it had the type of the manifests. An address on
    /// loopback is refused.
    fn endpoints(&self) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SERVICE,
                "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": SERVICE},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"]}],
            "ports": [],
        })
    }

    /// Starts another replica of this name beside the server, which must have been started. The API server
    /// does not ask it before [`Self::set_replicas`].
    pub fn serve_beside(&self, name: &str) -> Result<Webhook> {
        self.replica(name).start()
    }

    /// Does so with a replica that issues its own certificate, whatever the others do.
    pub fn serve_issuing_beside(&self, name: &str) -> Result<Webhook> {
        self.configured(Serve::issuing(&self.binary), name).start()
    }

    /// Lets the API server ask these replicas on new connections, by turns.
    pub fn set_replicas(&self, replicas: &[SocketAddr]) {
        self.balancer.set_replicas(replicas);
    }

    /// Returns how many connections of the API server found no replica where the Service sent them.
    pub fn refused_connections(&self) -> usize {
        self.balancer.refused()
    }

    fn replica(&self, name: &str) -> Serve {
        let serve = if self.is_issuing {
            Serve::issuing(&self.binary)
        } else {
            Serve::new(&self.binary, &self.file("tls"))
        };
        let serve = if self.is_activating {
            serve.activating()
        } else {
            serve
        };
        self.configured(serve, name)
    }

    fn configured(&self, serve: Serve, name: &str) -> Serve {
        serve
            .kubeconfig(&self.file("kubeconfig"))
            .variable("HOSTNAME", name)
            .arguments(&["--namespace", &self.namespace, "--probe=loopback"])
    }

    /// Returns the CA of the certificate of the server.
    pub fn ca(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file("tls/ca.crt"))?)
    }

    /// Gives the Pods of the server another certificate, as if another tool issued it.
    pub fn mount(&self, identity: &Identity) -> Result<()> {
        let files = [
            ("tls.crt".to_owned(), identity.certificate_pem.as_bytes()),
            ("tls.key".to_owned(), identity.key_pem.as_bytes()),
        ];
        let files = files.iter().map(|(name, bytes)| (name, bytes));
        kubelet::lay_out(&self.file("tls"), files)
    }

    /// Creates the Secret with a certificate of `authority` for the Service, as cert-manager would.
    pub fn put_certificate(&self, authority: &Authority) -> Result<()> {
        self.put_certificate_beside(authority, authority)
    }

    /// Does so with the CA of `other` beside it.
    pub fn put_certificate_beside(&self, authority: &Authority, other: &Authority) -> Result<()> {
        let host = format!("{SERVICE}.{}.svc", self.namespace);
        let identity = authority.server_named("webhook", &[&host])?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "velero-trust-tls", "namespace": self.namespace},
            "type": "kubernetes.io/tls",
            "stringData": {
                "ca.crt": other.pem(),
                "tls.crt": identity.certificate_pem,
                "tls.key": identity.key_pem,
            },
        });
        self.kubectl.apply(&secret.to_string()).map(drop)
    }

    /// Writes the Secret to the files that the Pods of the server see.
    pub fn mount_certificate(&self) -> Result<()> {
        let secret: Secret = serde_json::from_value(self.secret()?)?;
        let data = secret.data.unwrap_or_default();
        let files = data.iter().map(|(name, bytes)| (name, &bytes.0));
        kubelet::lay_out(&self.file("tls"), files)
    }

    /// Sets the status that kubelets report for the Pods that the controllers created from the
    /// Deployment.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        let kubectl = &self.kubectl;
        let namespace = ["-n", &self.namespace];
        let selector = ["-l", "app.kubernetes.io/component=webhook", "-o", "name"];
        let pods = kubectl.ok(&[&["get", "pods"], &namespace[..], &selector].concat())?;
        let status = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": status});
        let patch = json!({"status": {"phase": "Running", "conditions": [condition]}}).to_string();
        let patch = ["--subresource=status", "--patch", &patch];
        for pod in pods.lines() {
            kubectl.ok(&[&["patch", pod], &namespace[..], &patch].concat())?;
        }
        Ok(())
    }

    /// Returns the Secret that `certs --install` writes.
    pub fn secret(&self) -> Result<Value> {
        self.kubectl
            .get(&["secret", "velero-trust-tls", "-n", &self.namespace])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Runs the README's command that lets velero-trust read the Secrets of `namespace`.
pub fn bind(kubectl: &Cli, namespace: &str) -> Result<()> {
    bind_account_of(kubectl, namespace, NAMESPACE)
}

/// Does the same for an installation in another namespace than that of the manifests.
fn bind_account_of(kubectl: &Cli, namespace: &str, installed: &str) -> Result<()> {
    let name = "velero-trust-secret-reader";
    let account = format!("--serviceaccount={installed}:{NAMESPACE}");
    let role = format!("--clusterrole={name}");
    let create = [
        "-n",
        namespace,
        "create",
        "rolebinding",
        name,
        &role,
        &account,
    ];
    let binding = kubectl.ok(&[&create[..], &["--dry-run=client", "-o", "json"]].concat())?;
    // An earlier installation may have left one.
    kubectl.apply(&binding).map(drop)
}
