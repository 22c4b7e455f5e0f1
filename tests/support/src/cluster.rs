//! A real cluster: API server, controllers and Velero's CRDs, plus MinIO and Velero on request.

use crate::access::Access;
use crate::api_server::ApiServer;
use crate::cli::Cli;
use crate::controllers::Controllers;
use crate::minio::Minio;
use crate::velero::{self, Velero, Version};
use crate::{failure, wait};
use anyhow::{Result, anyhow};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;

/// The namespace in which `velero install` puts Velero, and in which [`Cluster::velero`] runs.
pub const VELERO_NAMESPACE: &str = "velero";

/// The bucket that exists from the start.
pub const BUCKET: &str = "backups";

/// A running cluster. Many tests share one, and each works in namespaces of its own.
pub struct Cluster {
    version: Version,
    // Fields are dropped in this order: users of the API server before it.
    velero: OnceLock<Result<Velero, String>>,
    minio: OnceLock<Result<Arc<Minio>, String>>,
    controllers: Controllers,
    api_server: ApiServer,
    kubectl: Cli,
    client: kube::Client,
    runtime: Runtime,
    namespaces: AtomicUsize,
}

impl Cluster {
    /// Starts the API server and the controllers, and applies Velero's CRDs.
    pub fn start() -> Result<Self> {
        Self::start_for(Version::Newest)
    }

    /// Does the same for a cluster whose store others use, too.
    pub fn start_with(minio: &Arc<Minio>) -> Result<Self> {
        let minio = OnceLock::from(Ok(Arc::clone(minio)));
        Ok(Self {
            minio,
            ..Self::start()?
        })
    }

    /// Does the same for a version of Velero.
    pub fn start_for(version: Version) -> Result<Self> {
        // With controllers the ServiceAccount plugin can be on, as in every real cluster.
        let api_server = ApiServer::start_with(&[])?;
        let controllers = Controllers::start(&api_server)?;
        let kubectl = api_server.kubectl()?;
        velero::apply_crds_of(version, &kubectl)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let client = runtime.block_on(api_server.access().client())?;
        Ok(Self {
            version,
            velero: OnceLock::new(),
            minio: OnceLock::new(),
            controllers,
            api_server,
            kubectl,
            client,
            runtime,
            namespaces: AtomicUsize::new(0),
        })
    }

    /// Returns the version of Velero.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns kubectl as the administrator.
    pub fn kubectl(&self) -> &Cli {
        &self.kubectl
    }

    /// Returns the velero command as the administrator.
    pub fn velero_cli(&self) -> Result<Cli> {
        Cli::new(self.version.binary()?, Some(self.kubeconfig()))
    }

    /// Returns a kube client as the administrator, to be used inside [`Cluster::block_on`].
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Returns the last log lines of each of its servers, for error messages.
    pub fn tails(&self) -> Vec<String> {
        let minio = self.minio.get().and_then(|minio| minio.as_deref().ok());
        let velero = self.velero.get().and_then(|velero| velero.as_ref().ok());
        let mut tails = vec![self.api_server.tail(), self.controllers.tail()];
        tails.extend(minio.map(Minio::tail));
        tails.extend(velero.map(Velero::tail));
        tails
    }

    /// Runs a future to completion.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Returns the administrator's access.
    pub fn access(&self) -> &Access {
        self.api_server.access()
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.api_server.kubeconfig()
    }

    /// Returns the access of an existing ServiceAccount, for a kubeconfig or a client under its own
    /// name.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<Access> {
        self.api_server.service_account(namespace, name)
    }

    /// Creates a namespace that no other test has. Its name begins with `prefix`.
    pub fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!(
            "{prefix}-{}",
            self.namespaces.fetch_add(1, Ordering::Relaxed)
        );
        self.kubectl.ok(&["create", "namespace", &name])?;
        // Pods are refused until the controllers have created this account.
        wait::poll("the default ServiceAccount", wait::PATIENCE, || {
            self.kubectl
                .ok(&["get", "serviceaccount", "default", "-n", &name])
        })?;
        Ok(name)
    }

    /// Applies the objects of `velero install` to `namespace`, which need not exist.
    pub fn install_velero(&self, namespace: &str, arguments: &[&str]) -> Result<()> {
        let credentials = self.minio()?.credentials_file();
        let manifests = velero::manifests(&self.velero_cli()?, namespace, &credentials, arguments)?;
        self.kubectl.apply(&manifests)?;
        Ok(())
    }

    /// Returns MinIO, which is started by the first call.
    pub fn minio(&self) -> Result<&Minio> {
        once(&self.minio, || Minio::start(&[BUCKET]).map(Arc::new)).map(Arc::as_ref)
    }

    /// Returns the Velero server of [`VELERO_NAMESPACE`], which is installed and started by the
    /// first call. It trusts only what its locations name.
    pub fn velero(&self) -> Result<&Velero> {
        once(&self.velero, || {
            self.install_velero(VELERO_NAMESPACE, &[])?;
            self.start_velero(VELERO_NAMESPACE, &[])
        })
    }

    /// Starts a Velero server for a namespace that [`Cluster::install_velero`] has filled, with
    /// `environment` in addition to its own.
    pub fn start_velero(&self, namespace: &str, environment: &[(&str, &str)]) -> Result<Velero> {
        let access = self.service_account(namespace, "velero")?;
        Velero::start(
            self.version,
            &access,
            namespace,
            &self.minio()?.credentials_file(),
            environment,
        )
    }
}

/// Returns the value of `cell`, which the first call creates. A failure is kept too: it would only
/// recur.
fn once<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let kept = cell.get_or_init(|| make().map_err(|error| failure::tell(&error, &[])));
    kept.as_ref().map_err(|error| anyhow!("{error}"))
}
