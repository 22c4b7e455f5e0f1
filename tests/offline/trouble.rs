//! An API server that fails: each kind of failure leads to a 503 with its own message, in time, and
//! never to a denial. The tests on real servers cover an API server that is stopped or absent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use velero_trust_testing::cli::Cli;
use velero_trust_testing::https::{Response, send};
use velero_trust_testing::scratch;
use velero_trust_testing::serve::Serve;
use velero_trust_testing::webhook::Webhook;

/// The whole HTTP response to every request; `None` to send no response.
type Script = Arc<Mutex<Option<String>>>;

/// Starts an API server that gives every request the response in `script`. Returns its URL.
fn double(script: &Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::clone(script);
    std::thread::spawn(move || {
        // Kept open, because a closed connection is a different failure than a silent one.
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match script.lock().unwrap().clone() {
                Some(response) => answer(&mut stream, &response),
                None => silent.push(stream),
            }
        }
    });
    format!("http://{address}")
}

/// Sends one response after the head of a request. The connection then ends, so that every request
/// connects again.
fn answer(stream: &mut TcpStream, response: &str) {
    let head = BufReader::new(&*stream).lines();
    head.map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    // The client may have closed the connection in the meantime.
    let _ = stream.write_all(response.as_bytes());
}

fn response(code: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {code} Any\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn status(code: u16, reason: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": format!("{reason} it says"), "reason": reason, "code": code,
    })
    .to_string()
}

/// Returns a review of a location that names a Secret.
fn review() -> String {
    let reference = json!({"name": "ca", "key": "ca.crt"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "trouble",
            "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
            "name": "minio", "namespace": "velero", "operation": "CREATE",
            "userInfo": {"username": "jane"},
            "object": {"spec": {
                "provider": "aws", "objectStorage": {"bucket": "b", "caCertRef": reference},
            }},
        }
    })
    .to_string()
}

/// Starts velero-trust with the test double as its API server. Returns it with the CA of its
/// certificate and the folder of its files.
fn serve(script: &Script) -> (Webhook, String, TempDir) {
    let folder = scratch::folder("double").unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": double(script)}}],
        "users": [{"name": "double", "user": {"token": "t"}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
    });
    std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_velero-trust"));
    let certs = Cli::new(binary.to_owned(), None).unwrap();
    certs.ok(&["certs", "--dir", &file("")]).unwrap();
    // The log must not contain the Secret at any level.
    let serve = Serve::new(binary, folder.path()).arguments(&["--log=trace"]);
    let serve = serve.kubeconfig(Path::new(&file("kubeconfig")));
    let webhook = serve.start().unwrap();
    let ca = std::fs::read_to_string(file("ca.crt")).unwrap();
    (webhook, ca, folder)
}

/// What the API server does, as a name and as a response; our message about it, and our
/// `Retry-After`.
type Row = (&'static str, Option<String>, &'static str, u8);

fn rows() -> [Row; 7] {
    let secret = r#"{"kind": "Secret", "apiVersion": "v1", "data": {"ca.crt": "top secret"}}"#;
    let busy = response(429, "Retry-After: 1\r\n", &status(429, "TooManyRequests"));
    let failed = response(500, "", &status(500, "InternalError"));
    let forbidden = response(403, "", &status(403, "Forbidden"));
    let page = response(200, "", "<html>top secret</html>");
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned();
    let grant = "grant it with `kubectl -n velero create rolebinding velero-trust-secret-reader ";
    let unreadable = "what the API server answered cannot be understood";
    [
        (
            "429",
            Some(busy),
            "answered 429: TooManyRequests it says",
            1,
        ),
        (
            "500",
            Some(failed),
            "answered 500: InternalError it says",
            1,
        ),
        ("403", Some(forbidden), grant, 0),
        ("a page", Some(page), unreadable, 1),
        ("not base64", Some(response(200, "", secret)), unreadable, 1),
        (
            "half an answer",
            Some(half),
            "the API server cannot be reached: ",
            1,
        ),
        (
            "silence",
            None,
            "the API server cannot be reached: timed out",
            1,
        ),
    ]
}

#[test]
fn an_api_server_in_trouble_is_a_503_in_words() {
    let script = Script::default();
    let (webhook, ca, _folder) = serve(&script);
    let ask = || -> (Response, Duration) {
        let url = format!("{}/validate/backupstoragelocations?timeout=5s", webhook.url);
        let headers = [("Content-Type", "application/json")];
        let began = Instant::now();
        (
            send("POST", &url, &ca, &headers, &review()).unwrap(),
            began.elapsed(),
        )
    };

    for (row, said, words, retry_after) in rows() {
        *script.lock().unwrap() = said;
        let (answer, took) = ask();
        assert_eq!(answer.status, 503, "{row}: {answer:?}");
        assert!(took < Duration::from_millis(4500), "{row} took {took:?}");
        let retry_after = format!("\r\nretry-after: {retry_after}");
        assert!(
            answer.head.to_lowercase().contains(&retry_after),
            "{row}: {}",
            answer.head
        );
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&body["kind"], &body["code"]),
            (&json!("Status"), &json!(503)),
            "{row}"
        );
        let message = body["message"].as_str().unwrap();
        assert!(
            message.starts_with("velero-trust: cannot read Secret velero/ca: "),
            "{row}: {message}"
        );
        assert!(message.contains(words), "{row}: {message}");
        assert!(!message.contains("top secret"), "{row}: {message}");
    }
    let log = webhook.log();
    assert!(log.contains("review not decided"), "{log}");
    assert!(!log.contains("top secret"), "{log}");

    // After the API server has recovered, the Secret is known to be absent, which is a denial.
    *script.lock().unwrap() = Some(response(404, "", &status(404, "NotFound")));
    let (answer, _) = ask();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("[VT001]"), "{answer:?}");
}
