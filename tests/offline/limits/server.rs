//! The real binary, below the memory limit and with the environment of `manifests/deployment.yaml`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use velero_trust_testing::hostile::Review;
use velero_trust_testing::limited::{reset_peak, resident};
use velero_trust_testing::scratch;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;

use crate::authority::Authority;
use crate::client::{Answer, Client};
use crate::rig::{RESTORES, assert_allowed, good};

/// A running server.
pub(super) struct Server {
    pub(super) webhook: Webhook,
    pub(super) address: SocketAddr,
    pub(super) roots: Arc<RootCertStore>,
    /// Resident memory in bytes before the first review that is measured.
    idle: u64,
    _folder: TempDir,
}

/// The objects that reviews look up.
fn objects() -> Value {
    let metadata = |name: &str| json!({"name": name, "namespace": "velero"});
    let mut backup = metadata("b");
    backup["annotations"] =
        json!({"velero-trust.io/checksum": format!("sha256:{}", "0".repeat(64))});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("velero-trust-ca")},
        {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": backup,
         "status": {"phase": "Completed"}},
    ]})
}

impl Server {
    pub(super) async fn start() -> Self {
        let folder = scratch::folder("limits").unwrap();
        let authority = Authority::new();
        authority.issue().write(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(file("objects")).unwrap();
        std::fs::write(file("objects/all.yaml"), objects().to_string()).unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_velero-trust"));
        let serve = Serve::new(binary, folder.path());
        let serve = serve.path("--objects", &folder.path().join("objects"));
        let webhook = serve.as_deployed().unwrap().start().unwrap();
        let mut server = Self {
            address: webhook.address().unwrap(),
            webhook,
            roots: authority.roots(),
            idle: 0,
            _folder: folder,
        };
        server.assert_well().await;
        server.idle = resident(server.webhook.id()).unwrap().now;
        server
    }

    pub(super) async fn client(&self) -> Client {
        Client::tls(self.address, &self.roots).await.unwrap()
    }

    /// Sends a review on a connection of its own. `None` if the server went away.
    pub(super) async fn review(&self, path: &str, body: &str) -> Option<Answer> {
        let mut client = Client::tls(self.address, &self.roots).await.ok()?;
        client.review(path, body).await.ok()
    }

    /// Asserts that the server runs and answers a good review.
    pub(super) async fn assert_well(&mut self) {
        let is_running = self.webhook.is_running().unwrap();
        assert!(is_running, "it died: {}", self.webhook.tail());
        let answer = self.client().await.review(RESTORES, &good("well")).await;
        assert_allowed(&answer.unwrap(), "well");
    }

    /// Returns the result of `work`, and how the resident memory grew.
    pub(super) async fn growth<T>(&self, work: impl Future<Output = T>) -> (T, Growth) {
        let id = self.webhook.id();
        reset_peak(id).unwrap();
        let before = resident(id).unwrap().now;
        let result = work.await;
        // A server that was killed has no memory; the caller asserts that it runs.
        let peak = resident(id).map_or(0, |after| after.peak);
        let growth = Growth {
            by: peak.saturating_sub(before),
            in_all: peak.saturating_sub(self.idle),
        };
        (result, growth)
    }

    /// Sends `reviews` one after the other, each on a connection of its own, whatever the answers are, and
    /// again until as many good ones were answered `beside`. Returns the number of answers.
    pub(super) fn flood(
        &self,
        reviews: Vec<Review>,
        beside: &Beside,
        wanted: usize,
    ) -> JoinHandle<usize> {
        let (address, roots) = (self.address, Arc::clone(&self.roots));
        let answered = Arc::clone(&beside.answered);
        let good = beside.task.abort_handle();
        tokio::spawn(async move {
            let mut answers = 0;
            loop {
                for Review { path, body, .. } in &reviews {
                    let Ok(mut client) = Client::tls(address, &roots).await else {
                        continue;
                    };
                    answers += usize::from(client.review(path, body).await.is_ok());
                }
                if answered.load(Ordering::Relaxed) >= wanted || good.is_finished() {
                    return answers;
                }
            }
        })
    }

    /// Sends good reviews one after the other until [`Beside::stop`].
    pub(super) fn good_reviews(&self) -> Beside {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, roots, stopped) = (self.address, Arc::clone(&self.roots), Arc::clone(&stop));
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        let task = tokio::spawn(async move {
            let mut client = Client::tls(address, &roots).await.unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let answer = client.review(RESTORES, &good("beside")).await.unwrap();
                assert_allowed(&answer, "beside");
                count.fetch_add(1, Ordering::Relaxed);
                if answer.closes() {
                    client = Client::tls(address, &roots).await.unwrap();
                }
            }
        });
        Beside {
            stop,
            answered,
            task,
        }
    }
}

/// How much larger the resident memory was at its peak, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Than before the work. What the allocator kept of earlier work counts only once.
    pub(super) by: u64,
    /// Than that of an idle server.
    pub(super) in_all: u64,
}

/// Returns the CPU time that the process `id` has used, in the kernel's ticks of 10 ms.
pub(super) fn cpu_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // utime and stime are the 12th and 13th fields after the name in parentheses.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields = rest.split_ascii_whitespace().skip(11).take(2);
    let ticks: u32 = fields.map(|field| field.parse::<u32>().unwrap()).sum();
    Duration::from_millis(10) * ticks
}

/// Good reviews beside others.
pub(super) struct Beside {
    stop: Arc<AtomicBool>,
    /// How many were answered, all as they should be.
    answered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Beside {
    /// Panics if one was not answered as it should be.
    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}
