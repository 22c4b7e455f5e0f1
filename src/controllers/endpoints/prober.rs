//! Probes the endpoints of all BSLs. Each endpoint is probed once however many BSLs name it, and
//! never faster than its schedule allows. The namespaces take turns.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::chain_quota::ChainQuota;
use super::probe::schedule::{Next, RateLimits, Schedule};
use super::probe::{self, Failure, ProbeLimits};
use crate::ca::endpoint::{DeniedAddresses, Target};
use crate::clock::now as now_seconds;
use crate::dial::Proxies;

/// Longest wait while no probe is scheduled. Every event ends the wait, so its length does not
/// matter.
const MAX_IDLE: Duration = Duration::from_mins(10);

/// The certificates that an endpoint presented at its last probe: DER, the server's own first.
pub(in crate::controllers) type ProbeResult = Result<Arc<[Vec<u8>]>, Failure>;

/// The last probe of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) struct ProbeRecord {
    /// The number of the probe: one that began later has a greater number, also of another endpoint.
    pub(in crate::controllers) number: u64,
    /// When it ended, seconds since 1970.
    pub(in crate::controllers) at: i64,
    /// What it found.
    pub(in crate::controllers) result: ProbeResult,
}

/// The last probe of each endpoint that was probed.
pub(in crate::controllers) type ProbeResults = BTreeMap<Target, ProbeRecord>;

/// Requests probes for a namespace and returns their results. Clones share one schedule.
#[derive(Clone)]
pub(in crate::controllers) struct Prober {
    requests: mpsc::UnboundedSender<Request>,
    results: watch::Receiver<Arc<ProbeResults>>,
    begun: Arc<AtomicU64>,
}

enum Request {
    /// The endpoints of one namespace, which replace those it requested before.
    Want {
        namespace: String,
        targets: Vec<Target>,
    },
    /// Endpoints to probe again as soon as the limits allow.
    Expedite(Vec<Target>),
}

impl Prober {
    /// Returns a prober and the future that does its work. The future ends when all clones of the
    /// prober are dropped.
    pub(in crate::controllers) fn new(
        denied: DeniedAddresses,
        proxies: Proxies,
    ) -> (Self, impl Future<Output = ()>) {
        let denied = Arc::new(denied);
        let probe = move |target: Target| {
            let (denied, proxies) = (Arc::clone(&denied), proxies.clone());
            async move {
                let limits = ProbeLimits::default();
                probe::fetch_certificates(&target, &denied, &proxies, limits).await
            }
        };
        Self::probing_by(probe, RateLimits::default())
    }

    fn probing_by<F>(
        probe: impl Fn(Target) -> F,
        limits: RateLimits,
    ) -> (Self, impl Future<Output = ()>)
    where
        F: Future<Output = Result<Vec<Vec<u8>>, Failure>> + Send + 'static,
    {
        let (requests, received) = mpsc::unbounded_channel();
        let (sender, results) = watch::channel(Arc::default());
        let begun = Arc::default();
        let work = run(received, sender, limits, Arc::clone(&begun), probe);
        let prober = Self {
            requests,
            results,
            begun,
        };
        (prober, work)
    }

    /// Sets the endpoints of `namespace` that are probed from now on.
    pub(in crate::controllers) fn set_wanted(&self, namespace: &str, targets: Vec<Target>) {
        // The send fails only after the future of the prober ended. Then nothing is probed anyway.
        let _ = self.requests.send(Request::Want {
            namespace: namespace.to_owned(),
            targets,
        });
    }

    /// Probes these endpoints again, as soon as the limits allow: no sooner than the shortest interval
    /// after their last probe. Those that no namespace wants are not probed.
    pub(in crate::controllers) fn expedite(&self, targets: Vec<Target>) {
        let _ = self.requests.send(Request::Expedite(targets));
    }

    /// Returns the number of the last probe that began; 0 before the first one.
    pub(in crate::controllers) fn last_begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Returns a receiver of the results.
    pub(in crate::controllers) fn results(&self) -> watch::Receiver<Arc<ProbeResults>> {
        self.results.clone()
    }
}

async fn run<F>(
    mut requests: mpsc::UnboundedReceiver<Request>,
    results: watch::Sender<Arc<ProbeResults>>,
    limits: RateLimits,
    begun: Arc<AtomicU64>,
    probe: impl Fn(Target) -> F,
) where
    F: Future<Output = Result<Vec<Vec<u8>>, Failure>> + Send + 'static,
{
    let mut schedule = Schedule::<Target>::new(limits);
    let mut chains = ChainQuota::default();
    let mut probes = JoinSet::new();
    loop {
        let now = Instant::now();
        let next = match schedule.next(now) {
            Next::Probe(target) => {
                let number = begun.fetch_add(1, Ordering::AcqRel) + 1;
                let probing = probe(target.clone());
                probes.spawn(async move {
                    // The schedule must learn that a probe ended even if it panicked.
                    let result = AssertUnwindSafe(probing).catch_unwind().await;
                    let result = result.unwrap_or_else(|_| {
                        let why = "velero-trust panicked; its log says where";
                        Err(Failure::Broken(why.to_owned()))
                    });
                    (target, number, result)
                });
                continue;
            }
            Next::WaitUntil(at) => at,
            Next::Idle => now + MAX_IDLE,
        };
        tokio::select! {
            request = requests.recv() => {
                let (namespace, targets) = match request {
                    None => return,
                    Some(Request::Want { namespace, targets }) => (namespace, targets),
                    Some(Request::Expedite(targets)) => {
                        for target in &targets {
                            schedule.expedite(target, Instant::now());
                        }
                        continue;
                    }
                };
                schedule.set_wanted(&namespace, targets, Instant::now());
                results.send_if_modified(|results| {
                    let is_stale = results.keys().any(|target| !schedule.is_wanted(target));
                    if is_stale {
                        Arc::make_mut(results).retain(|target, _| {
                            let is_wanted = schedule.is_wanted(target);
                            if !is_wanted {
                                chains.forget(target);
                            }
                            is_wanted
                        });
                    }
                    is_stale
                });
            }
            Some(Ok((target, number, result))) = probes.join_next() => {
                let namespace = schedule.done(&target).unwrap_or_default();
                let result = result.and_then(|chain: Vec<Vec<u8>>| {
                    let is_kept = chains.admit(&target, &namespace, &chain);
                    is_kept.then(|| Arc::from(chain)).ok_or(Failure::NoRoom)
                });
                if let Err(failure) = &result {
                    tracing::debug!(host = target.host, %failure, "endpoint not probed");
                }
                if schedule.is_wanted(&target) {
                    let at = now_seconds();
                    results.send_modify(|results| {
                        Arc::make_mut(results).insert(target, ProbeRecord { number, at, result });
                    });
                } else {
                    chains.forget(&target);
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::endpoints::reprobe::ProbeRequest;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_look_that_panics_fails_and_the_others_go_on() {
        let target = |host: &str| Target {
            host: host.to_owned(),
            lookup: host.to_owned(),
            port: 443,
        };
        let probe = |target: Target| async move {
            assert_ne!(target.host, "panics", "as a bug");
            Ok(Vec::new())
        };
        let (prober, work) = Prober::probing_by(probe, RateLimits::default());
        let work = tokio::spawn(work);
        let mut results = prober.results();
        let all = ["panics", "well"].map(target);
        prober.set_wanted("velero", all.to_vec());
        let both = |results: &Arc<ProbeResults>| results.len() == 2;
        let waited = timeout(Duration::from_secs(20), results.wait_for(both)).await;
        let results = waited.expect("a probe has no result").unwrap().clone();
        let [panicked, well] = all.each_ref().map(|target| results.get(target).unwrap());
        assert!(well.result.is_ok());
        let why = panicked.result.as_ref().unwrap_err().to_string();
        assert!(why.contains("velero-trust panicked"), "{why}");
        // The probe that panicked does not block the schedule.
        prober.set_wanted("velero", vec![target("later")]);
        let mut results = prober.results();
        let later = |results: &Arc<ProbeResults>| results.contains_key(&target("later"));
        results.wait_for(later).await.unwrap();
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn a_probe_that_runs_when_somebody_asks_is_no_answer() {
        let target = Target {
            host: "a".to_owned(),
            lookup: "a".to_owned(),
            port: 443,
        };
        let limits = RateLimits {
            min_interval: Duration::from_millis(1),
            ..RateLimits::default()
        };
        let (beginning, mut begins) = mpsc::unbounded_channel();
        let permits = Arc::new(tokio::sync::Semaphore::new(0));
        let gate = Arc::clone(&permits);
        let probe = move |_| {
            let (beginning, gate) = (beginning.clone(), Arc::clone(&gate));
            async move {
                beginning.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                Ok(Vec::new())
            }
        };
        let (prober, work) = Prober::probing_by(probe, limits);
        let work = tokio::spawn(work);
        let mut results = prober.results();
        prober.set_wanted("velero", vec![target.clone()]);
        timeout(Duration::from_secs(20), begins.recv())
            .await
            .expect("it is not probed");
        let request = ProbeRequest::new("now".to_owned(), prober.last_begun());
        prober.expedite(vec![target.clone()]);
        let targets = [target].into();
        for is_done in [false, true] {
            permits.add_permits(1);
            let changed = timeout(Duration::from_secs(20), results.changed()).await;
            changed.expect("no probe ends").unwrap();
            assert_eq!(
                request.is_done(&targets, &results.borrow_and_update()),
                is_done
            );
        }
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn endpoints_that_hang_delay_no_other_namespace() {
        let listener = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let target = |host: String, port| Target {
            host,
            lookup: "127.0.0.1".to_owned(),
            port,
        };
        // The kernel accepts the connections, and nobody ever answers.
        let hanging = listener();
        let closed = port(&listener());
        let (prober, work) = Prober::new(
            DeniedAddresses::default().allowing_loopback(),
            Proxies::default(),
        );
        let work = tokio::spawn(work);
        let all = (0..420).map(|number| target(format!("h{number}"), port(&hanging)));
        prober.set_wanted("hanging", all.collect());
        let other = target("other".to_owned(), closed);
        prober.set_wanted("other", vec![other.clone()]);
        let mut results = prober.results();
        let has_other = |results: &Arc<ProbeResults>| results.contains_key(&other);
        let waited = timeout(Duration::from_secs(20), results.wait_for(has_other)).await;
        let results = waited
            .expect("it waits for those that hang")
            .unwrap()
            .clone();
        assert!(results.len() <= 1 + 4, "{} came first", results.len());
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn what_endpoints_present_is_kept_as_far_as_there_is_room() {
        let target = |host: &str| Target {
            host: host.to_owned(),
            lookup: host.to_owned(),
            port: 443,
        };
        // Two are more than half of the total.
        let probe = |_| async { Ok(vec![vec![0; 9 << 20]]) };
        let (prober, work) = Prober::probing_by(probe, RateLimits::default());
        let work = tokio::spawn(work);
        let mut results = prober.results();
        prober.set_wanted("velero", ["a", "b"].map(target).to_vec());
        let both = |results: &Arc<ProbeResults>| results.len() == 2;
        let results = results.wait_for(both).await.unwrap().clone();
        let refused = results
            .values()
            .filter_map(|record| record.result.as_ref().err());
        assert_eq!(refused.collect::<Vec<_>>(), [&Failure::NoRoom]);
        // They give way to another one.
        prober.set_wanted("velero", vec![target("c")]);
        let mut results = prober.results();
        let other = |results: &Arc<ProbeResults>| results.contains_key(&target("c"));
        let results = results.wait_for(other).await.unwrap().clone();
        assert!(results[&target("c")].result.is_ok());
        assert!(!work.is_finished());
    }

    #[tokio::test]
    async fn an_endpoint_is_probed_anew_on_request_and_no_more_often_than_the_limits_say() {
        let target = |host: &str| Target {
            host: host.to_owned(),
            lookup: host.to_owned(),
            port: 443,
        };
        let limits = RateLimits {
            min_interval: Duration::from_millis(500),
            ..RateLimits::default()
        };
        let (prober, work) = Prober::probing_by(|_| async { Ok(Vec::new()) }, limits);
        let work = tokio::spawn(work);
        let mut results = prober.results();
        let start = Instant::now();
        let both = ["a", "b"].map(target);
        prober.set_wanted("velero", both.to_vec());
        let has_both = |results: &Arc<ProbeResults>| results.len() == 2;
        let first = results.wait_for(has_both).await.unwrap().clone();
        // A flood of requests, and one for what nobody wants.
        for _ in 0..1000 {
            prober.expedite(vec![both[0].clone(), target("other")]);
        }
        let before = first[&both[0]].number;
        let is_new = |results: &Arc<ProbeResults>| results[&both[0]].number > before;
        let waited = timeout(Duration::from_secs(20), results.wait_for(is_new)).await;
        let second = waited.expect("it is not probed anew").unwrap().clone();
        assert!(
            start.elapsed() >= limits.min_interval,
            "{:?}",
            start.elapsed()
        );
        assert_eq!(second[&both[0]].number, 3, "one probe for all requests");
        assert_eq!(second[&both[1]], first[&both[1]], "nobody asked for it");
        assert_eq!(second.len(), 2);
        assert!(!work.is_finished());
    }
}
