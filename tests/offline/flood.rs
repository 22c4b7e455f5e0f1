//! Clients that open as many connections as they can, against the real program, while an API server
//! at another address sends reviews.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use velero_trust::serving::descriptors::raise_limit;
use velero_trust_testing::balancer::connect_from;
use velero_trust_testing::flood::{self, Flood, Target};
use velero_trust_testing::limited::resident;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;

use crate::authority::{Authority, HOST};
use crate::client::{Client, PATIENCE};
use crate::rig::{RESTORES, good};

/// The address of the API server and of the kubelet.
const API_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// As many places as the webhook's port has by default.
const PLACES: usize = 1024;

const BINARY: &str = env!("CARGO_BIN_EXE_velero-trust");

/// The `timeoutSeconds` of the webhook for locations.
const REVIEW: Duration = Duration::from_secs(5);

/// A server with an empty folder of objects, run as a process.
struct Server {
    webhook: Webhook,
    address: SocketAddr,
    ops: SocketAddr,
    roots: Arc<RootCertStore>,
    _folder: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_by(Ok)
    }

    /// Starts it with a prepared command.
    fn start_by(prepare: impl FnOnce(Serve) -> anyhow::Result<Serve>) -> Self {
        // For the clients, which are in this process.
        raise_limit();
        let folder = TempDir::new().unwrap();
        let authority = Authority::new();
        authority.issue().write(folder.path());
        let serve = Serve::new(Path::new(BINARY), folder.path());
        let serve = prepare(serve.path("--objects", folder.path())).unwrap();
        let webhook = serve.start().unwrap();
        Self {
            address: webhook.address().unwrap(),
            ops: webhook.ops_address().unwrap(),
            roots: authority.roots(),
            webhook,
            _folder: folder,
        }
    }

    fn target(&self) -> Target {
        Target::new(self.address, HOST, Arc::clone(&self.roots)).unwrap()
    }

    /// Sends reviews one after another, each on a connection of its own. Returns how many were
    /// answered in the time that an API server gives.
    async fn answered_reviews(&self, number: usize) -> usize {
        let mut answered = 0;
        for _ in 0..number {
            let review = async {
                let mut client = Client::tls_from(API_SERVER, self.address, &self.roots).await?;
                client.review(RESTORES, &good("u")).await
            };
            if let Ok(Ok(answer)) = timeout(REVIEW, review).await {
                assert_eq!(answer.code, 200, "{answer:?}");
                answered += 1;
            }
        }
        answered
    }

    /// Asserts that kubelet's probes pass.
    async fn assert_probed(&self) {
        for path in ["/healthz", "/readyz"] {
            let probe = async {
                let mut client = Client::plain(self.ops).await?;
                client.get(path).await
            };
            let answer = timeout(Duration::from_secs(5), probe).await;
            let code = answer.map(|answer| answer.map(|answer| answer.code));
            assert!(matches!(code, Ok(Ok(200))), "{path}: {code:?}");
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.webhook.metrics().unwrap();
        let value = text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.parse().ok()
        });
        value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_the_second_port_cost_no_probe() {
    let server = Server::start();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(connect_from(flood::SOURCE, server.ops).await.unwrap());
    }
    server.assert_probed().await;
    assert_told(
        &server,
        "ops",
        "velero_trust_ops_connections_replaced_total",
    );
    // An idle connection ends by itself soon.
    for mut stream in idle {
        timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().ok();
    }
}

fn sends_a_review() -> Flood {
    sends(&good("flood"))
}

fn sends(review: &str) -> Flood {
    let head = format!("POST {RESTORES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json");
    Flood::asking(&head, review)
}

async fn passes_beside(flood: Flood, clients: usize) -> Server {
    let server = Server::start();
    let _clients = flood.start(&server.target(), clients).await.unwrap();
    assert_eq!(server.answered_reviews(50).await, 50);
    server.assert_probed().await;
    server
}

/// Asserts that connections were replaced, and that the log says so, in few lines.
fn assert_told(server: &Server, port: &str, metric: &str) {
    let replaced = server.metric(metric);
    assert!(replaced > 0, "none was replaced");
    let told = server
        .webhook
        .events("all connections of the port are taken, so some were closed");
    let told: Vec<_> = told.iter().filter(|event| event["port"] == port).collect();
    assert!((1..5).contains(&told.len()), "{told:?}");
    assert_eq!(told[0]["largest_source"], "127.0.0.9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_pass_beside_connections_that_sent_no_review() {
    let get = Flood::asking("GET / HTTP/1.1\r\nhost: x", "");
    passes_beside(get, PLACES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_pass_beside_connections_that_sent_a_review_once() {
    let server = passes_beside(sends_a_review(), PLACES).await;
    assert_told(
        &server,
        "webhook",
        "velero_trust_connections_replaced_total",
    );
}

/// A connection keeps the buffers that its largest request needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_sent_large_reviews_fit_the_memory_of_the_deployment() {
    let mut server = Server::start_by(Serve::as_deployed);
    let padding = format!("\"pad\":\"{}\",\"spec\"", "x".repeat(60_000));
    let large = sends(&good("flood").replace("\"spec\"", &padding));
    let _clients = large.start(&server.target(), PLACES).await.unwrap();
    assert_eq!(server.answered_reviews(10).await, 10);
    let resident = resident(server.webhook.id()).unwrap();
    // The limit is 256 MiB, and the controllers need a part of it.
    assert!(resident.peak < 160 << 20, "{resident:?}");
    assert!(server.webhook.is_running().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_pass_beside_connections_that_sent_half_a_request() {
    let half = b"POST /validate/restores HTTP/1.1\r\nx-".to_vec();
    passes_beside(Flood::Send(half), PLACES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_pass_beside_5000_silent_connections() {
    passes_beside(Flood::Silent, 5000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_descriptors_cost_neither_a_probe_nor_a_review() {
    for (script, clients) in [
        // The soft limit of most systems, which a process may raise by itself.
        ("ulimit -Sn 1024; exec \"$@\"", PLACES),
        ("ulimit -n 256; exec \"$@\"", 300),
    ] {
        let server = Server::start_by(|serve| Ok(serve.script(script)));
        let target = server.target();
        let _clients = sends_a_review().start(&target, clients).await.unwrap();
        assert_eq!(server.answered_reviews(20).await, 20, "{script}");
        server.assert_probed().await;
    }
}
