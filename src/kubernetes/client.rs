//! The clients for the API server: one for admission, which must answer soon or fail, one for
//! controllers, which may wait, and one for the Lease.

use std::time::Duration;

use http::Uri;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

use super::connection;
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
}

/// Why no client could be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a ServiceAccount of a Pod nor a kubeconfig.
    #[error(
        "no cluster to talk to: run inside a cluster, or set KUBECONFIG to a file that can be read ({0})"
    )]
    NoConfig(kube::config::InferConfigError),
    /// The configuration of the cluster cannot be used.
    #[error("the cluster's settings cannot be used: {0}")]
    Unusable(kube::Error),
}

impl Clients {
    /// Creates the clients for the cluster of the Pod that this process runs in, or of
    /// `KUBECONFIG`.
    pub async fn connect() -> Result<Self, ConnectError> {
        let for_controllers = Config::infer().await.map_err(ConnectError::NoConfig)?;
        let mut for_admission = for_controllers.clone();
        for_admission.read_timeout = Some(READ_TIMEOUT);
        for_admission.connect_timeout = Some(CONNECT_TIMEOUT);
        for_admission.default_retry = false;
        Ok(Self {
            admission: client(for_admission)?,
            server: for_controllers.cluster_url.clone(),
            controllers: client(for_controllers)?,
        })
    }

    /// Creates a client for the Lease alone. It has its own connection, so that it never uses one
    /// on which requests of others hang.
    pub async fn lease() -> Result<Client, ConnectError> {
        let mut config = Config::infer().await.map_err(ConnectError::NoConfig)?;
        config.default_retry = false;
        client(config)
    }
}

fn client(config: Config) -> Result<Client, ConnectError> {
    connection::client(config).map_err(ConnectError::Unusable)
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
            let review = SelfSubjectReview::default();
            let reviews = Api::<SelfSubjectReview>::all(client.clone());
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .map_err(drop)?;
            let user = answer
                .status
                .and_then(|status| status.user_info)
                .ok_or(())?;
            let name = user.username.ok_or(())?;
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
