//! `velero-trust version`: the versions of this command, of the server and of Kubernetes.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use serde::Serialize;

use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use super::output_format::OutputFormat;
use super::stdout::Stdout;
use super::{cluster, exit, install_crypto_provider, json, runtime};
use crate::names;
use crate::velero::image;

const AFTER_HELP: &str = "\
Exit codes:
  0  Success
  2  Invalid usage, or the cluster cannot be read; the version of this command is printed anyway";

/// Print the versions of this command, of the server and of Kubernetes
///
/// The version of the server is the tag of the image in its Deployment.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Version {
    /// Print the version of this command only, and contact no cluster
    #[arg(long, env = "VELERO_TRUST_VERSION_CLIENT")]
    client: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_VERSION_OUTPUT"
    )]
    output: OutputFormat,
}

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    /// The tag of the server's image; `None` if it is not installed or not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<String>,
}

impl Version {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let mut versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            server: None,
            kubernetes: None,
        };
        let read = if self.client {
            Ok(())
        } else {
            install_crypto_provider();
            runtime()?.block_on(self.read(&mut versions))
        };
        let mut out = Stdout::fail_when_closed();
        match self.output {
            OutputFormat::Text | OutputFormat::Wide => {
                out.write_all(self.text(&versions, read.is_ok()).as_bytes())?;
            }
            OutputFormat::Json => json::write(&versions, &mut out)?,
        }
        read.map(|()| exit::CLEAN)
    }

    async fn read(&self, versions: &mut Versions) -> anyhow::Result<()> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let kubernetes = client.apiserver_version().await;
        let kubernetes = kubernetes
            .map_err(|error| cluster::api_error("read", "the version of Kubernetes", &error))?;
        versions.kubernetes = Some(kubernetes.git_version);
        versions.server = server(&client, &self.own.namespace).await?;
        Ok(())
    }

    fn text(&self, versions: &Versions, is_read: bool) -> String {
        let mut text = format!("client: {}\n", versions.client);
        if self.client || !is_read {
            return text;
        }
        let server = match &versions.server {
            Some(server) => server.clone(),
            None => format!(
                "not installed in namespace {} (--namespace)",
                self.own.namespace
            ),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "server: {server}");
        if let Some(kubernetes) = &versions.kubernetes {
            let _ = writeln!(text, "kubernetes: {kubernetes}");
        }
        text
    }
}

/// Returns the version of the installed server; `None` if there is none.
async fn server(client: &Client, namespace: &str) -> anyhow::Result<Option<String>> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let what = format!("Deployment {namespace}/{}", names::APP);
    let deployment = deployments.get_opt(names::APP).await;
    let deployment = deployment.map_err(|error| cluster::api_error("read", &what, &error))?;
    let pod = deployment
        .and_then(|deployment| deployment.spec)
        .and_then(|spec| spec.template.spec);
    let containers = pod.map(|pod| pod.containers).unwrap_or_default();
    let ours = containers
        .iter()
        .find(|container| container.name == names::APP);
    let image = ours.and_then(|container| container.image.as_deref());
    Ok(image.map(|reference| {
        let version = image::version(reference);
        version.strip_prefix('v').unwrap_or(&version).to_owned()
    }))
}
