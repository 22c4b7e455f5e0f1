//! The webhook behind a Service, as the real API server reaches it: one choice of replica for each
//! connection, beside clients that take every connection, and with replicas of two versions.

use crate::shared::{alone, binary};
use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use k8s_openapi::ByteString;
use kube::api::{Api, DynamicObject, PostParams};
use kube::discovery::ApiResource;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use velero_trust::admission::{HANDLERS, Mode};
use velero_trust::serving::descriptors::raise_limit;
use velero_trust_testing::api_server::ApiServer;
use velero_trust_testing::balancer::Balancer;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::flood::{Flood, Target};
use velero_trust_testing::other_version::OtherVersion;
use velero_trust_testing::pki::Authority;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;
use velero_trust_testing::{https, installer, scratch, velero, wait};

/// The address of the API server as the webhook sees it.
const API_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

/// The path and the kind of the webhook that is asked.
const PATH: &str = "/validate/backupstoragelocations";

/// The host in the certificate.
const HOST: &str = "velero-trust.velero-trust.svc";

/// Connections to the webhook's port.
const PLACES: usize = 1024;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone(
            "balanced::a_flood_from_another_address_fails_no_write",
            flood_fails_no_write,
        ),
        alone(
            "balanced::a_webhook_that_one_replica_does_not_know_fails_no_write",
            two_versions_fail_no_write,
        ),
        alone(
            "balanced::only_an_api_server_with_its_certificate_is_heard",
            only_with_a_certificate,
        ),
    ]
}

/// An API server that asks what is behind a balancer for each BSL that is created, and one replica.
struct Behind {
    balancer: Balancer,
    client: kube::Client,
    runtime: Runtime,
    webhook: Webhook,
    folder: TempDir,
    _server: ApiServer,
}

impl Behind {
    fn start() -> Result<Self> {
        let folder = scratch::folder("balanced")?;
        let balancer = Balancer::start(API_SERVER, &[])?;
        Self::start_with(folder, balancer, &[], &[])
    }

    /// Starts it with these arguments for the API server and for the replica.
    fn start_with(
        folder: TempDir,
        balancer: Balancer,
        for_server: &[&str],
        for_replica: &[&str],
    ) -> Result<Self> {
        let no_accounts = ["--disable-admission-plugins=ServiceAccount"];
        let server = ApiServer::start_with(&[&no_accounts, for_server].concat())?;
        let certificates = folder.path().display().to_string();
        Cli::new(binary().to_owned(), None)?.ok(&["certs", "--dir", &certificates])?;
        let serve = Serve::new(binary(), folder.path()).arguments(for_replica);
        let webhook = serve.kubeconfig(server.kubeconfig()).start()?;
        balancer.set_replicas(&[webhook.address()?]);
        let kubectl = server.kubectl()?;
        velero::apply_crds(&kubectl)?;
        kubectl.ok(&["create", "namespace", installer::NAMESPACE])?;
        let service = Balancer::service(installer::NAMESPACE, "velero-trust");
        kubectl.apply(&service.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let behind = Self {
            client: runtime.block_on(server.access().client())?,
            balancer,
            runtime,
            webhook,
            folder,
            _server: server,
        };
        kubectl.apply(&behind.configuration()?.to_string())?;
        wait::poll("the webhook to be asked", wait::PATIENCE, || {
            let output = kubectl.create(&location("bad", "bm90aGluZw==").to_string())?;
            ensure!(output.stderr.contains("[VT010]"), "{output:?}");
            Ok(())
        })
        .with_context(|| behind.webhook.log())?;
        Ok(behind)
    }

    fn file(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(name))?)
    }

    /// Returns a configuration that asks the Service about each BSL that is created.
    fn configuration(&self) -> Result<Value> {
        let mut handlers = HANDLERS.iter();
        let handler = handlers
            .find(|handler| handler.path == PATH && handler.mode == Mode::Validate)
            .context("no handler")?;
        let ca = ByteString(self.file("ca.crt")?.into_bytes());
        let (namespace, name) = (installer::NAMESPACE, "velero-trust");
        let service = self.balancer.webhook_service(namespace, name, PATH);
        Ok(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "balanced"},
            "webhooks": [{
                "name": "backupstoragelocations.velero-trust.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "clientConfig": {"service": service, "caBundle": ca},
                "rules": [{
                    "apiGroups": [handler.group],
                    "apiVersions": ["v1"],
                    "resources": [handler.resource],
                    "operations": ["CREATE"],
                }],
            }],
        }))
    }

    /// Creates `number` BSLs, some at a time. Returns the errors.
    fn create_locations(&self, number: usize, at_once: usize) -> Result<Vec<String>> {
        let kind = kube::core::GroupVersionKind::gvk("velero.io", "v1", "BackupStorageLocation");
        let kind = ApiResource::from_gvk(&kind);
        let locations =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), "default", &kind);
        let objects = (0..number).map(|number| location(&format!("bsl-{number}"), ""));
        let objects: Vec<DynamicObject> = objects
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()?;
        let mut errors = Vec::new();
        for some in objects.chunks(at_once) {
            let parameters = PostParams::default();
            let created = some
                .iter()
                .map(|object| locations.create(&parameters, object));
            let outcomes = self.runtime.block_on(join_all(created));
            errors.extend(outcomes.into_iter().filter_map(Result::err));
        }
        Ok(errors.iter().map(ToString::to_string).collect())
    }
}

/// Returns a location with this inline CA, in base64.
fn location(name: &str, ca: &str) -> Value {
    let mut storage = json!({"bucket": "b"});
    if !ca.is_empty() {
        storage["caCert"] = ca.into();
    }
    json!({
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"provider": "aws", "objectStorage": storage},
    })
}

/// Two floods take every connection before the API server dials: clients that each sent a review,
/// and as many that send nothing.
fn flood_fails_no_write() -> Result<()> {
    // For the clients, which are in this process.
    raise_limit();
    let behind = Behind::start()?;
    let roots = Arc::new(https::roots(&behind.file("ca.crt")?)?);
    let target = Target::new(behind.webhook.address()?, HOST, roots)?;
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "flood",
            "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
            "name": "flood",
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "mallory"},
            "object": location("flood", ""),
        },
    });
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json");
    let reviews = Flood::asking(&head, &review.to_string());
    let reviews = behind.runtime.block_on(reviews.start(&target, PLACES))?;
    let silent = behind
        .runtime
        .block_on(Flood::Silent.start(&target, PLACES))?;
    // The API server has at most one idle connection, from the start, so it dials more.
    let before = behind.balancer.connections();
    let errors = behind.create_locations(64, 16)?;
    ensure!(errors.is_empty(), "{} of 64: {errors:?}", errors.len());
    let dialled = behind.balancer.connections() - before;
    ensure!(
        dialled >= 10,
        "the API server made only {dialled} connections"
    );
    let metrics = behind.webhook.metrics()?;
    let replaced = metrics.lines().find_map(|line| {
        line.strip_prefix("velero_trust_connections_replaced_total ")?
            .parse::<usize>()
            .ok()
    });
    ensure!(
        replaced >= Some(dialled),
        "{replaced:?} of {dialled} were let in: {metrics}"
    );
    drop((reviews, silent));
    Ok(())
}

/// One of two replicas does not know the path, as during an upgrade that adds a webhook.
fn two_versions_fail_no_write() -> Result<()> {
    let behind = Behind::start()?;
    let other = OtherVersion::start(
        &behind.webhook.url,
        &behind.file("ca.crt")?,
        &behind.file("tls.crt")?,
        &behind.file("tls.key")?,
    )?;
    behind
        .balancer
        .set_replicas(&[behind.webhook.address()?, other.address()]);
    let errors = behind.create_locations(200, 8)?;
    ensure!(
        errors.is_empty(),
        "{} of 200, first: {:?}",
        errors.len(),
        errors.first()
    );
    let answered = other.answered();
    ensure!(
        answered >= 5,
        "the other version was asked {answered} times"
    );
    Ok(())
}

/// The API server presents a certificate as docs/install.md configures it, and nobody else is heard.
fn only_with_a_certificate() -> Result<()> {
    let folder = scratch::folder("balanced")?;
    let balancer = Balancer::start(API_SERVER, &[])?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let clients = Authority::new("clients")?;
    let identity = clients.client("api-server")?;
    fs::write(file("clients.crt"), clients.pem())?;
    fs::write(file("client.crt"), identity.certificate_pem)?;
    fs::write(file("client.key"), identity.key_pem)?;
    let page = fs::read_to_string(installer::manifests().join("../docs/install.md"))?;
    let section = page
        .split("## Client certificates")
        .nth(1)
        .context("no section")?;
    let mut blocks = section.split("```yaml\n").skip(1);
    for name in ["admission", "kubeconfig"] {
        let block = blocks.next().and_then(|rest| rest.split("```").next());
        let folder = folder.path().display().to_string();
        let text = block.context("no block")?;
        let text = text.replace("/etc/kubernetes/velero-trust", &folder);
        let text = text.replace(HOST, &format!("{HOST}:{}", balancer.port()));
        fs::write(file(name), text)?;
    }
    let for_server = format!("--admission-control-config-file={}", file("admission"));
    let for_replica = format!("--client-ca={}", file("clients.crt"));
    // It has been asked when this returns.
    let behind = Behind::start_with(folder, balancer, &[&for_server], &[&for_replica])?;
    ensure!(
        behind.create_locations(8, 4)?.is_empty(),
        "{}",
        behind.webhook.log()
    );
    let headers = [("Content-Type", "application/json")];
    let url = format!("{}{PATH}", behind.webhook.url);
    let answer = https::send("POST", &url, &behind.file("ca.crt")?, &headers, "{}");
    let error = answer.err().context("anybody is heard")?;
    ensure!(
        format!("{error:#}").contains("CertificateRequired"),
        "{error:#}"
    );
    Ok(())
}
