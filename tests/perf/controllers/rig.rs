//! The API server, and replicas of velero-trust with the rights that its manifests grant.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::installer::{self, NAMESPACE};
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{velero, wait};

use super::bundles::Bundles;
use super::objects::{self, NAMESPACES};
use crate::echo;
use crate::server::Server;

/// Maximum wait for a replica to reach a role.
const PATIENCE: Duration = Duration::from_secs(30);

/// The environment of the replicas.
pub(super) struct Rig<'r> {
    pub(super) runtime: &'r Runtime,
    /// Client with the rights of an administrator.
    pub(super) client: Client,
    pub(super) bundles: Bundles,
    binary: &'r Path,
    folder: PathBuf,
    /// Environment variables that the Deployment in the manifests sets.
    environment: Vec<(String, String)>,
    /// A TLS server that stands for the store of all locations.
    store: Server,
    _server: ApiServer,
}

impl<'r> Rig<'r> {
    /// Starts everything but the locations. Reads the certificates in `folder` and writes the
    /// kubeconfig there.
    pub(super) fn start(runtime: &'r Runtime, binary: &'r Path, folder: &Path) -> Result<Self> {
        let server = ApiServer::start()?;
        let kubectl = server.kubectl()?;
        velero::apply_crds(&kubectl)?;
        let client = runtime.block_on(server.access().client())?;
        runtime.block_on(objects::create_namespaces(&client))?;
        let kinds = ["Namespace", "Account", "Role", "Binding"];
        let mut objects = installer::rendered(&kubectl, NAMESPACE)?;
        let environment = environment(&objects)?;
        objects.retain(|object| {
            let kind = object.get("kind").and_then(Value::as_str);
            kind.is_some_and(|kind| kinds.iter().any(|end| kind.ends_with(end)))
        });
        kubectl
            .apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        for namespace in objects::namespaces() {
            installer::bind(&kubectl, &namespace)?;
        }
        let bundles = {
            let _in = runtime.enter();
            Bundles::watch(&client)
        };
        let access = server
            .access()
            .service_account(&kubectl, NAMESPACE, NAMESPACE)?;
        std::fs::write(folder.join("kubeconfig"), access.kubeconfig())?;
        Ok(Self {
            runtime,
            client,
            bundles,
            binary,
            folder: folder.to_owned(),
            environment,
            store: Server::start(echo::command(folder)?)?,
            _server: server,
        })
    }

    /// Adds the locations with these numbers to each namespace.
    pub(super) fn add_locations(&self, numbers: Range<usize>) -> Result<()> {
        let places = (0..NAMESPACES)
            .flat_map(|namespace| numbers.clone().map(move |number| (namespace, number)));
        let places = places.collect();
        let store = format!("https://{}", self.store.address);
        self.runtime
            .block_on(objects::create_locations(&self.client, places, &store))
    }

    /// Starts a replica with this name.
    pub(super) fn replica(&self, name: &str) -> Result<Webhook> {
        let mut serve = Serve::new(self.binary, &self.folder)
            .kubeconfig(&self.folder.join("kubeconfig"))
            .variable("HOSTNAME", name)
            .path("--extra-ca", &self.folder.join("ca.crt"))
            .arguments(&["--probe=loopback", "--namespace", NAMESPACE]);
        for (name, value) in &self.environment {
            serve = serve.variable(name, value);
        }
        serve.start()
    }
}

/// Returns the environment variables of the container of the Deployment in `objects`.
fn environment(objects: &[Value]) -> Result<Vec<(String, String)>> {
    let mut all = objects
        .iter()
        .filter_map(|object| object.pointer("/spec/template/spec/containers/0/env"));
    let env = all.next().context("the Deployment sets no variable")?;
    let env: Vec<Variable> = serde_json::from_value(env.clone())?;
    Ok(env.into_iter().map(|one| (one.name, one.value)).collect())
}

#[derive(serde::Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// Waits until a replica leads, or until it reports that it does not.
pub(super) fn wait_for_role(replica: &Webhook, leads: bool) -> Result<()> {
    let line = format!("velero_trust_leader {}", u8::from(leads));
    wait::poll("the role of a replica", PATIENCE, || {
        let metrics = replica.metrics()?;
        ensure!(metrics.lines().any(|one| one == line), "not yet");
        Ok(())
    })
}
