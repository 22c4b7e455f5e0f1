//! The servers: HTTPS for the API server, and a second port for kubelet and Prometheus.

mod activity;
mod body;
mod budget;
pub mod certificates;
mod connection;
mod connection_table;
pub mod descriptors;
pub mod drain;
mod large;
mod listener;
mod memory;
mod ops;
mod overload_log;
mod review;
mod review_log;
mod routes;
mod settings;
mod source_address;
mod writing;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::decision::Policy;
use crate::sources::Source;
use crate::telemetry::Metrics;
use certificates::CertificateReceiver;
use connection::Protocol;
use connection_table::Places;
use drain::{Phase, Stopping};
use listener::{Gauges, Listener};
use review::Reviewer;
use review_log::ReviewLog;

pub use ops::Condition;
pub use settings::{Caps, Drain, Timeouts};

/// Everything needed to serve. The caller binds the listeners, so that it knows their ports and can
/// print them.
pub struct Server {
    /// The port of the webhook.
    pub admission: TcpListener,
    /// The port of health, readiness and metrics; plain HTTP.
    pub ops: TcpListener,
    /// The certificates of the webhook's port.
    pub tls: CertificateReceiver,
    /// Where facts are looked up.
    pub source: Arc<dyn Source>,
    /// The policy that the operator chose.
    pub policy: Arc<Policy>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Requests for shutdown.
    pub stopping: Stopping,
    /// Conditions for readiness, besides the server itself.
    pub conditions: Vec<Condition>,
    /// Tasks that run as long as the server does.
    pub tasks: Vec<Task>,
    /// The time limits.
    pub timeouts: Timeouts,
    /// The size limits.
    pub caps: Caps,
    /// The times of the drain at shutdown.
    pub drain: Drain,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("admission", &self.admission)
            .field("ops", &self.ops)
            .finish_non_exhaustive()
    }
}

/// A task that runs as long as the server does. When it ends, the server ends with it: half a
/// server that looks healthy is worse than a restart.
pub struct Task {
    name: &'static str,
    work: BoxFuture<'static, ()>,
}

impl Task {
    /// Creates a task; `name` identifies it in errors and in the log.
    pub fn new(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            name,
            work: Box::pin(work),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.name).finish()
    }
}

/// Why serving ended other than by a drain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// Shutdown was requested a second time.
    #[error("aborted by a second signal before the drain was over")]
    Aborted,
    /// A task ended that never should.
    #[error("the task `{0}` ended, and the server cannot do without it")]
    Ended(&'static str),
    /// A task panicked.
    #[error("the task `{0}` panicked; the log says where")]
    Panicked(&'static str),
}

/// Serves until shutdown is requested and the drain is over.
pub async fn run(server: Server) -> Result<(), ServeError> {
    let Server {
        admission,
        ops,
        tls,
        source,
        policy,
        metrics,
        stopping,
        conditions,
        tasks,
        timeouts,
        caps,
        drain,
    } = server;
    let mut background = JoinSet::new();
    for task in tasks {
        background.spawn(supervised(task));
    }
    let ops = Listener {
        name: "ops",
        tcp: ops,
        tls: None,
        places: Places {
            all: caps.ops_connections,
            protected: ops::PROTECTED_CONNECTIONS,
        },
        gauges: Gauges {
            open: metrics.ops_connections.clone(),
            refused: metrics.ops_connections_refused.clone(),
            replaced: metrics.ops_connections_replaced.clone(),
            handshakes: Counter::default(),
        },
        protocol: Protocol {
            router: ops::router(Arc::clone(&metrics), stopping.clone(), conditions),
            timeouts: ops::timeouts(&timeouts),
            caps: caps.clone(),
            // Probes are answered until the process ends.
            stopping: drain::never(),
        },
    };
    background.spawn(supervised(Task::new("ops", ops.run(drain.clone()))));

    let gauges = Gauges {
        open: metrics.connections.clone(),
        refused: metrics.connections_refused.clone(),
        replaced: metrics.connections_replaced.clone(),
        handshakes: metrics.handshake_failures.clone(),
    };
    let reviewer = Reviewer {
        log: Arc::new(ReviewLog::new(metrics.log_lines_left_out.clone())),
        source,
        policy,
        metrics,
    };
    let listener = Listener {
        name: "webhook",
        tcp: admission,
        tls: Some(tls),
        places: Places {
            all: caps.connections,
            protected: caps.protected_connections,
        },
        gauges,
        protocol: Protocol {
            router: routes::router(reviewer, &timeouts, &caps),
            timeouts,
            caps,
            stopping: stopping.clone(),
        },
    };
    let mut admission = JoinSet::new();
    admission.spawn(supervised(Task::new("admission", listener.run(drain))));
    tokio::select! {
        Some(drained) = admission.join_next() => match drained {
            Ok((_, true)) => Ok(()),
            _ => Err(ServeError::Panicked("admission")),
        },
        Some(Ok((name, returned))) = background.join_next() => Err(if returned {
            ServeError::Ended(name)
        } else {
            ServeError::Panicked(name)
        }),
        () = stopping.reached(Phase::Aborted) => Err(ServeError::Aborted),
    }
}

/// Runs a task. Returns its name, and whether it returned rather than panicked.
async fn supervised(task: Task) -> (&'static str, bool) {
    let returned = AssertUnwindSafe(task.work).catch_unwind().await.is_ok();
    (task.name, returned)
}
