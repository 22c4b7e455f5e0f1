//! Runs the reconcilers of each Velero namespace.

mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tracing::Instrument as _;

use self::membership::Membership;
use super::bundle::BundleReconciler;
use super::coverage::CoverageReconciler;
use super::endpoints::prober::Prober;
use super::endpoints::{EndpointsReconciler, answer_requests};
use super::garbage_collector::GarbageCollector;
use super::locations::{Locations, locations_in};
use super::observed_bundle::{ObservedBundle, observe};
use super::own_config_maps::{self, OwnConfigMaps};
use super::records::watch_records;
use super::report_handle::ReportHandle;
use super::{
    ControllerContext, activation, ca_rotation, recorder, refused_extra_cas, restores,
    serving_certificate, status, webhooks,
};
use crate::kubernetes::watch::Change;
use crate::names;

/// Pause before the tasks of a namespace restart after a panic.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The tasks of the Velero namespaces, one for each.
struct Tasks<'c> {
    controllers: &'c Arc<ControllerContext>,
    /// Probes the endpoints of all namespaces; `None` if endpoints are not probed.
    prober: Option<Prober>,
    /// The inputs of each task, by namespace.
    inputs: BTreeMap<String, Inputs>,
    /// One lock for each namespace. The task of a namespace that becomes a member again starts
    /// after its previous task cleaned up.
    locks: BTreeMap<String, Arc<Mutex<()>>>,
    join_set: JoinSet<()>,
}

/// The inputs of the task of a namespace. The task ends when they are dropped.
struct Inputs {
    locations: watch::Sender<Locations>,
    bundle: watch::Sender<ObservedBundle>,
    own: watch::Sender<OwnConfigMaps>,
    membership: Arc<AtomicBool>,
}

/// Where the task of a namespace receives its inputs.
struct Receivers {
    locations: watch::Receiver<Locations>,
    bundle: watch::Receiver<ObservedBundle>,
    own: watch::Receiver<OwnConfigMaps>,
}

impl Inputs {
    /// Ends the task because the namespace is a Velero namespace no longer. Only then its report is
    /// deleted: the inputs are also dropped when this replica leads no more, and the report is then
    /// that of the next leader.
    fn end_membership(&self) {
        self.membership.store(false, Ordering::Release);
    }
}

/// Keeps a task running for every Velero namespace. Ends only when it is cancelled, which also
/// cancels the tasks.
pub(super) async fn run(controllers: &Arc<ControllerContext>) {
    let mut membership = Membership::watch(controllers);
    let mut join_set = JoinSet::new();
    let prober = controllers.settings.probe.clone().map(|denied| {
        let proxies = controllers.settings.proxies.clone();
        let (prober, work) = Prober::new(denied, proxies);
        join_set.spawn(work);
        prober
    });
    join_set.spawn(refused_extra_cas::run(Arc::clone(controllers)));
    let (progress_sender, progress) = watch::channel(activation::Progress::default());
    let (trusted_sender, trusted) = watch::channel(activation::TrustedCas::default());
    join_set.spawn(activation::run(
        Arc::clone(controllers),
        progress_sender,
        trusted_sender,
    ));
    join_set.spawn(ca_rotation::run(Arc::clone(controllers), trusted));
    join_set.spawn(webhooks::run(Arc::clone(controllers), progress));
    let (waiting_sender, waiting) = watch::channel(None);
    let (trouble_sender, trouble) = watch::channel(None);
    let (records, work) = watch_records(&controllers.client).share();
    join_set.spawn(recorder::run(
        Arc::clone(controllers),
        records.subscribe(),
        waiting,
        trouble_sender,
    ));
    join_set.spawn(restores::run(
        Arc::clone(controllers),
        records,
        waiting_sender,
        trouble,
    ));
    join_set.spawn(work);
    let (certificate_sender, certificate_map) = watch::channel(None);
    join_set.spawn(serving_certificate::run(
        Arc::clone(controllers),
        certificate_map,
    ));
    let mut tasks = Tasks {
        controllers,
        prober,
        inputs: BTreeMap::new(),
        locks: BTreeMap::new(),
        join_set,
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
            _ = membership.owned.changed() => {
                tasks.send_own(&membership);
                tasks.send_certificate(&membership, &certificate_sender);
            }
            () = sleep_until(garbage_collector.next_run()), if may_collect => {
                garbage_collector.collect(&membership.members()).await;
                continue;
            }
            Some(ended) = tasks.join_set.join_next() => {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    tracing::error!(%error, "a task of the controllers panicked");
                }
            }
        }
        if membership.has_locations() {
            tasks.sync(&membership);
        }
    }
}

impl Tasks<'_> {
    /// Sends the tasks of the namespaces in `change` their new locations.
    fn send_locations(&self, change: &Change, membership: &Membership) {
        let changed: BTreeSet<&str> = match change {
            Change::Entry(key) => BTreeSet::from([key.namespace.as_str()]),
            Change::List(keys) => keys.iter().map(|key| key.namespace.as_str()).collect(),
            Change::Refused => BTreeSet::new(),
        };
        for namespace in changed {
            if let Some(inputs) = self.inputs.get(namespace) {
                let locations = locations_in(&membership.locations, namespace);
                inputs.locations.send_replace(locations);
            }
        }
    }

    /// Sends the task of each namespace its bundle, if it changed.
    fn send_bundles(&self, membership: &Membership) {
        for (namespace, inputs) in &self.inputs {
            let new = observe(&membership.bundles, namespace);
            inputs.bundle.send_if_modified(|bundle| {
                let is_changed = *bundle != new;
                *bundle = new;
                is_changed
            });
        }
    }

    /// Sends the task of each namespace what changed in our own ConfigMaps about it.
    fn send_own(&self, membership: &Membership) {
        for (namespace, inputs) in &self.inputs {
            let Some(new) = self.own(membership, namespace) else {
                continue;
            };
            inputs.own.send_if_modified(|own| {
                let is_changed = *own != new;
                *own = new;
                is_changed
            });
        }
    }

    /// Sends the version of the published certificate, if it changed.
    fn send_certificate(&self, membership: &Membership, sender: &watch::Sender<Option<String>>) {
        let own = &self.controllers.settings.namespace;
        let name = names::SERVING_CERTIFICATE.to_owned();
        let Some(new) = own_config_maps::observe_one(&membership.owned, own, name) else {
            return;
        };
        sender.send_if_modified(|version| {
            let is_changed = *version != new.version;
            *version = new.version;
            is_changed
        });
    }

    fn own(&self, membership: &Membership, namespace: &str) -> Option<OwnConfigMaps> {
        let own = &self.controllers.settings.namespace;
        own_config_maps::observe(&membership.owned, own, namespace)
    }

    /// Starts the tasks of new members, and ends those of namespaces that are no longer members.
    fn sync(&mut self, membership: &Membership) {
        let members = membership.members();
        // A task ends without its inputs. The bundle stays for the Pods that mount it.
        self.inputs.retain(|namespace, inputs| {
            let is_member = members.contains(namespace.as_str());
            if !is_member {
                inputs.end_membership();
            }
            is_member
        });
        // A lock that no task holds or waits for is not needed.
        self.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        for namespace in members {
            let pause = match self.inputs.get(namespace) {
                None => Duration::ZERO,
                // The task dropped its receivers although its inputs exist: it panicked.
                Some(inputs) if inputs.locations.is_closed() => RESTART_PAUSE,
                Some(_) => continue,
            };
            self.start(namespace, membership, pause);
        }
    }

    /// Starts the task of a namespace after `pause`.
    fn start(&mut self, namespace: &str, membership: &Membership, pause: Duration) {
        let (locations_sender, locations) =
            watch::channel(locations_in(&membership.locations, namespace));
        let (bundle_sender, bundle) = watch::channel(observe(&membership.bundles, namespace));
        let (own_sender, own) = watch::channel(self.own(membership, namespace).unwrap_or_default());
        let membership = Arc::new(AtomicBool::new(true));
        let inputs = Inputs {
            locations: locations_sender,
            bundle: bundle_sender,
            own: own_sender,
            membership: Arc::clone(&membership),
        };
        self.inputs.insert(namespace.to_owned(), inputs);
        let controllers = Arc::clone(self.controllers);
        let prober = self.prober.clone();
        let lock = Arc::clone(self.locks.entry(namespace.to_owned()).or_default());
        let span = tracing::error_span!("reconcile", namespace);
        let namespace = namespace.to_owned();
        let task = async move {
            sleep(pause).await;
            let _guard = lock.lock().await;
            // The namespace may have left while the task waited.
            if locations.has_changed().is_ok() {
                let receivers = Receivers {
                    locations,
                    bundle,
                    own,
                };
                let run = run_reconcilers(&controllers, &namespace, receivers, prober);
                Box::pin(run).await;
                if !membership.load(Ordering::Acquire) {
                    status::delete_report(&controllers, &namespace).await;
                }
            }
        };
        self.join_set.spawn(task.instrument(span));
    }
}

/// Runs the reconcilers of a namespace until the senders of its inputs are dropped. Only the bundle
/// reconciler ends then, so that no write of the bundle is cancelled half way.
async fn run_reconcilers(
    controllers: &Arc<ControllerContext>,
    namespace: &str,
    inputs: Receivers,
    prober: Option<Prober>,
) {
    let Receivers {
        locations,
        bundle,
        own,
    } = inputs;
    let report = ReportHandle::new(namespace);
    let published = Arc::new(watch::Sender::new(Arc::from([])));
    let verdicts = watch::Sender::new(prober.is_some().then(BTreeMap::new));
    let coverage_reconciler = CoverageReconciler::new(controllers, namespace);
    let bundle_reconciler = BundleReconciler::new(
        Arc::clone(controllers),
        namespace,
        bundle.clone(),
        own.clone(),
        report.clone(),
        &verdicts,
        Arc::clone(&published),
    );
    let endpoints = async {
        let Some(prober) = prober else {
            return answer_requests(&report, own.clone()).await;
        };
        EndpointsReconciler::new(Arc::clone(controllers), namespace, report.clone(), prober)
            .run(locations.clone(), own.clone(), &published, &verdicts)
            .await;
    };
    tokio::select! {
        () = bundle_reconciler.run(locations.clone()) => {}
        () = endpoints => {}
        () = status::write_report(controllers, namespace, &report, own.clone()) => {}
        () = coverage_reconciler.run(bundle) => {}
    }
}

#[cfg(test)]
mod tests;
