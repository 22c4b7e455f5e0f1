//! Graceful shutdown: requested by a signal, then drained.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::Drain;

/// The phase of the process. It only moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The process serves.
    #[default]
    Serving,
    /// Shutdown was requested: the process is no longer ready but still answers, and each answer
    /// asks the client to reconnect.
    Draining,
    /// Shutdown was requested a second time: the process ends at once.
    Aborted,
}

/// Requests the shutdown of the process.
#[derive(Debug)]
pub struct Stop(watch::Sender<Phase>);

/// Observes requests for shutdown.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<Phase>);

/// Creates a pair of both.
pub fn channel() -> (Stop, Stopping) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Stop(sender), Stopping(receiver))
}

/// Returns an observer of a process that never shuts down.
pub(super) fn never() -> Stopping {
    channel().1
}

/// Observes SIGTERM and SIGINT: the first signal begins to drain, the second aborts.
pub fn signals() -> io::Result<Stopping> {
    let (stop, stopping) = channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                signal = terminate.recv() => if signal.is_none() { return },
                signal = interrupt.recv() => if signal.is_none() { return },
            }
            stop.ask();
        }
    });
    Ok(stopping)
}

impl Stop {
    /// Requests shutdown: graceful the first time, immediate the second.
    pub fn ask(&self) {
        self.0.send_modify(|phase| {
            *phase = match phase {
                Phase::Serving => Phase::Draining,
                Phase::Draining | Phase::Aborted => Phase::Aborted,
            };
        });
    }
}

impl Stopping {
    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` is reached. Never returns if the sender is gone before that.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        let reached = receiver.wait_for(|now| *now >= phase).await.is_ok();
        if !reached {
            std::future::pending::<()>().await;
        }
    }
}

/// When a drain is over.
#[derive(Debug)]
pub(super) struct Deadline {
    limit: Instant,
    quiet_since: Instant,
    drain: Drain,
}

impl Deadline {
    /// Begins a drain now.
    pub(super) fn new(drain: Drain) -> Self {
        let now = Instant::now();
        Self {
            limit: now + drain.limit,
            quiet_since: now,
            drain,
        }
    }

    /// Begins the quiet period again, because a connection was opened or closed.
    pub(super) fn restart_quiet_period(&mut self) {
        self.quiet_since = Instant::now();
    }

    /// Returns whether the time limit has passed, whatever connections exist.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.limit
    }

    /// Returns when the drain is over if nothing happens until then.
    pub(super) fn end(&self, connections: usize) -> Instant {
        if connections == 0 {
            self.limit.min(self.quiet_since + self.drain.quiet)
        } else {
            self.limit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_drain_ends_when_it_was_quiet_or_at_its_limit() {
        let drain = Drain {
            quiet: Duration::from_secs(5),
            limit: Duration::from_secs(95),
        };
        let begun = Instant::now();
        let mut deadline = Deadline::new(drain.clone());
        assert!(deadline.end(1) >= begun + drain.limit);
        assert!(deadline.end(0) >= begun + drain.quiet);
        assert!(deadline.end(0) < begun + drain.limit);
        let first = deadline.end(0);
        std::thread::sleep(Duration::from_millis(2));
        deadline.restart_quiet_period();
        assert!(deadline.end(0) > first);
    }

    #[test]
    fn the_second_request_to_end_aborts() {
        let (stop, stopping) = channel();
        assert_eq!(stopping.phase(), Phase::Serving);
        stop.ask();
        assert_eq!(stopping.phase(), Phase::Draining);
        stop.ask();
        stop.ask();
        assert_eq!(stopping.phase(), Phase::Aborted);
    }
}
