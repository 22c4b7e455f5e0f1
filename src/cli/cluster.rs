//! The connection of a command to the cluster that it is for.

use std::time::Duration;

use anyhow::{anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::ListParams;
use kube::{Api, Client, Error};

use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use crate::kubernetes::client::Clients;
use crate::kubernetes::{error, location};
use crate::names;

/// Time limit for the first response. The client itself has none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Name of the Deployment that `velero install` and Velero's chart create.
const VELERO: &str = "velero";

/// Reason that kube gives for an error response that is not a `Status` (`handle_api_errors`).
const NO_STATUS_REASON: &str = "Failed to parse error data";

/// Connects as [`connect`] does, for a command about the installation in the namespace `own`.
///
/// # Errors
/// As those of [`connect`], and if `own` is Velero's namespace instead of velero-trust's.
pub(super) async fn connect_to(
    cluster: &ClusterArgs,
    own: &OwnNamespace,
) -> anyhow::Result<Client> {
    let client = connect(cluster).await?;
    require_own(&client, &own.namespace).await?;
    Ok(client)
}

/// Fails if Velero runs in `namespace` and velero-trust does not: `-n` means Velero's namespace in
/// the velero command. What may not be read decides nothing.
async fn require_own(client: &Client, namespace: &str) -> anyhow::Result<()> {
    if namespace == names::APP {
        return Ok(());
    }
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    if !matches!(deployments.get_metadata_opt(names::APP).await, Ok(None)) {
        return Ok(());
    }
    let locations = location::in_namespace(client, namespace);
    let one = ListParams::default().limit(1);
    let (velero, locations) = tokio::join!(
        deployments.get_metadata_opt(VELERO),
        locations.list_metadata(&one)
    );
    let is_veleros = matches!(velero, Ok(Some(_)))
        || locations.is_ok_and(|locations| !locations.items.is_empty());
    if is_veleros {
        bail!(
            "namespace {namespace} is Velero's, and velero-trust is not installed in it; -n \
             (--namespace) names the namespace of velero-trust, `{}` by default, and \
             --velero-namespace that of Velero, where a command has it",
            names::APP
        );
    }
    Ok(())
}

/// Connects to the selected cluster, and returns the client once the API server responds.
///
/// # Errors
/// If there is no kubeconfig, if no API server responds, or if it rejects the credentials.
pub(super) async fn connect(cluster: &ClusterArgs) -> anyhow::Result<Client> {
    let Clients {
        controllers: client,
        server,
        proxy,
        ..
    } = Clients::connect(&cluster.selection()).await?;
    let through = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
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
        "the API server {server} cannot be reached{through}: {why}; is it running, and does KUBECONFIG \
         name the right cluster?"
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
