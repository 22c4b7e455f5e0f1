//! Connections to the API server that use little memory. Each watch has its own connection, and a
//! cluster with 20 Velero namespaces needs more than a hundred.

use std::time::Duration;

use http::Uri;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// Most bytes that a connection reads at a time, and most bytes in the head of a response. hyper's
/// default is 400 KiB, and a connection that received a long response keeps that buffer while its
/// watch is silent.
const MAX_BUFFER_BYTES: usize = 16 * 1024;

/// Longest time for which an idle connection is kept. It is shorter than the time until a watch that
/// went silent is given up: then the other connections, which went silent with it, are not used for
/// the next requests. Each would have to be given up in turn.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client could be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// kube refuses the settings.
    #[error("{0}")]
    Settings(#[from] kube::Error),
    /// The proxy has a protocol that is not supported.
    #[error("the proxy {0} is neither an http nor a socks5 proxy, and no other is supported")]
    Proxy(Uri),
}

/// Creates the client on top of a connector. A macro, because the bounds of a function would name
/// the types of four crates.
macro_rules! with_connector {
    ($config:expr, $connector:expr) => {{
        let config = $config;
        let mut connector =
            TimeoutConnector::new(config.rustls_https_connector_with_connector($connector)?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        connector.set_reset_reader_on_write(config.reset_reader_on_write);
        let http = Builder::new(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(MAX_BUFFER_BYTES)
            .build(connector);
        let retry = RetryLayer::new(RetryPolicy::server_retry());
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.default_retry.then_some(retry))
            .option_layer(config.auth_layer()?)
            .layer(config.extra_headers_layer()?)
            .map_err(BoxError::from)
            .service(http);
        Client::new(service, config.default_namespace)
    }};
}

/// Creates a kube client for `config` with small buffers, which closes idle connections, and whose
/// connections go through `proxy`. kube itself gives the pool no timer, so that the pool keeps all
/// connections that a burst of requests opened.
pub(super) fn client(config: Config, proxy: Option<&Intercept>) -> Result<Client, ConnectionError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    // As Go's clients do: otherwise a request in two pieces waits 40 ms for an acknowledgement.
    http.set_nodelay(true);
    let Some(proxy) = proxy else {
        return Ok(with_connector!(config, http));
    };
    let address = proxy.uri().clone();
    match address.scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(address, http);
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            Ok(with_connector!(config, tunnel))
        }
        Some("socks5" | "socks5h") => {
            let mut socks = SocksV5::new(address, http);
            if let Some((user, password)) = proxy.raw_auth() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            Ok(with_connector!(config, socks))
        }
        _ => Err(ConnectionError::Proxy(address)),
    }
}
