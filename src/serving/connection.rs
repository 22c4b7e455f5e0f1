//! Serves one connection, after its TLS handshake if it has one.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::activity::{AnswersReview, Peer};
use super::drain::{Phase, Stopping};
use super::settings::{Caps, Timeouts};
use super::writing::{TimedWrites, Unwritten};

/// Maximum size in bytes of a request's head, and of the buffer for a body. A connection keeps its
/// buffer, so it counts for each of them; a TLS record has no more.
const MAX_BUFFER_BYTES: usize = 16 << 10;

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Protocol {
    pub(super) router: Router,
    pub(super) timeouts: Timeouts,
    pub(super) caps: Caps,
    pub(super) stopping: Stopping,
}

/// When a connection is asked to end.
#[derive(Clone, Copy, Debug)]
struct ConnectionLimits {
    age: Instant,
    requests: u32,
}

impl ConnectionLimits {
    /// Creates limits that are up to a fifth below or above the settings, so that connections that
    /// began together do not reconnect together.
    fn new(timeouts: &Timeouts, caps: &Caps) -> Self {
        let random = RandomState::new().build_hasher().finish();
        // 80 to 120.
        let percent = 80 + u32::try_from(random % 41).unwrap_or(20);
        let requests = u64::from(caps.requests) * u64::from(percent) / 100;
        Self {
            age: Instant::now() + timeouts.age * percent / 100,
            requests: u32::try_from(requests).unwrap_or(u32::MAX),
        }
    }

    fn are_reached(self, requests: u32) -> bool {
        requests >= self.requests || Instant::now() >= self.age
    }
}

impl Protocol {
    /// Serves `io`, the connection of `peer`, until it ends.
    ///
    /// hyper has a single timer for the head of a request, which also runs while the connection is
    /// idle. It is set to the idle timeout; the much shorter timeout for the first request is
    /// enforced here. Only the answer to a whole review leaves the connection open, so that no
    /// other client gets the idle timeout.
    pub(super) async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: Peer) {
        let began = Instant::now();
        let Self {
            router,
            timeouts,
            caps,
            stopping,
        } = self;
        let limits = ConnectionLimits::new(&timeouts, &caps);
        let requests = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&requests);
        let unwritten = Unwritten::default();
        let io = TimedWrites::new(io, timeouts.write, unwritten.clone());
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let number = requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let response = router.call(request);
            let stopping = stopping.clone();
            let unwritten = unwritten.clone();
            async move {
                let mut response = response.await?;
                unwritten.hold(&mut response);
                if stopping.phase() != Phase::Serving {
                    close_and_retry(&mut response);
                } else if !answers_review(&response) || limits.are_reached(number) {
                    close_after(&mut response);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.idle)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        if ends_by(connection.as_mut(), began + timeouts.first_request).await
            || seen.load(Ordering::Relaxed) == 0
        {
            return;
        }
        ends_by(connection, began + timeouts.hard_age).await;
    }
}

fn answers_review(response: &Response) -> bool {
    response.extensions().get::<AnswersReview>().is_some()
}

/// Drives `connection` until `deadline`. Returns whether it ended.
async fn ends_by<E: std::error::Error>(
    connection: impl Future<Output = Result<(), E>>,
    deadline: Instant,
) -> bool {
    match timeout_at(deadline, connection).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection ended");
            true
        }
        Err(_) => false,
    }
}

/// Asks the client to use another connection from now on. The client then closes this one, or sees
/// us close it. A close without notice could cross with its next request, which would be lost.
fn close_after(response: &mut Response) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Does the same as [`close_after`], and lets the client retry at once: its new connection reaches
/// another replica.
fn close_and_retry(response: &mut Response) {
    close_after(response);
    if let Some(after) = response.headers_mut().get_mut(RETRY_AFTER) {
        *after = HeaderValue::from_static("0");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::drain;
    use super::super::source_address::SourceAddress;
    use super::*;

    #[test]
    fn a_term_is_over_at_its_age_or_its_number_of_requests() {
        let timeouts = Timeouts::default();
        let caps = Caps::default();
        for _ in 0..100 {
            let limits = ConnectionLimits::new(&timeouts, &caps);
            assert!(!limits.are_reached(799));
            assert!(limits.are_reached(1200));
            let age = limits.age - Instant::now();
            assert!(age > Duration::from_secs(239) && age <= Duration::from_mins(6));
        }
        let limits = ConnectionLimits::new(
            &Timeouts {
                age: Duration::ZERO,
                ..timeouts
            },
            &caps,
        );
        assert!(limits.are_reached(1));
    }

    /// So a client that sends reviews and reads no answer holds the memory of one, not of all. That is
    /// how hyper works as long as its `pipeline_flush` is off.
    #[tokio::test]
    async fn no_review_is_answered_before_the_answer_to_the_one_before_it_is_taken() {
        const ANSWER_BYTES: usize = 64 << 10;
        let answered = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&answered);
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::Relaxed);
            let mut response = Response::new(Body::from(vec![0; ANSWER_BYTES]));
            response.extensions_mut().insert(AnswersReview);
            response
        });
        let protocol = Protocol {
            router,
            timeouts: Timeouts::default(),
            caps: Caps::default(),
            stopping: drain::never(),
        };
        // Has room for less than one answer, and for a few requests.
        let (client, server) = duplex(1024);
        let peer = Peer::new(SourceAddress::UNKNOWN, Instant::now());
        let serving = tokio::spawn(protocol.serve(server, peer));
        let (mut reader, mut writer) = tokio::io::split(client);
        let sent = tokio::spawn(async move {
            let requests = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
            writer.write_all(&requests).await.unwrap();
            std::future::pending::<()>().await;
        });
        // There is one thread: whatever can go on does so meanwhile.
        let others_go_on = async || {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        for number in 1..=3 {
            others_go_on().await;
            assert_eq!(answered.load(Ordering::Relaxed), number);
            reader.read_exact(&mut vec![0; ANSWER_BYTES]).await.unwrap();
        }
        sent.abort();
        serving.abort();
    }
}
