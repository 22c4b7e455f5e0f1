//! A proxy in front of an API server. It records requests and, on demand, refuses some of them,
//! leaves them unanswered, or lets its connections go silent.

use crate::access::Access;
use anyhow::Result;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    access: Access,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// A request that passed the proxy.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When the request arrived.
    pub at: Instant,
    /// `GET`, `PATCH` and so on; `WATCH` for a watch.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The status code of the answer.
    pub status: u16,
}

impl Refused {
    fn is_at(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => self.path == path,
        }
    }
}

/// A rule for requests to refuse.
#[derive(Clone, Debug)]
struct Refused {
    /// All methods if none.
    method: Option<String>,
    path: String,
    /// No answer at all if none.
    status: Option<StatusCode>,
}

#[derive(Debug, Default)]
struct Shared {
    refused: Mutex<Option<Refused>>,
    healed: Notify,
    silenced: Notify,
    silent: AtomicUsize,
    held: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy in front of the server of `access`. Every client of the proxy has the rights
    /// of `access`.
    pub fn start(access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared::default());
        let (client, listener) = runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            anyhow::Ok((access.client().await?, listener))
        })?;
        let port = listener.local_addr()?.port();
        runtime.spawn(serve(listener, client, Arc::clone(&shared)));
        Ok(Self {
            // Plain HTTP: the proxy is on loopback, and it speaks TLS to the server.
            access: Access {
                server: format!("http://127.0.0.1:{port}"),
                ..access.clone()
            },
            shared,
            _runtime: runtime,
        })
    }

    /// Returns the access to the API server through this proxy.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Begins to answer every `method` on exactly `path` with `status`.
    pub fn refuse(&self, method: &str, path: &str, status: u16) -> Result<()> {
        *locked(&self.shared.refused) = Some(Refused {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            status: Some(StatusCode::from_u16(status)?),
        });
        Ok(())
    }

    /// Begins to leave every `method`, or all methods, on exactly `path` unanswered, or on all paths
    /// that begin so if it ends in `*`.
    pub fn hold(&self, method: Option<&str>, path: &str) {
        *locked(&self.shared.refused) = Some(Refused {
            method: method.map(str::to_owned),
            path: path.to_owned(),
            status: None,
        });
    }

    /// Returns how many requests have been left unanswered so far.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Stops refusing, and answers the requests that still wait.
    pub fn heal(&self) {
        *locked(&self.shared.refused) = None;
        self.shared.healed.notify_waiters();
    }

    /// Lets all open connections go silent: each takes what is sent to it, answers nothing, neither
    /// what it has begun nor anything new, and is not closed, as when a firewall has forgotten it.
    /// New connections are served.
    pub fn silence(&self) {
        self.shared.silenced.notify_waiters();
    }

    /// Returns how many connections have gone silent so far.
    pub fn silent(&self) -> usize {
        self.shared.silent.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of requests that waited for an answer at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::Relaxed)
    }

    /// Returns the answered requests that `wanted` accepts.
    pub fn seen(&self, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let seen = locked(&self.shared.seen);
        seen.iter().filter(|seen| wanted(seen)).cloned().collect()
    }
}

async fn serve(listener: TcpListener, client: kube::Client, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        // Otherwise an answer in two pieces waits 40 ms for the client's acknowledgement.
        let _ = socket.set_nodelay(true);
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &client, &shared));
            // Subscribed before the first request is read.
            let silenced = shared.silenced.notified();
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            let mut connection = pin!(connection);
            tokio::select! {
                // An error means that the other side has gone.
                _ = &mut connection => {}
                () = silenced => {
                    shared.silent.fetch_add(1, Ordering::Relaxed);
                    // Nobody reads or writes any more, and the socket stays open.
                    std::future::pending::<()>().await;
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    client: &kube::Client,
    shared: &Shared,
) -> Result<Response<Body>> {
    let at = Instant::now();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default();
    let method = if query.contains("watch=true") {
        "WATCH".to_owned()
    } else {
        request.method().to_string()
    };
    let response = if let Some(status) = refused(shared, &method, &path).await {
        refusal(status)?
    } else {
        let running = shared.running.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most.fetch_max(running, Ordering::Relaxed);
        let response = forward(request, client).await;
        shared.running.fetch_sub(1, Ordering::Relaxed);
        response?
    };
    locked(&shared.seen).push(Seen {
        at,
        method,
        path,
        status: response.status().as_u16(),
    });
    Ok(response)
}

/// Returns the answer to give instead of the server's, once a held request is released.
async fn refused(shared: &Shared, method: &str, path: &str) -> Option<StatusCode> {
    loop {
        // Subscribed before the check, so that no release in between is missed.
        let healed = shared.healed.notified();
        let refused = locked(&shared.refused).clone()?;
        let is_method = refused
            .method
            .as_ref()
            .is_none_or(|refused| refused == method);
        let is_it = is_method && refused.is_at(path);
        match refused.status {
            _ if !is_it => return None,
            Some(status) => return Some(status),
            None => {
                shared.held.fetch_add(1, Ordering::Relaxed);
                healed.await;
            }
        }
    }
}

async fn forward(request: Request<Incoming>, client: &kube::Client) -> Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    // Headers that the client behind us sets itself.
    for name in [HOST, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let body = Body::from(body.collect().await?.to_bytes());
    let mut response = client.send(Request::from_parts(head, body)).await?;
    for name in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// Returns a refusal in the API server's format. A 429 asks the client to wait a second.
fn refusal(code: StatusCode) -> Result<Response<Body>> {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "refused by a test",
        "code": code.as_u16(),
    });
    let mut response = Response::builder()
        .status(code)
        .header("Content-Type", "application/json");
    if code == StatusCode::TOO_MANY_REQUESTS {
        response = response.header(RETRY_AFTER, "1");
    }
    Ok(response.body(Body::from(status.to_string().into_bytes()))?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
