//! Connections to a store: dialled where it is allowed, and encrypted for https.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use super::{Reach, tls};
use crate::bucket::error::ErrorKind;
use crate::ca::endpoint::{DeniedAddresses, build_target};
use crate::dial::dial;

/// Opens connections.
#[derive(Clone)]
pub(super) struct StreamConnector {
    namespace: Arc<str>,
    tls: TlsConnector,
    denied: Arc<DeniedAddresses>,
    /// Longest time for DNS, TCP and TLS.
    longest: Duration,
}

impl std::fmt::Debug for StreamConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamConnector").finish_non_exhaustive()
    }
}

impl StreamConnector {
    /// Creates a connector for hosts that a BSL in `namespace` names.
    pub(super) fn new(namespace: &str, reach: Reach) -> Result<Self, ErrorKind> {
        Ok(Self {
            namespace: namespace.into(),
            tls: TlsConnector::from(Arc::new(tls::config(reach.trust)?)),
            denied: Arc::new(reach.denied),
            longest: reach.timing.connect,
        })
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ErrorKind> {
        let is_https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let deadline = Instant::now() + self.longest;
        let target = build_target(&self.namespace, host.to_owned(), port);
        let stream = dial(&target, &self.denied, deadline).await?;
        let _ = stream.set_nodelay(true);
        if !is_https {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| ErrorKind::Tls(error.to_string()))?;
        let stream = timeout_at(deadline, self.tls.connect(name, stream)).await;
        let stream = stream.map_err(|_| ErrorKind::Late)?;
        let stream = stream.map_err(|error| tls::describe(&error))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl Service<Uri> for StreamConnector {
    type Response = Stream;
    type Error = ErrorKind;
    type Future = BoxFuture<'static, Result<Stream, ErrorKind>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ErrorKind>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.clone().connect(uri).boxed()
    }
}

/// A connection.
pub(super) enum Stream {
    /// For http.
    Plain(TokioIo<TcpStream>),
    /// For https.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
