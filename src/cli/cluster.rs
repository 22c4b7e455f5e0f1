//! The connection of a command to the cluster of the current kubeconfig.

use std::time::Duration;

use anyhow::{anyhow, bail};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{Client, Error};

use crate::kubernetes::client::Clients;
use crate::kubernetes::error;

/// Time limit for the first response. The client itself has none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reason that kube gives for an error response that is not a `Status` (`handle_api_errors`).
const NO_STATUS_REASON: &str = "Failed to parse error data";

/// Connects to the cluster of the kubeconfig, and returns the client once the API server responds.
///
/// # Errors
/// If there is no kubeconfig, if no API server responds, or if it rejects the credentials.
pub(super) async fn connect() -> anyhow::Result<Client> {
    let Clients {
        controllers: client,
        server,
        ..
    } = Clients::connect().await?;
    let why = match tokio::time::timeout(CONNECT_TIMEOUT, client.apiserver_version()).await {
        Ok(answer) if is_not_kubernetes(&answer) => bail!(
            "what answers at {server} is no Kubernetes API server; does KUBECONFIG name the right \
             cluster?"
        ),
        Ok(Err(Error::Api(status))) if status.code == 401 => bail!(
            "the API server {server} does not accept your credentials ({}); log in again, or set \
             KUBECONFIG",
            status.message
        ),
        // It responds. A request that it refuses is reported where its result is needed.
        Ok(Ok(_) | Err(Error::Api(_))) => return Ok(client),
        Ok(Err(error)) => error::root_cause(&error),
        Err(_) => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
    };
    bail!(
        "the API server {server} cannot be reached: {why}; is it running, and does KUBECONFIG name \
         the right cluster?"
    )
}

/// Returns whether this response to a version request cannot come from an API server. Plain text
/// such as `429 Too Many Requests`, or the error page of a proxy in front of an API server that is
/// down, counts as a response of an API server.
fn is_not_kubernetes(answer: &kube::Result<Info>) -> bool {
    match answer {
        Ok(info) => info.git_version.is_empty(),
        Err(Error::Api(status)) if status.reason == NO_STATUS_REASON => {
            status.code < 500 && status.code != 429
        }
        // JSON of another kind.
        Err(Error::Api(status)) => status.code == 0,
        Err(Error::SerdeError(_) | Error::FromUtf8(_)) => true,
        Err(_) => false,
    }
}

/// Returns the error to print for a failed API request, such as "cannot list Pods in velero".
pub(super) fn api_error(verb: &str, what: &str, error: &Error) -> anyhow::Error {
    match error {
        Error::Api(status) if status.code == 404 => {
            anyhow!("cannot {verb} {what}: it does not exist; is Velero installed?")
        }
        error => anyhow!(
            "cannot {verb} {what}: {}",
            error::lookup_error(error).message
        ),
    }
}
