//! The cluster of the person who types a command.

use std::time::Duration;

use anyhow::{anyhow, bail};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{Client, Error};

use crate::kubernetes::client::Clients;
use crate::kubernetes::error;

/// Longest wait for the first answer; the client itself would wait for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What kube gives as the reason of a refusal that is no `Status` (`handle_api_errors`).
const NO_STATUS_REASON: &str = "Failed to parse error data";

/// A client to the cluster of the kubeconfig, which answers.
///
/// # Errors
/// When there is no kubeconfig, nobody answers, or the person is not known there.
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
        // It answers. What it refuses is said where it is needed.
        Ok(Ok(_) | Err(Error::Api(_))) => return Ok(client),
        Ok(Err(error)) => error::root_cause(&error),
        Err(_) => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
    };
    bail!(
        "the API server {server} cannot be reached: {why}; is it running, and does KUBECONFIG name \
         the right cluster?"
    )
}

/// Whether no API server gives this answer to the question for its version. What it says in plain
/// text (`429 Too Many Requests`, and what a proxy before it says while it is down) counts as its
/// own.
fn is_not_kubernetes(answer: &kube::Result<Info>) -> bool {
    match answer {
        Ok(info) => info.git_version.is_empty(),
        Err(Error::Api(status)) if status.reason == NO_STATUS_REASON => {
            status.code < 500 && status.code != 429
        }
        // Of JSON that is something else.
        Err(Error::Api(status)) => status.code == 0,
        Err(Error::SerdeError(_) | Error::FromUtf8(_)) => true,
        Err(_) => false,
    }
}

/// An error for the person who asked.
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
