//! Runs the reconcilers of each Velero namespace.

mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tracing::Instrument as _;

use self::membership::Membership;
use super::bundle::BundleReconciler;
use super::coverage::CoverageReconciler;
use super::endpoints::EndpointsReconciler;
use super::endpoints::prober::Prober;
use super::garbage_collector::GarbageCollector;
use super::locations::{Locations, locations_in};
use super::observed_bundle::{ObservedBundle, observe};
use super::report_handle::ReportHandle;
use super::{Controllers, status};
use crate::kubernetes::watch::Change;

/// Pause before the tasks of a namespace restart after a panic.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The tasks of the Velero namespaces.
struct Tasks<'c> {
    controllers: &'c Arc<Controllers>,
    /// Probes the endpoints of all namespaces; `None` if endpoints are not probed.
    prober: Option<Prober>,
    /// The namespaces that have a task.
    running: BTreeMap<String, Inputs>,
    /// One lock for each namespace: one that comes back starts after its last task has cleaned up.
    locks: BTreeMap<String, Arc<Mutex<()>>>,
    set: JoinSet<()>,
}

/// What the task of a namespace is told. It ends when the senders are dropped.
struct Inputs {
    locations: watch::Sender<Locations>,
    bundle: watch::Sender<ObservedBundle>,
}

/// Keeps a task running for every Velero namespace. Ends only when it is cancelled, and the tasks
/// with it.
pub(super) async fn run(controllers: &Arc<Controllers>) {
    let mut membership = Membership::watch(&controllers.client);
    let mut set = JoinSet::new();
    let prober = controllers.settings.probe.clone().map(|refused| {
        let (prober, work) = Prober::new(refused);
        set.spawn(work);
        prober
    });
    let mut tasks = Tasks {
        controllers,
        prober,
        running: BTreeMap::new(),
        locks: BTreeMap::new(),
        set,
    };
    let mut garbage_collector = GarbageCollector::new(Arc::clone(controllers));
    loop {
        let may_collect = membership.is_complete();
        tokio::select! {
            change = membership.locations.changed() => {
                tasks.send_locations(&change, &membership);
            }
            _ = membership.bundles.changed() => tasks.send_bundles(&membership),
            _ = membership.labelled.changed() => {}
            () = sleep_until(garbage_collector.due()), if may_collect => {
                garbage_collector.collect(&membership.members()).await;
                continue;
            }
            Some(ended) = tasks.set.join_next() => {
                if let Err(error) = ended
                    && !error.is_cancelled()
                {
                    tracing::error!(%error, "the task of a namespace ended");
                }
            }
        }
        if membership.has_locations() {
            tasks.sync(&membership);
        }
    }
}

impl Tasks<'_> {
    /// Tells the tasks of the namespaces in `change` their new locations.
    fn send_locations(&self, change: &Change, membership: &Membership) {
        let keys = match change {
            Change::Entry(key) => std::slice::from_ref(key).iter().collect(),
            Change::List(keys) => keys.iter().collect(),
            Change::Refused => Vec::new(),
        };
        let namespaces: BTreeSet<_> = keys.into_iter().map(|key| &key.namespace).collect();
        for namespace in namespaces {
            if let Some(inputs) = self.running.get(namespace) {
                let locations = locations_in(&membership.locations, namespace);
                inputs.locations.send_replace(locations);
            }
        }
    }

    /// Tells the task of each namespace what is observed of its bundle.
    fn send_bundles(&self, membership: &Membership) {
        for (name, inputs) in &self.running {
            let new = observe(&membership.bundles, name);
            inputs.bundle.send_if_modified(|bundle| {
                let is_other = *bundle != new;
                *bundle = new;
                is_other
            });
        }
    }

    /// Starts the tasks of new members, and ends those of namespaces that are none any more.
    fn sync(&mut self, membership: &Membership) {
        let members = membership.members();
        // Without its senders a task ends. The bundle stays for the Pods that mount it.
        self.running
            .retain(|name, _| members.contains(name.as_str()));
        self.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        for name in members {
            let pause = match self.running.get(name) {
                None => Duration::ZERO,
                // Its task panicked.
                Some(inputs) if inputs.locations.is_closed() => RESTART_PAUSE,
                Some(_) => continue,
            };
            let locations = locations_in(&membership.locations, name);
            let bundle = observe(&membership.bundles, name);
            self.start(name, locations, bundle, pause);
        }
    }

    fn start(&mut self, name: &str, locations: Locations, bundle: ObservedBundle, pause: Duration) {
        let (locations_sender, locations) = watch::channel(locations);
        let (bundle_sender, bundle) = watch::channel(bundle);
        let inputs = Inputs {
            locations: locations_sender,
            bundle: bundle_sender,
        };
        self.running.insert(name.to_owned(), inputs);
        let controllers = Arc::clone(self.controllers);
        let prober = self.prober.clone();
        let lock = Arc::clone(self.locks.entry(name.to_owned()).or_default());
        let span = tracing::info_span!("reconcile", namespace = name);
        let name = name.to_owned();
        let task = async move {
            sleep(pause).await;
            let _guard = lock.lock().await;
            if locations.has_changed().is_ok() {
                Box::pin(reconcile(&controllers, &name, locations, bundle, prober)).await;
            }
        };
        self.set.spawn(task.instrument(span));
    }
}

/// Runs the reconcilers of a namespace until the senders of its inputs are dropped.
async fn reconcile(
    controllers: &Arc<Controllers>,
    name: &str,
    locations: watch::Receiver<Locations>,
    bundle: watch::Receiver<ObservedBundle>,
    prober: Option<Prober>,
) {
    let report = ReportHandle::new(name);
    let published = Arc::new(watch::Sender::new(Arc::from([])));
    let verdicts = watch::Sender::new(prober.is_some().then(BTreeMap::new));
    let coverage = CoverageReconciler::new(controllers, name);
    let merged = BundleReconciler::new(
        Arc::clone(controllers),
        name,
        bundle.clone(),
        report.clone(),
        &verdicts,
        Arc::clone(&published),
    );
    let endpoints = async {
        let Some(prober) = prober else {
            return std::future::pending().await;
        };
        EndpointsReconciler::new(Arc::clone(controllers), name, report.clone(), prober)
            .run(locations.clone(), &published, &verdicts)
            .await;
    };
    tokio::select! {
        () = merged.run(locations.clone()) => {}
        () = endpoints => {}
        () = status::write_report(controllers, name, &report) => {}
        () = coverage.run(bundle) => {}
    }
    status::delete_report(controllers, name).await;
}

#[cfg(test)]
mod tests;
