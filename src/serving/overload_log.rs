//! The log lines about connections that found every place taken, limited in rate.

use std::time::Duration;

use tokio::time::Instant;

use super::source_address::SourceAddress;

/// Shortest time between two lines. A flood makes thousands of connections in it.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts what a port could not serve, and logs the counts: at once, and then once in an interval
/// for as long as there is something to tell.
#[derive(Debug)]
pub(super) struct OverloadLog {
    port: &'static str,
    untold: Overload,
    /// When the next line may be written.
    next: Instant,
}

/// The connections that were closed because all places were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Overload {
    refused: u64,
    replaced: u64,
}

impl OverloadLog {
    /// Creates a log for `port`, as its lines name it.
    pub(super) fn new(port: &'static str) -> Self {
        Self {
            port,
            untold: Overload::default(),
            next: Instant::now(),
        }
    }

    /// Counts a new connection that was refused.
    pub(super) const fn refused(&mut self) {
        self.untold.refused += 1;
    }

    /// Counts a connection that was closed to make room.
    pub(super) const fn replaced(&mut self) {
        self.untold.replaced += 1;
    }

    /// Returns when a line is due, if there is something to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.untold != Overload::default()).then_some(self.next)
    }

    /// Logs the counts, if that is due `now`. `open` is the number of connections, and `largest`
    /// the source with the most of them.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        open: usize,
        largest: Option<(SourceAddress, usize)>,
    ) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.next = now + INTERVAL;
        let Overload { refused, replaced } = std::mem::take(&mut self.untold);
        let (source, held) = largest.unzip();
        tracing::warn!(
            port = self.port,
            refused,
            replaced,
            open,
            largest_source = source.map(tracing::field::display),
            largest_source_connections = held,
            "all connections of the port are taken, so some were closed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_in_an_interval() {
        let mut log = OverloadLog::new("webhook");
        let now = Instant::now();
        assert_eq!(log.due(), None);
        log.refused();
        assert!(log.due().is_some_and(|due| due <= now));
        log.tell(now, 1, None);
        assert_eq!((log.due(), log.untold), (None, Overload::default()));
        log.refused();
        log.replaced();
        assert_eq!(log.due(), Some(now + INTERVAL));
        log.tell(now + INTERVAL / 2, 1, None);
        let counted = Overload {
            refused: 1,
            replaced: 1,
        };
        assert_eq!(log.untold, counted);
        log.tell(now + INTERVAL, 1, None);
        assert_eq!(log.untold, Overload::default());
    }
}
