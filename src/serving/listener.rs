//! Accepts connections up to a limit, each in a task of its own.

use std::io;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::certificates::CertificateReceiver;
use super::connection::Protocol;
use super::drain::{Deadline, Phase};
use super::settings::Drain;

/// Pause after a failed accept. It fails when the process is out of file descriptors or memory, and
/// would fail again at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A port that is served.
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    /// The certificates; plain HTTP without.
    pub(super) tls: Option<CertificateReceiver>,
    pub(super) protocol: Protocol,
    pub(super) gauges: Gauges,
}

/// The metrics of a port.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    pub(super) open: Gauge,
    pub(super) refused: Counter,
    pub(super) handshakes: Counter,
}

/// An event that wakes a listener up.
enum Event {
    Accepted(io::Result<TcpStream>),
    Ended(Result<(), JoinError>),
    Drained,
    Stop,
}

impl Listener {
    /// Serves until shutdown is requested and the drain is over.
    pub(super) async fn run(self, drain: Drain) {
        let stopping = self.protocol.stopping.clone();
        let mut connections = JoinSet::new();
        let mut resume = Instant::now();
        let mut deadline: Option<Deadline> = None;
        loop {
            let end = deadline
                .as_ref()
                .map(|deadline| deadline.end(connections.len()));
            let event = tokio::select! {
                // Ended connections are handled first, so that their places are free for new ones.
                biased;
                Some(ended) = connections.join_next() => Event::Ended(ended),
                () = stopping.reached(Phase::Draining), if deadline.is_none() => Event::Stop,
                // A client that has already connected is served, even at the last moment.
                accepted = accept(&self.tcp, resume) => Event::Accepted(accepted),
                () = sleep_until_some(end) => Event::Drained,
            };
            match event {
                Event::Accepted(Ok(stream)) => self.admit(stream, &mut connections),
                Event::Accepted(Err(error)) if is_client_error(&error) => {}
                Event::Accepted(Err(error)) => {
                    tracing::error!(%error, "no connection can be accepted");
                    resume = Instant::now() + ACCEPT_BACKOFF;
                }
                Event::Ended(Ok(())) => {}
                Event::Ended(Err(error)) => tracing::error!(%error, "connection failed"),
                Event::Stop => {
                    let open = connections.len();
                    tracing::info!(
                        open,
                        "draining: not ready, and each answer closes its connection"
                    );
                    deadline = Some(Deadline::new(drain.clone()));
                }
                Event::Drained => break,
            }
            let open = i64::try_from(connections.len()).unwrap_or(i64::MAX);
            self.gauges.open.set(open);
            if let Some(deadline) = &mut deadline {
                if deadline.is_over() {
                    break;
                }
                deadline.restart_quiet_period();
            }
        }
        match connections.len() {
            0 => tracing::info!("drained"),
            open => tracing::warn!(open, "the drain timed out; open connections are closed"),
        }
    }

    fn admit(&self, stream: TcpStream, connections: &mut JoinSet<()>) {
        // Waiting for a free place instead would leave the client in the backlog, without an answer
        // and without an end.
        if connections.len() >= self.protocol.caps.connections {
            self.gauges.refused.inc();
            return;
        }
        // An answer is one small write; buffering gains nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let protocol = self.protocol.clone();
        let Some(tls) = &self.tls else {
            connections.spawn(protocol.serve(stream));
            return;
        };
        let acceptor = TlsAcceptor::from(tls.borrow().clone());
        let failures = self.gauges.handshakes.clone();
        connections.spawn(async move {
            let handshake = timeout(protocol.timeouts.handshake, acceptor.accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => protocol.serve(stream).await,
                Ok(Err(error)) => {
                    failures.inc();
                    tracing::debug!(%error, "handshake failed");
                }
                Err(_) => {
                    failures.inc();
                    tracing::debug!("handshake took too long");
                }
            }
        });
    }
}

async fn accept(tcp: &TcpListener, resume: Instant) -> io::Result<TcpStream> {
    sleep_until(resume).await;
    tcp.accept().await.map(|(stream, _)| stream)
}

async fn sleep_until_some(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns whether a connection went away before it was accepted, which is no fault of ours.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
