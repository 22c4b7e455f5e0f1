//! The two clients: one for admission, which answers soon or not at all, one for controllers,
//! which may wait.

use std::time::Duration;

use http::Uri;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

use super::connection;
use crate::names;

/// Longest silence of the API server on one request of an admission. kube's own default is no
/// limit at all: a request on a connection to a stopped API server would hang for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time to connect, in admission.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Clients to one API server.
#[derive(Clone)]
pub struct Clients {
    /// Gives up soon and never retries: the API server that asked us retries by itself.
    pub admission: Client,
    /// Retries what may be retried; for controllers.
    pub controllers: Client,
    /// Where it is.
    pub server: Uri,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a ServiceAccount of a Pod nor a kubeconfig.
    #[error(
        "no cluster to talk to: run inside a cluster, or set KUBECONFIG to a file that can be read ({0})"
    )]
    NoConfig(kube::config::InferConfigError),
    /// The settings are no client.
    #[error("the cluster's settings cannot be used: {0}")]
    Unusable(kube::Error),
}

impl Clients {
    /// Clients to the cluster of the Pod that we run in, or of `KUBECONFIG`.
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

    /// A client for the Lease alone, on a connection of its own: one that hangs is not what others
    /// left.
    pub async fn lease() -> Result<Client, ConnectError> {
        let mut config = Config::infer().await.map_err(ConnectError::NoConfig)?;
        config.default_retry = false;
        client(config)
    }
}

fn client(config: Config) -> Result<Client, ConnectError> {
    connection::client(config).map_err(ConnectError::Unusable)
}

/// Who we are to the API server, asked once.
#[derive(Default)]
pub struct Identity(OnceCell<String>);

impl Identity {
    /// The option of `kubectl create rolebinding` that names us. When the API server does not
    /// tell, our names in the manifests.
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
