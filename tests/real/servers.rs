//! An API server without webhook configurations, and replicas of velero-trust for it.

use crate::bundle::BUNDLE;
use crate::shared::binary;
use anyhow::Result;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use velero_trust_testing::access::Access;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::proxy::Proxy;
use velero_trust_testing::serve::Serve;
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
        self.serve(REPLICA, &self.access)?.arguments(more).start()
    }

    /// The same, with a variable in its environment.
    pub(crate) fn replica_where(&self, variable: (&str, &str), more: &[&str]) -> Result<Webhook> {
        let serve = self.serve(REPLICA, &self.access)?.arguments(more);
        serve.variable(variable.0, variable.1).start()
    }

    /// Starts a replica that connects to the API server through a proxy.
    pub(crate) fn replica_behind(&self, proxy: &Proxy, more: &[&str]) -> Result<Webhook> {
        self.serve(REPLICA, proxy.access())?.arguments(more).start()
    }

    /// The same, with these variables in its environment.
    pub(crate) fn replica_with(
        &self,
        proxy: &Proxy,
        more: &[&str],
        environment: BTreeMap<String, String>,
    ) -> Result<Webhook> {
        let mut serve = self.serve(REPLICA, proxy.access())?.arguments(more);
        for (name, value) in environment {
            serve = serve.variable(&name, &value);
        }
        serve.start()
    }

    /// Starts a replica with another name, to run next to others.
    pub(crate) fn replica_beside(&self, name: &str) -> Result<Webhook> {
        self.serve(name, &self.access)?.start()
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
        self.serve(REPLICA, &self.access)?.as_deployed()?.start()
    }

    /// Prepares a replica with this name.
    fn serve(&self, name: &str, access: &Access) -> Result<Serve> {
        let kubeconfig = self.folder.path().join("kubeconfig");
        fs::write(&kubeconfig, access.kubeconfig())?;
        let serve = Serve::new(binary(), self.folder.path());
        let serve = serve.kubeconfig(&kubeconfig).variable("HOSTNAME", name);
        Ok(serve.arguments(&["--namespace", installer::NAMESPACE]))
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
