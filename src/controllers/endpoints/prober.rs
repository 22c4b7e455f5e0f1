//! Looks at the endpoints of all BSLs, each one once however many name it, and never faster than
//! its schedule.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::probe::schedule::{Next, RateLimits, Schedule};
use super::probe::{self, Failure, Limits};
use crate::ca::endpoint::{Refused, Target};

/// After so long without anything to do it looks around; any other event comes earlier.
const IDLE: Duration = Duration::from_mins(10);

/// What an endpoint presented when it was last looked at, DER with the server's own first.
pub(in crate::controllers) type Looked = Result<Arc<[Vec<u8>]>, Failure>;

/// What was seen of each endpoint so far.
pub(in crate::controllers) type ProbeResults = BTreeMap<Target, Looked>;

/// Where a namespace asks for endpoints, and learns what was seen.
#[derive(Clone)]
pub(in crate::controllers) struct Prober {
    wants: mpsc::UnboundedSender<Wants>,
    seen: watch::Receiver<Arc<ProbeResults>>,
}

/// What one namespace wants to be looked at, from now on.
struct Wants {
    namespace: String,
    targets: Vec<Target>,
}

impl Prober {
    /// A prober and its work, which ends when nobody can ask it any more.
    pub(in crate::controllers) fn new(refused: Refused) -> (Self, impl Future<Output = ()>) {
        let (wants, asked) = mpsc::unbounded_channel();
        let (sender, seen) = watch::channel(Arc::default());
        let refused = Arc::new(refused);
        let look = move |target: Target| {
            let refused = Arc::clone(&refused);
            async move { probe::look(&target, &refused, Limits::default()).await }
        };
        (Self { wants, seen }, run(asked, sender, look))
    }

    /// From now on `namespace` wants exactly these to be looked at.
    pub(in crate::controllers) fn set_wanted(&self, namespace: &str, targets: Vec<Target>) {
        // Without anybody at the other end there is nothing to be had.
        let _ = self.wants.send(Wants {
            namespace: namespace.to_owned(),
            targets,
        });
    }

    /// What was seen, now and whenever it changes.
    pub(in crate::controllers) fn results(&self) -> watch::Receiver<Arc<ProbeResults>> {
        self.seen.clone()
    }
}

async fn run<F>(
    mut asked: mpsc::UnboundedReceiver<Wants>,
    seen: watch::Sender<Arc<ProbeResults>>,
    look: impl Fn(Target) -> F,
) where
    F: Future<Output = Result<Vec<Vec<u8>>, Failure>> + Send + 'static,
{
    let mut schedule = Schedule::<Target>::new(RateLimits::default());
    let mut wanted = BTreeMap::<String, Vec<Target>>::new();
    let mut looks = JoinSet::new();
    loop {
        let now = Instant::now();
        let again = match schedule.next(now) {
            Next::Probe(target) => {
                let looking = look(target.clone());
                looks.spawn(async move {
                    // The schedule has to hear of the end of every look.
                    let looked = AssertUnwindSafe(looking).catch_unwind().await;
                    let looked = looked.unwrap_or_else(|_| {
                        let why = "velero-trust panicked; its log says where";
                        Err(Failure::Broken(why.to_owned()))
                    });
                    (target, looked.map(Arc::from))
                });
                continue;
            }
            Next::WaitUntil(at) => at,
            Next::Idle => now + IDLE,
        };
        tokio::select! {
            wants = asked.recv() => {
                let Some(Wants { namespace, targets }) = wants else {
                    return;
                };
                wanted.insert(namespace, targets);
                wanted.retain(|_, targets| !targets.is_empty());
                let all: Vec<_> = wanted.values().flatten().cloned().collect();
                seen.send_if_modified(|seen| {
                    let before = seen.len();
                    Arc::make_mut(seen).retain(|target, _| all.contains(target));
                    seen.len() != before
                });
                schedule.set_wanted(all, Instant::now());
            }
            Some(Ok((target, looked))) = looks.join_next() => {
                schedule.done(&target);
                if let Err(failure) = &looked {
                    tracing::debug!(host = target.host, %failure, "endpoint not seen");
                }
                let is_wanted = wanted.values().flatten().any(|wanted| *wanted == target);
                if is_wanted {
                    seen.send_modify(|seen| {
                        Arc::make_mut(seen).insert(target, looked);
                    });
                }
            }
            () = sleep_until(again) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_look_that_panics_fails_and_the_others_go_on() {
        let target = |host: &str| Target {
            host: host.to_owned(),
            lookup: host.to_owned(),
            port: 443,
        };
        let (wants, asked) = mpsc::unbounded_channel();
        let (sender, mut seen) = watch::channel(Arc::default());
        let look = |target: Target| async move {
            assert_ne!(target.host, "panics", "as a bug");
            Ok(Vec::new())
        };
        let work = tokio::spawn(run(asked, sender, look));
        let prober = Prober {
            wants,
            seen: seen.clone(),
        };
        let all = ["panics", "well"].map(target);
        prober.set_wanted("velero", all.to_vec());
        let both = |seen: &Arc<ProbeResults>| seen.len() == 2;
        let waited = timeout(Duration::from_secs(20), seen.wait_for(both)).await;
        let seen = waited.expect("a look was not told of").unwrap().clone();
        let [panicked, well] = all.each_ref().map(|target| seen.get(target).unwrap());
        assert!(well.is_ok());
        let why = panicked.as_ref().unwrap_err().to_string();
        assert!(why.contains("velero-trust panicked"), "{why}");
        // What came of the panic does not fill the schedule.
        prober.set_wanted("velero", vec![target("later")]);
        let mut seen = prober.results();
        let later = |seen: &Arc<ProbeResults>| seen.contains_key(&target("later"));
        seen.wait_for(later).await.unwrap();
        assert!(!work.is_finished());
    }
}
