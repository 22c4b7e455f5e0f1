//! The HTTP client behind every request to a store, also behind those of `object_store`.
//!
//! It speaks HTTP/1.1, connects only to addresses that are not denied, or through the proxy of the
//! environment, follows no redirect, and turns each answer that is no success into an [`ErrorKind`]. Every wait and every body that it
//! reads by itself is bounded.

mod stream;
mod tls;

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{self, Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::{sleep, timeout};

pub use tls::Trust;

use super::error::ErrorKind;
use super::protocol::{MAX_ERROR_BYTES, Protocol};
use crate::ca::endpoint::DeniedAddresses;
use crate::dial::{Proxies, Proxy, ProxyFault};
use stream::StreamConnector;

/// Most bytes that a connection reads at a time, and most bytes in the head of an answer.
const MAX_BUFFER_BYTES: usize = 128 << 10;

/// How long an idle connection is kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How a store is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// What is never dialled.
    pub denied: DeniedAddresses,
    /// The proxies between.
    pub proxies: Proxies,
    /// How long is waited.
    pub timing: Timing,
}

/// How long is waited for a store.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Longest time for DNS, TCP and TLS.
    pub connect: Duration,
    /// Longest time until the head of an answer, with the connection and the upload of a small file.
    pub head: Duration,
    /// Longest pause between two pieces of an answer, and longest time for a short answer.
    pub piece: Duration,
    /// The pauses before a request is sent again that may have failed by chance. The AWS SDK also
    /// sends each three times.
    pub pauses: [Duration; 2],
}

impl Default for Timing {
    /// 10 s, 30 s and 30 s; 200 ms and 1 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            piece: Duration::from_secs(30),
            pauses: [Duration::from_millis(200), Duration::from_secs(1)],
        }
    }
}

/// Most bytes of the answer of a service that gives credentials.
pub(super) const MAX_IDENTITY_BYTES: usize = 1 << 20;

/// Whom a client speaks to.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// A store.
    Store(Protocol),
    /// A service of the cloud that gives a Pod its credentials. `object_store` reads its answers.
    Identity,
}

/// An HTTP client for a store.
#[derive(Clone, Debug)]
pub(super) struct StoreClient {
    client: Client<TimeoutConnector<StreamConnector>, HttpRequestBody>,
    stream: StreamConnector,
    peer: Peer,
    timing: Timing,
}

impl StoreClient {
    /// Creates a client for a store that a BSL in `namespace` names.
    pub(super) fn new(namespace: &str, reach: Reach, peer: Peer) -> Result<Self, ErrorKind> {
        let timing = reach.timing;
        let stream = StreamConnector::new(namespace, reach)?;
        let mut connector = TimeoutConnector::new(stream.clone());
        connector.set_read_timeout(Some(timing.piece));
        connector.set_write_timeout(Some(timing.piece));
        connector.set_reset_reader_on_write(true);
        let client = Builder::new(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(4)
            .http1_max_buf_size(MAX_BUFFER_BYTES)
            .build(connector);
        Ok(Self {
            client,
            stream,
            peer,
            timing,
        })
    }

    /// Sends a request, at most three times. Every request that is sent here may be repeated.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ErrorKind> {
        let mut pauses = self.timing.pauses.into_iter();
        loop {
            let answer = timeout(self.timing.head, self.send_once(request.clone())).await;
            let late = || Err(self.late(request.uri()));
            let error = match answer.unwrap_or_else(|_| late()) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match pauses.next().filter(|_| may_pass_soon(&error)) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// Reads the body of an answer that is at most `max` bytes long.
    pub(super) async fn read(&self, answer: HttpResponse, max: usize) -> Result<Bytes, ErrorKind> {
        let body = timeout(self.timing.piece, collect(answer.into_body(), max)).await;
        body.unwrap_or(Err(ErrorKind::TooSlow))
    }

    /// Returns the proxy that reads the requests to `uri`. One for https reads only who is asked for.
    fn reading_proxy(&self, uri: &Uri) -> Option<&Proxy> {
        let proxy = self.stream.proxy(uri);
        proxy.filter(|_| uri.scheme_str() != Some("https"))
    }

    fn late(&self, uri: &Uri) -> ErrorKind {
        match self.reading_proxy(uri) {
            Some(proxy) => proxy.fails(ProxyFault::Late).into(),
            None => ErrorKind::Late,
        }
    }

    async fn send_once(&self, mut request: HttpRequest) -> Result<HttpResponse, ErrorKind> {
        // hyper sets it from the URL; a second one would be another host than the signed one.
        request.headers_mut().remove(HOST);
        let proxy = self.reading_proxy(request.uri()).cloned();
        let credentials = proxy.as_ref().and_then(Proxy::authorization);
        if let Some(credentials) = credentials {
            let headers = request.headers_mut();
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| describe(&error))?;
        let (head, body) = answer.into_parts();
        if let Some(proxy) = &proxy
            && head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            return Err(proxy.fails(ProxyFault::Answer(407)).into());
        }
        let protocol = match &self.peer {
            Peer::Identity => {
                let body = collect(body, MAX_IDENTITY_BYTES).await?;
                return Ok(HttpResponse::from_parts(head, body.into()));
            }
            Peer::Store(protocol) => protocol,
        };
        if head.status.is_success() {
            let body = body.map_err(|error| wrap(describe(&error)));
            return Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)));
        }
        // The status alone says enough if the body is too large or does not arrive.
        let body = collect(body, MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(
            match (proxy, protocol.meaning(head.status, &head.headers, &body)) {
                // A proxy has no error codes of stores.
                (Some(proxy), ErrorKind::Server { status, code })
                    if [502, 504].contains(&status) && code.is_empty() =>
                {
                    proxy.fails(ProxyFault::Answer(status)).into()
                }
                (_, kind) => kind,
            },
        )
    }
}

/// Reads a body of at most `max` bytes.
async fn collect<B>(body: B, max: usize) -> Result<Bytes, ErrorKind>
where
    B: Body<Error: StdError + Send + Sync + 'static>,
{
    let body = Limited::new(body, max).collect().await;
    let body = body.map_err(|error| describe(&*error))?;
    Ok(body.to_bytes())
}

/// Whether the same request may succeed a second later.
const fn may_pass_soon(error: &ErrorKind) -> bool {
    match error {
        ErrorKind::CutOff | ErrorKind::Server { .. } => true,
        ErrorKind::Dial(error) => error.may_pass_soon(),
        _ => false,
    }
}

/// Returns the kind of an error of hyper, `object_store` or this client, however it is wrapped.
pub(super) fn describe(error: &(dyn StdError + 'static)) -> ErrorKind {
    // `object_store` refuses an answer that lacks a header.
    let mut kind = ErrorKind::Malformed("it lacks a header, or has a broken one");
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kind) = error.downcast_ref::<ErrorKind>() {
            return kind.clone();
        }
        if error.is::<LengthLimitError>() {
            return ErrorKind::Malformed("it is too long");
        }
        if error.is::<legacy::Error>() {
            kind = ErrorKind::CutOff;
        } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
            kind = if error.is_parse() {
                ErrorKind::Malformed("it is no HTTP")
            } else {
                ErrorKind::CutOff
            };
        } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // One of ours may be inside.
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            kind = match (inner, error.kind()) {
                (Some(kind), _) => return ErrorKind::clone(kind),
                (None, std::io::ErrorKind::TimedOut) => ErrorKind::TooSlow,
                (None, _) => ErrorKind::CutOff,
            };
        }
        next = error.source();
    }
    kind
}

/// Hands an error to `object_store` in a way in which it is neither retried nor lost.
pub(super) fn wrap(kind: ErrorKind) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, kind)
}

#[async_trait]
impl HttpService for StoreClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await.map_err(wrap)
    }
}

impl HttpConnector for StoreClient {
    /// The options of `object_store` are its own defaults, and not used.
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
