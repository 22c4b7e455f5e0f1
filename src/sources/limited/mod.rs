//! Look-ups of reviews, limited so that no caller makes the API server throttle, or this process
//! wait, at the expense of others.
//!
//! Nothing that was read is remembered: a Secret is often created within the second before the
//! location that names it, and "absent" from a memory would be a denial that a live read would not
//! make. Instead, identical look-ups share a read that has not begun yet ([`pending`]), and every
//! read takes tokens and a place of its caller ([`quotas`]). A look-up that gets none in time is
//! unavailable, which is never a denial.

mod pending;
mod quotas;

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, timeout_at};

use super::cluster::{Cluster, group};
use super::{LookupOptions, Source};
use crate::decision::{Facts, Lookup, LookupError, LookupErrorKind, Outcome};
use pending::Pending;
use quotas::Quotas;

/// The reads of a cluster for reviews.
pub struct LimitedCluster {
    cluster: Arc<Cluster>,
    quotas: Arc<Quotas>,
    pending: Pending<Read, Facts>,
    refused: Counter,
}

/// What makes two reads the same. Callers do not share reads, so that none waits for the quota of
/// another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    caller: Option<IpAddr>,
    group: Vec<Lookup>,
    dry_run: bool,
}

impl LimitedCluster {
    /// Limits the look-ups in `cluster`. `refused` counts those that were not made.
    pub fn new(cluster: Cluster, refused: Counter) -> Self {
        Self {
            cluster: Arc::new(cluster),
            quotas: Arc::default(),
            pending: Pending::default(),
            refused,
        }
    }

    async fn read(&self, group: Vec<Lookup>, options: LookupOptions) -> Facts {
        let LookupOptions {
            deadline,
            dry_run,
            caller,
        } = options;
        let read = Read {
            caller,
            group: group.clone(),
            dry_run,
        };
        let (cluster, quotas) = (Arc::clone(&self.cluster), Arc::clone(&self.quotas));
        let refused = self.refused.clone();
        let shared = self.pending.join(read, |read, begins| {
            async move {
                let Some(_place) = quotas
                    .enter(caller, &read.group, wait_until(deadline, Instant::now()))
                    .await
                else {
                    refused.inc();
                    return unavailable(&read.group, BUSY);
                };
                // Who asks from now on needs a read that begins from now on.
                drop(begins);
                cluster.read(&read.group, read.dry_run, deadline).await
            }
            .boxed()
        });
        let answer = timeout_at(deadline, shared).await;
        answer.unwrap_or_else(|_| unavailable(&group, "there was no answer in time"))
    }
}

impl Source for LimitedCluster {
    fn resolve<'a>(&'a self, wants: &'a [Lookup], options: LookupOptions) -> BoxFuture<'a, Facts> {
        async move {
            let reads = group(wants).into_iter();
            let reads = reads.map(|group| self.read(group, options));
            let mut facts = Facts::default();
            for answer in join_all(reads).await {
                facts.extend(answer);
            }
            facts
        }
        .boxed()
    }
}

const BUSY: &str = "too many look-ups are under way; try again";

/// Returns until when a look-up that comes `now` waits for its turn: half of its time, so that the API
/// server has the other half.
fn wait_until(deadline: Instant, now: Instant) -> Instant {
    now + deadline.saturating_duration_since(now) / 2
}

fn unavailable(group: &[Lookup], why: &str) -> Facts {
    let mut facts = Facts::default();
    for lookup in group {
        let outcome = Outcome::Unavailable(LookupError {
            kind: LookupErrorKind::Timeout,
            message: why.to_owned(),
        });
        facts.insert(lookup.clone(), outcome);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_look_up_waits_for_half_of_its_time() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(wait_until(now + 6 * second, now), now + 3 * second);
        assert_eq!(wait_until(now, now + second), now + second);
    }
}
