//! A replica of another version, which does not know one of the paths of this version.

use crate::https;
use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// The path that no version has.
const UNKNOWN: &str = "/validate/of-another-version";

/// A server that answers each review as the real server answers one on a path that it does not
/// know. Dropping it closes every connection.
#[derive(Debug)]
pub struct OtherVersion {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

#[derive(Debug)]
struct Shared {
    real: String,
    ca_pem: String,
    answered: AtomicUsize,
}

impl OtherVersion {
    /// Starts a server with this certificate and key, in PEM. It asks the server with the URL
    /// `real`, whose CA is in `ca_pem`, how a path that is not known is answered.
    pub fn start(real: &str, ca_pem: &str, certificate: &str, key: &str) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                chain.collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            real: real.to_owned(),
            ca_pem: ca_pem.to_owned(),
            answered: AtomicUsize::new(0),
        });
        let acceptor = TlsAcceptor::from(Arc::new(config));
        runtime.spawn(serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _runtime: runtime,
        })
    }

    /// Returns the address on which the server listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many requests it has answered so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| answer(request, &shared));
            // An error means that the client has gone.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let body = String::from_utf8(body.to_vec())?;
    let asked = Arc::clone(shared);
    let answer = tokio::task::spawn_blocking(move || {
        let url = format!("{}{UNKNOWN}", asked.real);
        let headers = [("Content-Type", "application/json")];
        https::send("POST", &url, &asked.ca_pem, &headers, &body)
    });
    let answer = answer.await??;
    shared.answered.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::builder().status(answer.status);
    for line in answer.head.lines().skip(1) {
        let (name, value) = line.split_once(": ").context("no header")?;
        let length = name.eq_ignore_ascii_case("content-length");
        if !length {
            response = response.header(name, value);
        }
    }
    Ok(response.body(Full::new(Bytes::from(answer.body)))?)
}
