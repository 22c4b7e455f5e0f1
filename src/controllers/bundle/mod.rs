//! Reconciles the merged CA bundle of one namespace.

mod changes;
mod evaluation_share;
mod issue_log;
mod live_evaluation;
mod namespace_hold;
mod permits;
mod publisher;
mod rival_backoff;
mod status_reporter;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use tokio::sync::watch;
use tokio::time::Instant;

use self::publisher::{BundlePublisher, Outcome};
use self::rival_backoff::RivalBackoff;
use self::status_reporter::StatusReporter;
use super::ControllerContext;
use super::channels::{EndpointVerdicts, PublishedCertificatesSender, VerdictsSender};
use super::locations::Locations;
use super::observed_bundle::ObservedBundle;
use super::own_config_maps::OwnConfigMaps;
use super::report_handle::ReportHandle;
use crate::ca::references::names_secret;
use crate::kubernetes::watch::{Change, Watch};
use crate::kubernetes::worker::{Requeue, Timing, Worker};
use crate::sources::cluster::CommonRootsReceiver;

pub use evaluation_share::EvaluationQuota;
pub use permits::BuildPermits;

const TIMING: Timing = Timing {
    // A GitOps tool applies many changes at once.
    debounce: Duration::from_millis(200),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_mins(1),
    resync: Some(Duration::from_mins(5)),
};

/// Interval between builds while Secrets or the bundle cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Reconciles the bundle of one namespace.
pub(super) struct BundleReconciler {
    publisher: BundlePublisher,
    /// The resourceVersions of the Secrets; only metadata is watched.
    secrets: Watch<Option<String>>,
    bundle: watch::Receiver<ObservedBundle>,
    own: watch::Receiver<OwnConfigMaps>,
    common_roots: CommonRootsReceiver,
    verdicts: watch::Receiver<Option<EndpointVerdicts>>,
    rivals: RivalBackoff,
    /// What triggered the next build.
    trigger: Trigger,
}

/// Why a bundle is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// An input of the bundle changed, or a timer fired.
    Inputs,
    /// Another writer changed the bundle itself.
    Rival,
}

impl BundleReconciler {
    pub(super) fn new(
        controllers: Arc<ControllerContext>,
        namespace: &str,
        bundle: watch::Receiver<ObservedBundle>,
        own: watch::Receiver<OwnConfigMaps>,
        report: ReportHandle,
        verdicts: &VerdictsSender,
        published: Arc<PublishedCertificatesSender>,
    ) -> Self {
        let client = controllers.client.clone();
        let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(client, namespace);
        let subject = format!("Secrets in namespace {namespace}");
        let reporter = StatusReporter::new(Arc::clone(&controllers), namespace, report);
        Self {
            secrets: Watch::new(secrets, Config::default(), subject, |secret| {
                Some(secret.metadata.resource_version)
            }),
            bundle,
            own,
            common_roots: controllers.common_roots.clone(),
            verdicts: verdicts.subscribe(),
            publisher: BundlePublisher::new(controllers, namespace, reporter, verdicts, published),
            rivals: RivalBackoff::default(),
            trigger: Trigger::Inputs,
        }
    }

    /// Publishes the bundle now and after every change. Ends when a sender of its inputs is
    /// dropped.
    pub(super) async fn run(mut self, mut locations: watch::Receiver<Locations>) {
        let mut worker = Worker::new(TIMING);
        worker.run_now(());
        loop {
            tokio::select! {
                // The order matters: if the namespace is no longer Velero's and its bundle was
                // deleted for good, nothing is published again.
                biased;
                changed = locations.changed() => match changed {
                    Ok(()) => self.trigger(&mut worker),
                    Err(_) => return,
                },
                changed = self.common_roots.changed() => match changed {
                    Ok(()) => self.trigger(&mut worker),
                    Err(_) => return,
                },
                changed = self.verdicts.changed() => match changed {
                    Ok(()) if self.publisher.verdicts_change_holds() => self.trigger(&mut worker),
                    Ok(()) => {}
                    Err(_) => return,
                },
                change = self.secrets.changed() => {
                    if concerns(&locations.borrow(), &change) {
                        self.trigger(&mut worker);
                    }
                }
                changed = self.bundle.changed() => match changed {
                    Ok(()) if self.was_changed_by_rival() => {
                        self.trigger = Trigger::Rival;
                        worker.trigger_after((), self.rivals.pause(Instant::now()));
                    }
                    Ok(()) => {}
                    Err(_) => return,
                },
                changed = self.own.changed() => match changed {
                    Ok(()) if self.was_memory_changed() => self.trigger(&mut worker),
                    Ok(()) => {}
                    Err(_) => return,
                },
                () = worker.next() => {
                    let now = locations.borrow_and_update().clone();
                    let requeue = self.reconcile(&now).await;
                    worker.done((), requeue);
                }
            }
        }
    }

    fn trigger(&mut self, worker: &mut Worker<()>) {
        self.trigger = Trigger::Inputs;
        worker.trigger(());
    }

    async fn reconcile(&mut self, locations: &Locations) -> Requeue {
        self.common_roots.mark_unchanged();
        self.bundle.mark_unchanged();
        self.own.mark_unchanged();
        self.verdicts.mark_unchanged();
        // The Secrets are read live below, so that changes until now need no further build.
        while self.secrets.changed().now_or_never().is_some() {}
        let trigger = std::mem::replace(&mut self.trigger, Trigger::Inputs);
        let Outcome {
            written,
            requeue,
            next_change,
        } = self.publisher.publish(locations).await;
        if written && trigger == Trigger::Rival {
            self.rivals.restored(Instant::now());
        }
        let is_watched =
            self.secrets.current().is_some() && *self.bundle.borrow() != ObservedBundle::Unknown;
        let poll = (!is_watched).then_some(POLL_INTERVAL);
        Requeue {
            retry: requeue,
            within: [next_change, poll].into_iter().flatten().min(),
        }
    }

    /// Returns whether another writer changed or deleted the memory.
    fn was_memory_changed(&mut self) -> bool {
        let own = self.own.borrow_and_update();
        !self.publisher.has_seen_memory(own.memory.as_deref())
    }

    /// Returns whether another writer changed the bundle, or may have changed it.
    fn was_changed_by_rival(&mut self) -> bool {
        match &*self.bundle.borrow_and_update() {
            ObservedBundle::Present(bundle) => !self.publisher.has_seen(bundle.version.as_deref()),
            ObservedBundle::Unknown | ObservedBundle::Absent => true,
        }
    }
}

/// Returns whether a change of Secrets may concern one of the locations.
fn concerns(locations: &Locations, change: &Change) -> bool {
    match change {
        Change::Entry(secret) => locations
            .values()
            .any(|entry| names_secret(&secret.namespace, &entry.bsl, &secret.name)),
        Change::List(_) | Change::Refused => true,
    }
}
