//! A proxy in front of MinIO, which speaks HTTP to its clients. It leaves requests unanswered on
//! demand. The signature of a request covers the header `Host`, which it keeps.

use crate::https;
use crate::minio::Minio;
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::USER_AGENT;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// What is decided about each request by its method (`LIST` for lists) and key.
type Hook = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// A running proxy. Dropping it closes every connection.
pub struct StoreProxy {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// A request.
#[derive(Clone, Debug)]
pub struct StoreRequest {
    /// Its method; `LIST` for lists.
    pub method: String,
    /// The bucket and the key.
    pub path: String,
    /// The program that sent it, as that says; velero-trust says nothing.
    pub agent: String,
}

struct Shared {
    address: String,
    tls: TlsConnector,
    hook: Mutex<Option<Hook>>,
    requests: Mutex<Vec<StoreRequest>>,
}

impl StoreProxy {
    /// Starts a proxy in front of `minio`.
    pub fn start(minio: &Minio) -> Result<Self> {
        https::install_provider();
        let roots = https::roots(&minio.authority.pem())?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = minio.url.strip_prefix("https://").context("no https")?;
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            tls: TlsConnector::from(Arc::new(config)),
            hook: Mutex::new(None),
            requests: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let url = format!("http://{}", listener.local_addr()?);
        runtime.spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            url,
            shared,
            _runtime: runtime,
        })
    }

    /// Leaves the requests unanswered for which `hook` returns true.
    pub fn hold(&self, hook: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        let mut held = locked(&self.shared.hook);
        *held = Some(Arc::new(hook));
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<StoreRequest> {
        locked(&self.shared.requests).clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        // Otherwise an answer in two pieces waits 40 ms for the client's acknowledgement.
        let _ = socket.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            let server = hyper::server::conn::http1::Builder::new();
            // An error means that the other side has gone.
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<Response<UnsyncBoxBody<Bytes, hyper::Error>>> {
    let is_list = request
        .uri()
        .query()
        .unwrap_or_default()
        .contains("list-type");
    let method = if is_list {
        "LIST"
    } else {
        request.method().as_str()
    };
    let agent = request.headers().get(USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    locked(&shared.requests).push(StoreRequest {
        method: method.to_owned(),
        path: request.uri().path().to_owned(),
        agent: agent.unwrap_or_default().to_owned(),
    });
    let hook = locked(&shared.hook).clone();
    if hook.is_some_and(|hook| hook(method, request.uri().path())) {
        std::future::pending::<()>().await;
    }
    let forwarded = forward(request, shared).await;
    let response = forwarded.map(|response| response.map(UnsyncBoxBody::new));
    Ok(response.unwrap_or_else(|_| {
        let body = Full::new(Bytes::new()).map_err(|never| match never {});
        let mut response = Response::new(UnsyncBoxBody::new(body));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

async fn forward(request: Request<Incoming>, shared: &Shared) -> Result<Response<Incoming>> {
    let stream = TcpStream::connect(&shared.address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("127.0.0.1").map_err(|error| anyhow!(error))?;
    let stream = shared.tls.connect(name, stream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
