//! A server on loopback, as `serve` runs it, with time limits that suit tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use velero_trust::decision::{Backup, BackupFields, Fact, Facts, Lookup, Outcome, Policy};
use velero_trust::serving::certificates::{self, CertificateSender, Pair, Validated};
use velero_trust::serving::drain::{self, Stop};
use velero_trust::serving::{Caps, Condition, Drain, ServeError, Server, Task, Timeouts, run};
use velero_trust::sources::{LookupOptions, Source};
use velero_trust::telemetry::Metrics;

use crate::authority::{Authority, Issued};
use crate::client::{Client, PATIENCE};

pub(crate) const RESTORES: &str = "/validate/restores";

/// The settings of a test's server.
pub(crate) struct Plan {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) timeouts: Timeouts,
    pub(crate) caps: Caps,
    pub(crate) drain: Drain,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) tasks: Vec<Task>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            source: Arc::new(Good),
            timeouts: Timeouts::default(),
            caps: Caps::default(),
            drain: Drain {
                quiet: Duration::from_millis(50),
                limit: PATIENCE,
            },
            conditions: Vec::new(),
            tasks: Vec::new(),
        }
    }
}

/// A running server.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) first: Issued,
    pub(crate) sender: Option<CertificateSender>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: Stop,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Rig {
    pub(crate) async fn start(plan: Plan) -> Self {
        let authority = Authority::new();
        let first = authority.issue();
        let metrics = Arc::new(Metrics::default());
        let (sender, tls) = certificates::channel(Arc::clone(&metrics));
        sender.publish(&validated(&first));
        let admission = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, ops_address) = (admission.local_addr().unwrap(), ops.local_addr().unwrap());
        let (stop, stopping) = drain::channel();
        let server = Server {
            admission,
            ops,
            tls,
            source: plan.source,
            policy: Arc::new(Policy::default()),
            metrics: Arc::clone(&metrics),
            stopping,
            conditions: plan.conditions,
            tasks: plan.tasks,
            timeouts: plan.timeouts,
            caps: plan.caps,
            drain: plan.drain,
        };
        Self {
            address,
            ops: ops_address,
            roots: authority.roots(),
            authority,
            first,
            sender: Some(sender),
            metrics,
            stop,
            server: tokio::spawn(run(server)),
        }
    }

    /// Connects to the webhook.
    pub(crate) async fn client(&self) -> Client {
        Client::tls(self.address, &self.roots).await.unwrap()
    }

    /// Returns the status code and the body of `path` on the operations port.
    pub(crate) async fn ops(&self, path: &str) -> (u16, String) {
        let mut client = Client::plain(self.ops).await.unwrap();
        let answer = client.get(path).await.unwrap();
        (answer.code, answer.body)
    }

    /// Asserts that the server still answers reviews.
    pub(crate) async fn assert_well(&self) {
        let answer = self.client().await.review(RESTORES, &good("well")).await;
        assert_allowed(&answer.unwrap(), "well");
    }

    /// Waits until the metrics contain `line`.
    pub(crate) async fn metric(&self, line: &str) {
        let found = until(|| self.metrics.text().unwrap().lines().any(|l| l == line));
        let found = timeout(PATIENCE / 2, found).await.is_ok();
        assert!(found, "no {line} in\n{}", self.metrics.text().unwrap());
    }

    /// Waits until the server has ended and returns its result.
    pub(crate) async fn ended(self) -> Result<(), ServeError> {
        let ended = timeout(PATIENCE, self.server).await;
        ended.expect("the server does not end").unwrap()
    }
}

/// Returns time limits that a test can wait for.
pub(crate) fn short() -> Timeouts {
    Timeouts {
        handshake: Duration::from_millis(200),
        first_request: Duration::from_millis(200),
        body: Duration::from_millis(200),
        ..Timeouts::default()
    }
}

/// Waits until `holds`.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("never came true");
}

pub(crate) fn validated(issued: &Issued) -> Validated {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let pair = Pair {
        certificate_name: "tls.crt",
        certificate: issued.certificate.as_bytes(),
        key_name: "tls.key",
        key: issued.key.as_bytes(),
    };
    Validated::new(pair, None, i64::try_from(now.as_secs()).unwrap()).unwrap()
}

/// Returns a review with `uid` of a Restore of the Backup `backup`.
pub(crate) fn restore(uid: &str, backup: &str) -> String {
    serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "velero.io", "version": "v1", "kind": "Restore"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "restores"},
            "name": "r", "namespace": "velero", "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": {"spec": {"backupName": backup}},
        }
    })
    .to_string()
}

/// Returns a review that is allowed.
pub(crate) fn good(uid: &str) -> String {
    restore(uid, "b")
}

#[track_caller]
pub(crate) fn assert_allowed(answer: &crate::client::Answer, uid: &str) {
    assert_eq!(answer.code, 200, "{answer:?}");
    let review = answer.json();
    assert_eq!(review["response"]["allowed"], true, "{answer:?}");
    assert_eq!(review["response"]["uid"], uid);
}

/// A source in which every Backup exists and has a checksum, except the Backup `missing`.
pub(crate) struct Good;

impl Source for Good {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        let mut facts = Facts::default();
        for want in wants {
            let outcome = match want {
                Lookup::Backup(key) if key.name != "missing" => {
                    Outcome::Found(Fact::Backup(Arc::new(Backup {
                        fields: BackupFields {
                            name: key.name.clone(),
                            phase: "Completed".into(),
                            ..BackupFields::default()
                        },
                        started: Some(1),
                        checksum: Some(format!("sha256:{}", "0".repeat(64))),
                        ..Backup::default()
                    })))
                }
                _ => Outcome::Absent,
            };
            facts.insert(want.clone(), outcome);
        }
        async { facts }.boxed()
    }
}

/// A source that answers with the result of a test's function.
pub(crate) struct With<F>(pub(crate) F);

impl<F: Fn() -> BoxFuture<'static, Facts> + Send + Sync> Source for With<F> {
    fn resolve<'a>(&'a self, _: &'a [Lookup], _: LookupOptions) -> BoxFuture<'a, Facts> {
        (self.0)()
    }
}
