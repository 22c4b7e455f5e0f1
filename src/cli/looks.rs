//! Looks at a cluster again and again, and says meanwhile what is missing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::eprint_line;

/// Time between two looks at the cluster.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks, until a time is up.
pub(super) struct Looks {
    deadline: Instant,
    seconds: u64,
    said: Option<String>,
}

impl Looks {
    pub(super) fn begin(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            seconds: timeout.as_secs(),
            said: None,
        }
    }

    /// Says what is `missing` whenever that changes. Returns whether the time is up, and says that too.
    pub(super) fn is_late(&mut self, missing: &str) -> bool {
        if Instant::now() >= self.deadline {
            eprint_line(&format!(
                "velero-trust: after {} s, {missing}",
                self.seconds
            ));
            return true;
        }
        if self.said.as_deref() != Some(missing) {
            eprint_line(&format!("velero-trust: waiting: {missing}"));
            self.said = Some(missing.to_owned());
        }
        false
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits until the next look.
    pub(super) async fn pause(&self) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        sleep(LOOK_INTERVAL.min(left)).await;
    }
}
