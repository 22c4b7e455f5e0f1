//! Connections to a store: dialled where it is allowed, through a proxy if there is one, and encrypted for
//! https.

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
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{Reach, tls};
use crate::bucket::error::ErrorKind;
use crate::ca::endpoint::{DeniedAddresses, build_target};
use crate::dial::{Io, Proxies, Proxy, dial, dial_proxy, host_of, open_tunnel};

/// The metadata server of Google's cloud. A proxy would resolve the name to the one of its own machine.
const GOOGLE_METADATA: &str = "metadata.google.internal";

/// Opens connections.
#[derive(Clone)]
pub(super) struct StreamConnector {
    namespace: Arc<str>,
    tls: TlsConnector,
    denied: Arc<DeniedAddresses>,
    proxies: Proxies,
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
            proxies: reach.proxies,
            longest: reach.timing.connect,
        })
    }

    /// Returns the proxy for requests to `uri`. The services with which a cloud gives a machine its
    /// identity are never behind one.
    pub(super) fn proxy(&self, uri: &Uri) -> Option<&Proxy> {
        let host = host_of(uri);
        let everywhere = DeniedAddresses::in_cluster([]);
        let is_denied = |address| everywhere.denial_reason(address).is_some();
        let is_local = host == GOOGLE_METADATA || host.parse().is_ok_and(is_denied);
        self.proxies.select_for(uri).filter(|_| !is_local)
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ErrorKind> {
        let is_https = uri.scheme_str() == Some("https");
        let host = host_of(&uri).to_owned();
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let deadline = Instant::now() + self.longest;
        let target = build_target(&self.namespace, host, port);
        let proxy = self.proxy(&uri);
        let stream: Box<dyn Io> = match proxy {
            Some(proxy) if is_https => {
                Box::new(open_tunnel(proxy, &target, &self.denied, deadline).await?)
            }
            _ => {
                let stream = match proxy {
                    Some(proxy) => dial_proxy(proxy, &target, &self.denied, deadline).await?,
                    None => dial(&target, &self.denied, deadline).await?,
                };
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
        };
        if !is_https {
            let is_proxied = proxy.is_some();
            return Ok(Stream::new(stream, is_proxied));
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| ErrorKind::Tls(error.to_string()))?;
        let stream = timeout_at(deadline, self.tls.connect(name, stream)).await;
        let stream = stream.map_err(|_| ErrorKind::Late)?;
        let stream = stream.map_err(|error| tls::describe(&error))?;
        Ok(Stream::new(Box::new(stream), false))
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
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    /// Whether requests on it name their host in full, because a proxy reads them.
    is_proxied: bool,
}

impl Stream {
    fn new(stream: Box<dyn Io>, is_proxied: bool) -> Self {
        let io = TokioIo::new(stream);
        Self { io, is_proxied }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::connector::{Timing, Trust};

    #[test]
    fn the_services_of_the_machine_have_no_proxy() {
        let reach = Reach {
            trust: Trust::Everything,
            denied: DeniedAddresses::nothing(),
            proxies: Proxies::read(|name| name.ends_with("S_PROXY").then(|| "p".to_owned())),
            timing: Timing::default(),
        };
        let stream = StreamConnector::new("", reach).unwrap();
        let is_direct = |url: &str| stream.proxy(&url.parse().unwrap()).is_none();
        // Metadata services, and the agent of EKS Pod Identity.
        for host in ["169.254.169.254", "169.254.170.23", "[fd00:ec2::23]"] {
            assert!(
                is_direct(&format!("https://{host}/v1/credentials")),
                "{host}"
            );
        }
        let metadata = "metadata.google.internal/computeMetadata/v1/";
        assert!(is_direct(&format!("https://{metadata}")));
        assert!(!is_direct("https://sts.eu-west-1.amazonaws.com"));
        assert!(!is_direct("https://10.1.2.3"));
    }
}
