//! An API server without webhook configurations, and replicas of velero-trust for it.

use crate::bundle::BUNDLE;
use crate::shared::binary;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use velero_trust_testing::access::Access;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::limited::MemoryLimit;
use velero_trust_testing::proxy::Proxy;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{installer, scratch, velero};

/// Name of a replica that must lead at once after every start. It never changes, so that the
/// replica still holds the Lease.
const REPLICA: &str = "replica";

/// An API server without webhook configurations, so that broken locations can be created, and the
/// credentials of velero-trust for it.
pub(crate) struct Servers {
    pub(crate) kubectl: Cli,
    /// The administrator's client. Use it inside `runtime` only.
    pub(crate) client: kube::Client,
    pub(crate) runtime: Runtime,
    access: Access,
    folder: TempDir,
    server: ApiServer,
}

/// Returns the memory limit of the Deployment, in bytes, and its settings of malloc.
fn deployment() -> Result<(u64, Vec<(String, String)>)> {
    let text = fs::read_to_string(installer::manifests().join("deployment.yaml"))?;
    let text = text.split("\n---").next().unwrap_or_default();
    let deployment: Value = serde_saphyr::from_str(text)?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let limit = container["resources"]["limits"]["memory"].as_str();
    let limit = limit.and_then(|limit| limit.strip_suffix("Mi"));
    let limit: u64 = limit.context("no limit in MiB")?.parse()?;
    let settings = container["env"].as_array().into_iter().flatten();
    let settings = settings.filter_map(|one| {
        let name = one["name"].as_str()?;
        let value = one["value"].as_str()?.to_owned();
        name.starts_with("MALLOC_")
            .then(|| (name.to_owned(), value))
    });
    let settings: Vec<_> = settings.collect();
    ensure!(settings.len() == 3, "{settings:?}");
    Ok((limit << 20, settings))
}

impl Servers {
    pub(crate) fn start() -> Result<Self> {
        let servers = Self::without_velero()?;
        velero::apply_crds(&servers.kubectl)?;
        Ok(servers)
    }

    /// Starts the API server without Velero's CustomResourceDefinitions.
    pub(crate) fn without_velero() -> Result<Self> {
        let server = ApiServer::start()?;
        let kubectl = server.kubectl()?;
        kubectl.ok(&["create", "namespace", installer::NAMESPACE])?;
        let rights = fs::read_to_string(installer::manifests().join("rbac.yaml"))?;
        kubectl.apply(&rights)?;
        let folder = scratch::folder("fresh")?;
        let certificates = folder.path().display().to_string();
        Cli::new(binary().to_owned(), None)?.ok(&["certs", "--dir", &certificates])?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        Ok(Self {
            client: runtime.block_on(server.access().client())?,
            runtime,
            access: server.service_account(installer::NAMESPACE, installer::NAMESPACE)?,
            kubectl,
            folder,
            server,
        })
    }

    /// Starts a replica, which is stopped when it is dropped.
    pub(crate) fn replica(&self, more: &[&str]) -> Result<Webhook> {
        self.replica_called(REPLICA, &self.access, more)
    }

    /// Starts a replica that connects to the API server through a proxy.
    pub(crate) fn replica_behind(&self, proxy: &Proxy, more: &[&str]) -> Result<Webhook> {
        self.replica_called(REPLICA, proxy.access(), more)
    }

    /// Starts a replica with another name, to run next to others.
    pub(crate) fn replica_beside(&self, name: &str) -> Result<Webhook> {
        self.replica_called(name, &self.access, &[])
    }

    /// Returns the path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        self.server.kubeconfig()
    }

    /// Starts a proxy that uses the credentials of velero-trust.
    pub(crate) fn proxy(&self) -> Result<Proxy> {
        Proxy::start(&self.access)
    }

    /// Starts a replica below the memory limit of the Deployment, with its settings of malloc.
    pub(crate) fn limited_replica(&self) -> Result<Webhook> {
        let (limit, malloc) = deployment()?;
        let limit = Some(MemoryLimit::new(limit));
        self.start_replica(REPLICA, &self.access, &[], limit, &malloc)
    }

    fn replica_called(&self, name: &str, access: &Access, more: &[&str]) -> Result<Webhook> {
        self.start_replica(name, access, more, None, &[])
    }

    fn start_replica(
        &self,
        name: &str,
        access: &Access,
        more: &[&str],
        limit: Option<MemoryLimit>,
        malloc: &[(String, String)],
    ) -> Result<Webhook> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let kubeconfig = file("kubeconfig");
        fs::write(&kubeconfig, access.kubeconfig())?;
        let arguments = [
            "serve",
            "--listen=127.0.0.1:0",
            "--ops-listen=127.0.0.1:0",
            "--log-format=json",
            "--tls-cert",
            &file("tls.crt"),
            "--tls-key",
            &file("tls.key"),
            "--namespace",
            installer::NAMESPACE,
        ];
        let arguments = [&arguments[..], more].concat();
        let mut environment = vec![("KUBECONFIG", kubeconfig.as_str()), ("HOSTNAME", name)];
        let malloc = malloc.iter();
        environment.extend(malloc.map(|(name, value)| (name.as_str(), value.as_str())));
        match limit {
            Some(limit) => Webhook::start_limited(binary(), &arguments, &environment, limit),
            None => Webhook::start(binary(), &arguments, &environment),
        }
    }

    /// Creates a namespace whose Secrets velero-trust may read.
    pub(crate) fn namespace(&self, name: &str) -> Result<()> {
        self.kubectl.ok(&["create", "namespace", name])?;
        installer::bind(&self.kubectl, name)
    }

    /// Changes the Secret `ca`. This is faster than starting kubectl.
    pub(crate) fn change_secret(&self, namespace: &str, content: &str) -> Result<()> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let data = json!({"data": {"ca.crt": ByteString(content.as_bytes().to_vec())}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(data));
        let patch = secrets.patch("ca", &params, &patch);
        self.runtime.block_on(patch)?;
        Ok(())
    }

    /// Returns the CA of the certificate that every replica presents.
    pub(crate) fn ca(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("ca.crt"))?)
    }

    /// Returns the ConfigMap of the bundle.
    pub(crate) fn bundle(&self, namespace: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.map(namespace, BUNDLE)?)?)
    }

    /// Returns the report of velero-trust on a Velero namespace.
    pub(crate) fn report(&self, namespace: &str) -> Result<Value> {
        let name = format!("velero-trust-report.{namespace}");
        let map = self.map(installer::NAMESPACE, &name)?;
        let text = map.data.and_then(|mut data| data.remove("report.json"));
        Ok(serde_json::from_str(&text.unwrap_or_default())?)
    }

    fn map(&self, namespace: &str, name: &str) -> Result<ConfigMap> {
        let maps = Api::namespaced(self.client.clone(), namespace);
        Ok(self.runtime.block_on(maps.get(name))?)
    }
}
