//! The end of the process: asked for by a signal, and waited for.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::Drain;

/// Where the process is in its life. It only ever goes forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    #[default]
    Serving,
    /// It was asked to end: not ready any more, it still answers, and each answer asks its client
    /// to come back on a new connection.
    Draining,
    /// It was asked twice: it ends at once.
    Aborted,
}

/// Asks the process to end.
#[derive(Debug)]
pub struct Stop(watch::Sender<Phase>);

/// Hears when the process is asked to end.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<Phase>);

/// A way to ask, and a way to hear it.
pub fn channel() -> (Stop, Stopping) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Stop(sender), Stopping(receiver))
}

/// Hears nothing, ever.
pub(super) fn never() -> Stopping {
    channel().1
}

/// Hears SIGTERM and SIGINT: the first begins to drain, the second aborts.
pub fn signals() -> io::Result<Stopping> {
    let (stop, stopping) = channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                heard = terminate.recv() => if heard.is_none() { return },
                heard = interrupt.recv() => if heard.is_none() { return },
            }
            stop.ask();
        }
    });
    Ok(stopping)
}

impl Stop {
    /// Asks the process to end: politely the first time, at once the second.
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
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until `phase` is reached; for ever when nobody is left to ask for it.
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
    /// A drain that begins now.
    pub(super) fn new(drain: Drain) -> Self {
        let now = Instant::now();
        Self {
            limit: now + drain.limit,
            quiet_since: now,
            drain,
        }
    }

    /// Remembers that a connection came or went.
    pub(super) fn restart_quiet_period(&mut self) {
        self.quiet_since = Instant::now();
    }

    /// Whether there is no more time, whoever still comes.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.limit
    }

    /// The moment at which the drain is over if nothing happens until then.
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
