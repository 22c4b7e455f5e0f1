//! How many lines about reviews are logged.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep};

use crate::rate_limiter::{Rate, RateLimiter};

/// Lines of one kind about reviews from one address. Each has up to 2 KiB.
const RATE: Rate = Rate {
    per_second: 20,
    burst: 200,
};

/// Time for which lines that are left out are counted before one line says how many.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// Admits lines about reviews to the log. A flood of reviews uses up the lines of its address and of
/// its kind: denials stay visible beside a flood of what is admitted. What is left out is counted in
/// a metric and told in a summary.
#[derive(Debug)]
pub(super) struct ReviewLog(Arc<State>);

#[derive(Debug)]
struct State {
    interval: Duration,
    left_out: Counter,
    limiter: Mutex<RateLimiter<(Option<IpAddr>, &'static str)>>,
    /// The lines that were left out since the last summary, by kind.
    untold: Mutex<BTreeMap<&'static str, u64>>,
}

impl ReviewLog {
    /// Creates a log. `left_out` counts the lines that are left out.
    pub(super) fn new(left_out: Counter) -> Self {
        Self::with_interval(left_out, SUMMARY_INTERVAL)
    }

    fn with_interval(left_out: Counter, interval: Duration) -> Self {
        Self(Arc::new(State {
            interval,
            left_out,
            limiter: Mutex::new(RateLimiter::new(RATE)),
            untold: Mutex::default(),
        }))
    }

    /// Returns whether to log a line of this `kind` about a review from `caller`. If not, counts it.
    pub(super) fn admits(&self, caller: Option<IpAddr>, kind: &'static str) -> bool {
        let limiter = self.0.limiter.lock();
        let mut limiter = limiter.unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let admitted = limiter.take((caller, kind), 1, now, Duration::ZERO);
        drop(limiter);
        if admitted.is_none() {
            self.leave_out(kind);
        }
        admitted.is_some()
    }

    fn leave_out(&self, kind: &'static str) {
        self.0.left_out.inc();
        let untold = self.0.untold.lock();
        let mut untold = untold.unwrap_or_else(PoisonError::into_inner);
        let is_first = untold.is_empty();
        *untold.entry(kind).or_default() += 1;
        drop(untold);
        if is_first {
            let state = Arc::clone(&self.0);
            tokio::spawn(async move {
                sleep(state.interval).await;
                state.summarize();
            });
        }
    }
}

impl State {
    fn summarize(&self) {
        let untold = self.untold.lock();
        let untold = std::mem::take(&mut *untold.unwrap_or_else(PoisonError::into_inner));
        for (kind, lines) in untold {
            tracing::warn!(
                kind,
                lines,
                "lines about reviews were left out: there are too many reviews"
            );
        }
    }
}

/// The summary task is gone with the runtime, so what it did not tell is told here.
impl Drop for State {
    fn drop(&mut self) {
        self.summarize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn untold(log: &ReviewLog) -> BTreeMap<&'static str, u64> {
        log.0.untold.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_flood_leaves_out_its_own_lines_and_every_one_of_them_is_told() {
        let counter = Counter::default();
        let log = ReviewLog::with_interval(counter.clone(), Duration::from_millis(20));
        let admitted = (0..1_000).filter(|_| log.admits(HERE, "admitted")).count();
        assert!((200..300).contains(&admitted), "{admitted}");
        assert!(log.admits(HERE, "denied") && log.admits(None, "admitted"));
        let left_out = 1_000 - u64::try_from(admitted).unwrap();
        assert_eq!(counter.get(), left_out);
        assert_eq!(untold(&log), [("admitted", left_out)].into());
        while !untold(&log).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn what_is_untold_at_the_end_is_told_then() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(writer);
        let subscriber = subscriber.finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().build().unwrap();
            runtime.block_on(async {
                let interval = Duration::from_hours(1);
                let log = ReviewLog::with_interval(Counter::default(), interval);
                while log.admits(HERE, "denied") {}
            });
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains(r#"kind="denied" lines=1"#), "{text}");
    }
}
