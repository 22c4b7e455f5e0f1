//! The baseline: a TLS server with the same libraries that reads a body and answers with its first
//! bytes.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use axum::body::{Body, to_bytes};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Environment variable that turns the benchmark into an echo server. Contains the folder of its
/// certificates.
pub(super) const FOLDER: &str = "VELERO_TRUST_BENCH_ECHO";

/// Length of the answer in bytes, about that of the answer to a review.
const ANSWER: usize = 400;

/// Returns the command that runs the echo server.
pub(super) fn command(folder: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(FOLDER, folder);
    Ok(command)
}

/// Serves until it is killed.
pub(super) fn serve(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let chain = vec![CertificateDer::from_pem_file(folder.join("tls.crt"))?];
        let key = PrivateKeyDer::from_pem_file(folder.join("tls.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(
            std::io::stdout(),
            "listening on https://{}",
            listener.local_addr()?
        )?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(socket).await?;
                let echo = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
                    let body = Body::new(request.into_body());
                    let read = to_bytes(body, usize::MAX).await.unwrap_or_default();
                    let answer = read.slice(..read.len().min(ANSWER));
                    Ok::<_, Infallible>(hyper::Response::new(Body::from(answer)))
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), echo).await;
                Ok::<_, std::io::Error>(())
            });
        }
    })
}
