//! The clients for the API server: one for admission, which must answer soon or fail, one for
//! controllers, which may wait, and one for the Lease.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Intercept;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

pub use super::connection::ConnectionError;

use super::connection;
use super::proxy;
use crate::dial::Proxies;
use crate::names;

/// Longest time without data from the API server on a request of admission. kube has no limit by
/// default, so that a request on a connection to a stopped API server would never end.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time to connect for a request of admission.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The clients for one API server.
#[derive(Clone)]
pub struct Clients {
    /// For admission: gives up soon and never retries, because the API server that sent the review
    /// retries by itself.
    pub admission: Client,
    /// For controllers: retries requests that may be retried.
    pub controllers: Client,
    /// The address of the API server.
    pub server: Uri,
    /// The address of the proxy between, without credentials.
    pub proxy: Option<Uri>,
}

/// Why no client could be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a ServiceAccount of a Pod nor a kubeconfig.
    #[error(
        "no cluster to talk to: run inside a cluster, or set KUBECONFIG to a file that can be read ({}; in \
         the cluster: {in_cluster})",
        describe(kubeconfig)
    )]
    NoConfig {
        /// Why the kubeconfig cannot be used.
        kubeconfig: KubeconfigError,
        /// Why the settings of a Pod cannot be used.
        in_cluster: InClusterError,
    },
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig cannot be used: {}", describe(.0))]
    Kubeconfig(KubeconfigError),
    /// The kubeconfig has no context of this name.
    #[error("the kubeconfig has no context {context}; it has: {}", known.join(", "))]
    NoContext {
        /// The name.
        context: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The configuration of the cluster cannot be used.
    #[error("the cluster's settings cannot be used: {0}")]
    Unusable(ConnectionError),
}

/// Describes the error in one line, without what the file contains: tokens and keys are in it.
fn describe(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(why, path) => {
            format!("{} cannot be read: {why}", path.display())
        }
        other => {
            // What follows the first line of a parser's message is the text around the place.
            let text = other.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}

/// Which cluster to connect to.
#[derive(Clone, Debug, Default)]
pub struct ClusterSelection {
    /// The kubeconfig, instead of those of `KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig, instead of the current one.
    pub context: Option<String>,
}

impl ClusterSelection {
    /// Returns the settings of the selected cluster, with its proxy. If nothing is selected and
    /// there is no usable kubeconfig, it is the cluster of the Pod that this process runs in, which
    /// is never behind a proxy.
    async fn config(&self) -> Result<(Config, Option<Intercept>), ConnectError> {
        let Self {
            kubeconfig,
            context,
        } = self;
        let read = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let is_selected = kubeconfig.is_some() || context.is_some();
        let kubeconfig = match read {
            Ok(kubeconfig) => kubeconfig,
            Err(error) if is_selected => return Err(ConnectError::Kubeconfig(error)),
            Err(error) => return of_pod(error),
        };
        if let Some(context) = context {
            require_context(&kubeconfig, context)?;
        }
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await;
        match config {
            Ok(config) => {
                let environment = Proxies::from_env();
                let server = &config.cluster_url;
                let proxy = proxy::select(server, &kubeconfig, context.as_deref(), &environment);
                Ok((config, proxy))
            }
            Err(error) if is_selected => Err(ConnectError::Kubeconfig(error)),
            Err(error) => of_pod(error),
        }
    }
}

/// Returns the settings of the Pod that this process runs in. The kubeconfig cannot be used.
fn of_pod(kubeconfig: KubeconfigError) -> Result<(Config, Option<Intercept>), ConnectError> {
    match Config::incluster() {
        Ok(config) => Ok((config, None)),
        Err(in_cluster) => Err(ConnectError::NoConfig {
            kubeconfig,
            in_cluster,
        }),
    }
}

fn require_context(kubeconfig: &Kubeconfig, context: &str) -> Result<(), ConnectError> {
    let known = kubeconfig.contexts.iter().map(|known| known.name.clone());
    let known: Vec<_> = known.collect();
    if known.iter().any(|known| known == context) {
        return Ok(());
    }
    Err(ConnectError::NoContext {
        context: context.to_owned(),
        known,
    })
}

impl Clients {
    /// Creates the clients for the selected cluster.
    pub async fn connect(selection: &ClusterSelection) -> Result<Self, ConnectError> {
        let (for_controllers, proxy) = selection.config().await?;
        let mut for_admission = for_controllers.clone();
        for_admission.read_timeout = Some(READ_TIMEOUT);
        for_admission.connect_timeout = Some(CONNECT_TIMEOUT);
        for_admission.default_retry = false;
        Ok(Self {
            admission: client(for_admission, proxy.as_ref())?,
            server: for_controllers.cluster_url.clone(),
            controllers: client(for_controllers, proxy.as_ref())?,
            proxy: proxy.map(|proxy| proxy.uri().clone()),
        })
    }

    /// Creates a client for the Lease alone. It has its own connection, so that it never uses one
    /// on which requests of others hang.
    pub async fn lease(selection: &ClusterSelection) -> Result<Client, ConnectError> {
        let (mut config, proxy) = selection.config().await?;
        config.default_retry = false;
        client(config, proxy.as_ref())
    }
}

fn client(config: Config, proxy: Option<&Intercept>) -> Result<Client, ConnectError> {
    connection::client(config, proxy).map_err(ConnectError::Unusable)
}

/// Returns the major and minor version of the API server.
pub async fn kubernetes_version(client: &Client) -> kube::Result<(u32, u32)> {
    let version = client.apiserver_version().await?;
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or_default()
    };
    Ok((number(&version.major), number(&version.minor)))
}

/// Returns the name under which the API server knows this process.
pub async fn user_name(client: &Client) -> kube::Result<Option<String>> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = SelfSubjectReview::default();
    let answer = reviews.create(&PostParams::default(), &review).await?;
    let user = answer.status.and_then(|status| status.user_info);
    Ok(user.and_then(|user| user.username))
}

/// The identity of this process to the API server, which is asked once.
#[derive(Default)]
pub struct Identity(OnceCell<String>);

impl Identity {
    /// Returns the option of `kubectl create rolebinding` that names this process. If the API
    /// server does not tell its identity, the option has the names of the manifests.
    pub async fn subject(&self, client: &Client) -> &str {
        let default = || format!("--serviceaccount={0}:{0}", names::APP);
        let asked = self.0.get_or_try_init(|| async {
            let name = user_name(client).await.map_err(drop)?.ok_or(())?;
            Ok::<_, ()>(match name.strip_prefix("system:serviceaccount:") {
                Some(account) => format!("--serviceaccount={account}"),
                None => format!("--user={name}"),
            })
        });
        match asked.await {
            Ok(subject) => subject,
            Err(()) => self.0.get_or_init(|| async { default() }).await,
        }
    }
}
