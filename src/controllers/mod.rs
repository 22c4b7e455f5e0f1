//! What runs beside admission and never in its way.
//!
//! Every replica can run them, and one at a time does ([`leader`]). For each Velero namespace
//! ([`namespaces`]) the [`keeper`] makes the bundle from what the [`survey`] of its locations
//! finds; what is found out is gathered on a [`board`] for `velero-trust status`. The [`coverage`]
//! audit looks at its Pods.

mod board;
mod bundles;
mod clock;
mod complaints;
mod coverage;
mod endpoints;
mod holds;
mod keeper;
pub mod leader;
mod leavings;
mod locations;
mod maker;
mod namespaces;
mod news;
mod notices;
mod pace;
pub mod probe;
mod prober;
mod store;
mod survey;
mod teller;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::ca::endpoint::DeniedAddresses;
use crate::decision::Policy;
use crate::kubernetes::events::Events;
use crate::sources::Source;
use crate::sources::cluster::Bases;
use crate::telemetry::Metrics;

/// What the controllers need.
pub struct Controllers {
    /// The client for controllers.
    pub client: Client,
    /// The client for the Lease.
    pub lease: Client,
    /// Where facts come from.
    pub source: Arc<dyn Source>,
    /// What every bundle holds.
    pub base: Bases,
    /// What the operator chose.
    pub policy: Arc<Policy>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How Events are written.
    pub events: Events,
    /// Who has one makes a bundle.
    pub turns: Turns,
    /// The rest that can be chosen.
    pub settings: Settings,
}

/// Bundles made at a time: each holds several copies of one, and a connection for each Secret.
const AT_ONCE: usize = 4;

/// Longest wait for a turn. Who waited for so long goes on without one: a namespace whose requests
/// hang must not keep the others waiting.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Turns at making bundles, which all namespaces share.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    /// Waits for a turn, which ends when it is dropped; not for ever.
    async fn next(&self) -> Option<SemaphorePermit<'_>> {
        timeout(LONGEST_WAIT, self.0.acquire()).await.ok()?.ok()
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// What can be chosen of the controllers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our own namespace.
    pub namespace: String,
    /// Who we are among the replicas.
    pub identity: String,
    /// How long a CA stays in the bundle when nobody names it any more.
    pub retention: Duration,
    /// The addresses that are never dialled when endpoints are looked at; none when nothing is
    /// looked at, and so no namespace is held.
    pub probe: Option<DeniedAddresses>,
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Controllers {
        /// Of a cluster that `client` answers for; nobody is looked at, nothing is retained.
        pub(super) fn of_test(client: Client, source: Arc<dyn Source>, base: Bases) -> Self {
            Self {
                source,
                base,
                policy: Arc::new(Policy::default()),
                metrics: Arc::new(Metrics::default()),
                events: Events::new(client.clone(), "us"),
                turns: Turns::default(),
                lease: client.clone(),
                client,
                settings: Settings {
                    namespace: "velero-trust".to_owned(),
                    identity: "us".to_owned(),
                    retention: Duration::ZERO,
                    probe: None,
                },
            }
        }
    }

    #[tokio::test]
    async fn who_finds_all_turns_taken_goes_on_without_one() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(turns.next().await.unwrap());
        }
        assert!(turns.next().await.is_none());
        drop(taken);
        assert!(turns.next().await.is_some());
    }
}
