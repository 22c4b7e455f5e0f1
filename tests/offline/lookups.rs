//! What reviews cost the API server: how many requests, and how many at a time. The API server is a
//! double that counts, and refuses more requests at a time than it can take, as the real one does.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;

use crate::authority::Authority;
use crate::client::{Answer, Client, PATIENCE};

/// The address of the API server that sends reviews.
const API_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The address of a Pod that forges reviews.
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

const LOCATIONS: &str = "/validate/backupstoragelocations";

/// Number of good reviews beside a flood.
const GOOD: usize = 20;

/// The Secret that exists.
const SECRET: &str = "known";

/// An API server that has one Secret, and Backups in some namespaces ([`backups`]).
#[derive(Clone)]
struct Double {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The paths of all requests for Secrets.
    secrets: Vec<String>,
    running: usize,
    most: usize,
}

impl Double {
    /// Starts a double that takes `delay` for each Secret, and refuses requests for Secrets beyond
    /// `places` at a time.
    fn start(delay: Duration, places: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let double = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&double.seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
                std::thread::spawn(move || answer(&mut stream, &seen, delay, places));
            }
        });
        double
    }

    fn reads(&self) -> Vec<String> {
        self.seen.lock().unwrap().secrets.clone()
    }

    fn most_at_once(&self) -> usize {
        self.seen.lock().unwrap().most
    }
}

fn answer(stream: &mut TcpStream, seen: &Mutex<Seen>, delay: Duration, places: usize) {
    let head = BufReader::new(&*stream).lines();
    let mut head = head
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let line = head.next().unwrap_or_default();
    head.for_each(drop);
    let path = line.split(' ').nth(1).unwrap_or_default();
    let not_found = status(404, "NotFound");
    let list = path
        .strip_prefix("/apis/velero.io/v1/namespaces/")
        .and_then(|rest| rest.split_once("/backups?"));
    let (code, body) = if let Some((namespace, query)) = list {
        if (namespace, query.contains("continue=second")) == ("long", true) {
            // As it is: to serialize it takes a second without optimization.
            return write(stream, 200, &" ".repeat(17 << 20));
        }
        backups(namespace, query)
    } else if path.contains("/namespaces/velero") && path.contains("/secrets/") {
        let running = {
            let mut seen = seen.lock().unwrap();
            seen.secrets.push(path.to_owned());
            seen.running += 1;
            seen.most = seen.most.max(seen.running);
            seen.running
        };
        std::thread::sleep(delay);
        seen.lock().unwrap().running -= 1;
        if running > places {
            (429, status(429, "TooManyRequests"))
        } else if path.ends_with(&format!("/{SECRET}")) {
            let data = json!({"ca.crt": "", "other": ""});
            (
                200,
                json!({"kind": "Secret", "apiVersion": "v1", "data": data}),
            )
        } else {
            (404, not_found)
        }
    } else {
        (404, not_found)
    };
    write(stream, code, &body.to_string());
}

fn write(stream: &mut TcpStream, code: u16, body: &str) {
    let response = format!(
        "HTTP/1.1 {code} Any\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client may have closed the connection in the meantime.
    let _ = stream.write_all(response.as_bytes());
}

/// Returns the page of Backups that `query` asks for. The first page names a second one, on which is
/// the newest Backup, if it can be read.
fn backups(namespace: &str, query: &str) -> (u16, Value) {
    let limit = query.split('&').any(|part| part == "limit=10");
    let backup = |name: &str, day: u8| {
        let started = format!("2026-01-{day:02}T01:00:00Z");
        json!({"metadata": {"name": name}, "status": {"phase": "Completed", "startTimestamp": started}})
    };
    match (namespace, query.contains("continue=second")) {
        _ if !limit => (500, status(500, "NoLimit")),
        ("no-crds", _) => (404, "404 page not found".into()),
        ("broken", true) => (500, status(500, "InternalError")),
        ("gone", true) => (410, status(410, "Expired")),
        (_, true) => {
            let items = [backup("newest", 2)];
            (
                200,
                json!({"kind": "BackupList", "metadata": {"continue": ""}, "items": items}),
            )
        }
        (_, false) => {
            let items = [backup("oldest", 1)];
            (
                200,
                json!({"kind": "BackupList", "metadata": {"continue": "second"}, "items": items}),
            )
        }
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": format!("{reason} it says"), "reason": reason, "code": code,
    })
}

/// The real program in front of a double.
struct Server {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
    webhook: Webhook,
    _folder: TempDir,
}

impl Server {
    fn start(double: &Double) -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new();
        authority.issue().write(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": double.url}}],
            "users": [{"name": "double", "user": {"token": "t"}}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
        });
        std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_velero-trust"));
        let serve = Serve::new(binary, folder.path());
        let webhook = serve
            .kubeconfig(Path::new(&file("kubeconfig")))
            .start()
            .unwrap();
        Arc::new(Self {
            address: webhook.address().unwrap(),
            roots: authority.roots(),
            webhook,
            _folder: folder,
        })
    }

    async fn client(&self, source: Ipv4Addr) -> Client {
        let client = Client::tls_from(source, self.address, &self.roots);
        client.await.unwrap()
    }

    /// Sends one review of each body over `connections` connections from `source`, as a caller with
    /// this `timeout`. Returns the answers.
    async fn send(
        self: &Arc<Self>,
        source: Ipv4Addr,
        connections: usize,
        timeout: &'static str,
        bodies: Vec<String>,
    ) -> Vec<Answer> {
        let bodies = Arc::new(Mutex::new(bodies));
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let (server, bodies) = (Arc::clone(self), Arc::clone(&bodies));
            clients.spawn(async move {
                let mut client = server.client(source).await;
                let mut answers = Vec::new();
                loop {
                    let Some(body) = bodies.lock().unwrap().pop() else {
                        return answers;
                    };
                    let path = format!("{LOCATIONS}?timeout={timeout}");
                    answers.push(client.review(&path, &body).await.unwrap());
                }
            });
        }
        clients.join_all().await.into_iter().flatten().collect()
    }
}

/// Returns a review that creates a location with this CA Secret.
fn creation(secret: &str) -> String {
    let object = json!({"spec": {
        "provider": "aws",
        "objectStorage": {"bucket": "b", "caCertRef": {"name": secret, "key": "ca.crt"}},
    }});
    review(&object, None).to_string()
}

fn review(object: &Value, old: Option<&Value>) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "lookups",
            "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
            "name": "minio", "namespace": "velero",
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {"username": "jane"},
            "object": object,
            "oldObject": old,
        }
    })
}

/// Asserts that an answer denies because of an absent Secret, or says that this is not known.
fn assert_denied_or_unknown(answer: &Answer) {
    match answer.code {
        200 => assert!(answer.body.contains("[VT001]"), "{answer:?}"),
        _ => answer.assert_failure(503, "velero-trust: cannot read Secret velero/"),
    }
}

#[tokio::test]
async fn a_secret_is_read_once_in_a_review_and_an_update_reads_no_other() {
    let double = Double::start(Duration::ZERO, 100);
    let server = Server::start(&double);
    let naming = |name: &str| {
        json!({
            "metadata": {"annotations": {"velero-trust.io/ca-secret": format!("{name}-a/k")}},
            "spec": {
                "provider": "aws",
                "credential": {"name": format!("{name}-b"), "key": "k"},
                "config": {"secretRef": format!("{name}-a/other")},
                "objectStorage": {"caCertRef": {"name": format!("{name}-c"), "key": "k"}},
            }
        })
    };
    let update = review(&naming("new"), Some(&naming("old"))).to_string();
    let answers = server.send(API_SERVER, 1, "5s", vec![update]).await;
    assert!(answers[0].body.contains("[VT001]"), "{answers:?}");
    let mut reads = double.reads();
    reads.sort();
    let expected =
        ["a", "b", "c"].map(|name| format!("/api/v1/namespaces/velero/secrets/new-{name}"));
    assert_eq!(reads, expected);
}

#[tokio::test]
async fn all_pages_of_backups_are_read_or_it_is_not_known_which_is_the_newest() {
    let server = Server::start(&Double::start(Duration::ZERO, 100));
    let mut client = server.client(API_SERVER).await;
    for (namespace, code, said) in [
        ("paged", 200, "Backup paged/newest has no annotation"),
        (
            "no-crds",
            200,
            "Schedule no-crds/daily has no completed backup",
        ),
        (
            "broken",
            503,
            "the API server answered 500: InternalError it says",
        ),
        ("gone", 503, "the API server answered 410: Expired it says"),
        ("long", 503, "the answer has more than 16 MiB"),
    ] {
        let mut review = review(&json!({"spec": {"scheduleName": "daily"}}), None);
        let request = &mut review["request"];
        request["namespace"] = namespace.into();
        request["resource"]["resource"] = "restores".into();
        request["kind"]["kind"] = "Restore".into();
        let body = review.to_string();
        let began = Instant::now();
        let answer = loop {
            let answer = client.review("/validate/restores?timeout=30s", &body).await;
            let answer = answer.unwrap();
            // A busy machine may need longer for a page than a look-up waits.
            let may_be_late = answer.code == 503 && !answer.body.contains(said);
            if !may_be_late || began.elapsed() > PATIENCE {
                break answer;
            }
        };
        assert_eq!(answer.code, code, "{namespace}: {answer:?}");
        assert!(answer.body.contains(said), "{namespace}: {answer:?}");
    }
}

#[tokio::test]
async fn reviews_that_ask_for_the_same_share_a_read_that_has_not_begun() {
    let double = Double::start(Duration::from_millis(100), 1000);
    let server = Server::start(&double);
    let answers = server.send(API_SERVER, 100, "5s", vec![creation("absent"); 300]);
    for answer in answers.await {
        assert!(answer.body.contains("[VT001]"), "{answer:?}");
    }
    let reads = double.reads().len();
    assert!(reads < 100, "{reads} reads");
    assert!(double.most_at_once() <= 16, "{}", double.most_at_once());
}

/// How long callers wait for the answers to a flood, and to good reviews beside it.
const TIMEOUT: &str = "2s";

#[tokio::test]
async fn a_flood_costs_the_api_server_little_and_others_nothing() {
    // As the real API server does, it refuses what is too much, whoever it is for.
    let double = Double::start(Duration::from_millis(2), 20);
    let server = Server::start(&double);
    let began = Instant::now();
    let forged: Vec<_> = (0..2_000)
        .map(|number| creation(&format!("f{number}")))
        .collect();
    let flood = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.send(FLOOD, 128, TIMEOUT, forged).await })
    };
    // With the patience of the flood itself, so that they would not get their turn after it.
    let mut good = server.client(API_SERVER).await;
    let path = format!("{LOCATIONS}?timeout={TIMEOUT}");
    for number in 0..GOOD {
        let answer = good.review(&path, &creation(SECRET)).await.unwrap();
        assert!(answer.body.contains("[VT003]"), "{number}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answers = flood.await.unwrap();
    answers.iter().for_each(assert_denied_or_unknown);
    let reads = double.reads().into_iter().collect::<HashSet<_>>().len();
    // The burst, and what comes back in each second that began.
    let bound = 400 + 100 * (began.elapsed().as_secs() + 1);
    assert!(u64::try_from(reads).unwrap() < bound, "{reads} reads");
    assert!(double.most_at_once() <= 16, "{}", double.most_at_once());
    let refused = answers
        .iter()
        .filter(|answer| answer.body.contains("too many look-ups are under way"))
        .count();
    assert!(refused > 0);
    let metrics = server.webhook.metrics().unwrap();
    let counted = format!("velero_trust_lookups_refused_total {refused}");
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");

    // Every review is in the log or counted, and the log is short.
    let webhook = &server.webhook;
    let logged = ["review denied", "review not decided"].map(|line| webhook.events(line).len());
    let bound = 200 + 20 * (began.elapsed().as_secs() + 1);
    for lines in logged {
        assert!(u64::try_from(lines).unwrap() < 2 * bound, "{logged:?}");
    }
    let left_out = answers.len() + GOOD - logged.iter().sum::<usize>();
    let counted = format!("velero_trust_log_lines_left_out_total {left_out}\n");
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
    let good = webhook.events("review denied").into_iter();
    let good = good.filter(|event| event["why"].as_str().unwrap().contains("[VT003]"));
    assert_eq!(good.count(), GOOD, "denials of others are not in the log");
}
