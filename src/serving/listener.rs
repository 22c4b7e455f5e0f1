//! Accepts connections up to a limit, each in a task of its own.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::activity::Peer;
use super::certificates::CertificateReceiver;
use super::connection::Protocol;
use super::connection_table::{Admission, ConnectionTable, Places};
use super::drain::{Deadline, Phase};
use super::overload_log::OverloadLog;
use super::settings::Drain;
use super::source_address::SourceAddress;

/// Pause after a failed accept. It fails when the process is out of file descriptors or memory, and
/// would fail again at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A port that is served.
pub(super) struct Listener {
    /// The name of the port in the log.
    pub(super) name: &'static str,
    pub(super) tcp: TcpListener,
    /// The certificates; plain HTTP without.
    pub(super) tls: Option<CertificateReceiver>,
    pub(super) places: Places,
    pub(super) protocol: Protocol,
    pub(super) gauges: Gauges,
}

/// The metrics of a port.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    pub(super) open: Gauge,
    pub(super) refused: Counter,
    pub(super) replaced: Counter,
    pub(super) handshakes: Counter,
}

/// An event that wakes a listener up.
enum Event {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Ended(Result<(Id, ()), JoinError>),
    Drained,
    Overloaded,
    Stop,
}

/// The tasks of the open connections.
struct Connections {
    tasks: JoinSet<()>,
    handles: HashMap<Id, AbortHandle>,
    table: ConnectionTable<Id>,
}

impl Connections {
    fn new(places: Places) -> Self {
        Self {
            tasks: JoinSet::new(),
            handles: HashMap::new(),
            table: ConnectionTable::new(places),
        }
    }

    fn open(&mut self, peer: Peer, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(work);
        self.table.insert(handle.id(), peer);
        self.handles.insert(handle.id(), handle);
    }

    /// Forgets a connection that ended.
    fn ended(&mut self, ended: &Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(%error, "connection failed");
                }
                error.id()
            }
        };
        self.table.remove(id);
        self.handles.remove(&id);
    }

    /// Closes the connection `id`, and waits until it or another one has ended: then there is a
    /// place, and a descriptor.
    async fn close(&mut self, id: Id) {
        if let Some(handle) = self.handles.get(&id) {
            handle.abort();
        }
        if let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(&ended);
        }
        self.table.remove(id);
    }

    fn len(&self) -> usize {
        self.tasks.len()
    }
}

impl Listener {
    /// Serves until shutdown is requested and the drain is over.
    pub(super) async fn run(self, drain: Drain) {
        let stopping = self.protocol.stopping.clone();
        let mut connections = Connections::new(self.places);
        let mut overload = OverloadLog::new(self.name);
        let mut resume = Instant::now();
        let mut deadline: Option<Deadline> = None;
        loop {
            let end = deadline
                .as_ref()
                .map(|deadline| deadline.end(connections.len()));
            let event = tokio::select! {
                // Ended connections are handled first, so that their places are free for new ones.
                biased;
                Some(ended) = connections.tasks.join_next_with_id() => Event::Ended(ended),
                () = stopping.reached(Phase::Draining), if deadline.is_none() => Event::Stop,
                () = sleep_until_some(overload.due()) => Event::Overloaded,
                // A client that has already connected is served, even at the last moment.
                accepted = accept(&self.tcp, resume) => Event::Accepted(accepted),
                () = sleep_until_some(end) => Event::Drained,
            };
            match event {
                Event::Accepted(Ok((stream, address))) => {
                    let source = SourceAddress::from(address.ip());
                    self.admit(stream, source, &mut connections, &mut overload)
                        .await;
                }
                Event::Accepted(Err(error)) if is_client_error(&error) => {}
                Event::Accepted(Err(error)) => {
                    tracing::error!(%error, "no connection can be accepted");
                    resume = Instant::now() + ACCEPT_BACKOFF;
                }
                Event::Ended(ended) => connections.ended(&ended),
                Event::Overloaded => {
                    let (open, largest) = (connections.len(), connections.table.largest());
                    overload.tell(Instant::now(), open, largest);
                    continue;
                }
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

    async fn admit(
        &self,
        stream: TcpStream,
        source: SourceAddress,
        connections: &mut Connections,
        overload: &mut OverloadLog,
    ) {
        // Waiting for a free place instead would leave the client in the backlog, without an answer
        // and without an end.
        match connections.table.decide(source) {
            Admission::Admit => {}
            Admission::Replace(id) => {
                self.gauges.replaced.inc();
                overload.replaced();
                connections.close(id).await;
            }
            Admission::Refuse => {
                self.gauges.refused.inc();
                overload.refused();
                return;
            }
        }
        // An answer is one small write; buffering gains nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let peer = Peer::new(source, Instant::now());
        let protocol = self.protocol.clone();
        let Some(tls) = &self.tls else {
            connections.open(peer.clone(), protocol.serve(stream, peer));
            return;
        };
        let Some(config) = tls.borrow().clone() else {
            tracing::debug!("a connection is closed: there is no certificate yet");
            return;
        };
        let acceptor = TlsAcceptor::from(config);
        let failures = self.gauges.handshakes.clone();
        connections.open(peer.clone(), async move {
            let handshake = timeout(protocol.timeouts.handshake, acceptor.accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => protocol.serve(stream, peer).await,
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

async fn accept(tcp: &TcpListener, resume: Instant) -> io::Result<(TcpStream, SocketAddr)> {
    sleep_until(resume).await;
    tcp.accept().await
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
