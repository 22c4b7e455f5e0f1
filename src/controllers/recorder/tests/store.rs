//! An S3 server in memory, on loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimePrinter;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::gate::Gate;
use crate::controllers::testing::date_now;

/// A file: its content and when it was written.
#[derive(Clone)]
pub(super) struct StoredFile {
    pub(super) content: Vec<u8>,
    pub(super) modified: Timestamp,
}

type Hook = Arc<dyn Fn(&S3, &str, &str) -> Option<u16> + Send + Sync>;

/// The server. Clones are the same server.
#[derive(Clone)]
pub(super) struct S3 {
    pub(super) url: String,
    files: Arc<Mutex<BTreeMap<String, StoredFile>>>,
    hook: Arc<Mutex<Option<Hook>>>,
    connections: Arc<AtomicUsize>,
    gate: Gate,
    _task: Arc<Abort>,
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl S3 {
    pub(super) async fn start(gate: Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = Arc::default();
        let hook = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let (all, hooked, accepted, its_gate, its_url) = (
            Arc::clone(&files),
            Arc::clone(&hook),
            Arc::clone(&connections),
            gate.clone(),
            url.clone(),
        );
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let server = Self {
                    url: its_url.clone(),
                    files: Arc::clone(&all),
                    hook: Arc::clone(&hooked),
                    connections: Arc::clone(&accepted),
                    gate: its_gate.clone(),
                    _task: Arc::new(Abort(tokio::spawn(async {}).abort_handle())),
                };
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        let task = Arc::new(Abort(task.abort_handle()));
        Self {
            url,
            files,
            hook,
            connections,
            gate,
            _task: task,
        }
    }

    /// Returns how many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Lets `hook` see the method and path of each request, and refuse it with a status.
    pub(super) fn set_hook(
        &self,
        hook: impl Fn(&Self, &str, &str) -> Option<u16> + Send + Sync + 'static,
    ) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Writes a file at this time.
    pub(super) fn put(&self, key: &str, content: &[u8], modified: Timestamp) {
        let file = StoredFile {
            content: content.to_vec(),
            modified,
        };
        self.files.lock().unwrap().insert(key.to_owned(), file);
    }

    pub(super) fn remove(&self, key: &str) {
        self.files.lock().unwrap().remove(key);
    }

    /// Returns the files whose key begins so.
    pub(super) fn files(&self, prefix: &str) -> Vec<(String, StoredFile)> {
        let files = self.files.lock().unwrap();
        let files = files.iter().filter(|(key, _)| key.starts_with(prefix));
        files
            .map(|(key, file)| (key.clone(), file.clone()))
            .collect()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default();
        let key = path
            .strip_prefix("/bucket")
            .unwrap_or_default()
            .trim_start_matches('/');
        let method = if query.contains("list-type") {
            "LIST"
        } else if query.contains("X-Amz-Signature") {
            "PRESIGNED"
        } else {
            head.method.as_str()
        };
        self.gate.pass(&format!("S3 {method} {key}")).await;
        let hook = self.hook.lock().unwrap().clone();
        let refused = hook.and_then(|hook| hook(self, method, key));
        let answer = match (refused, method) {
            (Some(code), _) => reply(code, "<Error><Code>Refused</Code></Error>", None),
            (None, "LIST") => {
                let prefix = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("prefix="));
                self.list(&prefix.unwrap_or_default().replace("%2F", "/"))
            }
            (None, _) => self.act(&head.method, key, &body),
        };
        self.gate.pass(&format!("after S3 {method} {key}")).await;
        answer
    }

    fn list(&self, prefix: &str) -> Response<Full<Bytes>> {
        let mut text = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (key, file) in self.files(prefix) {
            let (size, time) = (file.content.len(), file.modified);
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>e</ETag>\
                 <LastModified>{time}</LastModified></Contents>"
            );
        }
        reply(200, &(text + "</ListBucketResult>"), None)
    }

    fn act(&self, method: &Method, key: &str, body: &Bytes) -> Response<Full<Bytes>> {
        let found = self.files.lock().unwrap().get(key).cloned();
        match (method, found) {
            (&Method::PUT, _) => {
                self.put(key, body, Timestamp::now());
                reply(200, "", None)
            }
            (&Method::DELETE, _) => {
                self.remove(key);
                reply(204, "", None)
            }
            (_, Some(file)) => reply(
                200,
                &String::from_utf8_lossy(&file.content),
                Some(file.modified),
            ),
            (_, None) => reply(404, "<Error><Code>NoSuchKey</Code></Error>", None),
        }
    }
}

fn reply(code: u16, body: &str, modified: Option<Timestamp>) -> Response<Full<Bytes>> {
    let modified = modified.unwrap_or_else(Timestamp::now);
    let modified = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&modified)
        .unwrap();
    Response::builder()
        .status(code)
        .header("date", date_now())
        .header("etag", "\"e\"")
        .header("last-modified", modified)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}
