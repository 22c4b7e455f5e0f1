//! Reconciles the merged CA bundle of one namespace.

mod changes;
mod evaluation;
mod holds;
mod issue_log;
mod permits;
mod publisher;
mod rival_backoff;
mod status_reporter;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::publisher::{BundlePublisher, Outcome};
use self::rival_backoff::RivalBackoff;
use self::status_reporter::StatusReporter;
use super::Controllers;
use super::bundles::ObservedBundle;
use super::channels::{EndpointVerdicts, PublishedCertificates, VerdictsSender};
use super::locations::Locations;
use super::news::{self, News, Stream};
use super::report_handle::ReportHandle;
use crate::sources::cluster::CommonRootsReceiver;

pub use permits::BuildPermits;

/// How long changes are gathered before a bundle is built: a GitOps tool applies many at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// First and longest pause before a bundle that is incomplete or was not written is built again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Interval between builds without any event: a watch may have gone silent.
const RESYNC_INTERVAL: Duration = Duration::from_mins(5);

/// Reconciles the bundle of one namespace.
pub(super) struct BundleReconciler {
    publisher: BundlePublisher,
    secrets: Stream,
    bundle: watch::Receiver<ObservedBundle>,
    common_roots: CommonRootsReceiver,
    verdicts: watch::Receiver<Option<EndpointVerdicts>>,
    rivals: RivalBackoff,
}

/// Why a bundle is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// A location or a Secret changed, or a timer fired.
    Inputs,
    /// Another writer changed the bundle itself.
    Bundle,
}

impl BundleReconciler {
    pub(super) fn new(
        controllers: Arc<Controllers>,
        namespace: &str,
        bundle: watch::Receiver<ObservedBundle>,
        report: ReportHandle,
        verdicts: &VerdictsSender,
        published: Arc<PublishedCertificates>,
    ) -> Self {
        let client = controllers.client.clone();
        let reporter = StatusReporter::new(Arc::clone(&controllers), namespace, report);
        Self {
            secrets: news::of_secrets(client, namespace),
            bundle,
            common_roots: controllers.common_roots.clone(),
            verdicts: verdicts.subscribe(),
            publisher: BundlePublisher::new(controllers, namespace, reporter, verdicts, published),
            rivals: RivalBackoff::default(),
        }
    }

    /// Makes the bundle now and whenever something changes; ends when the sender of `locations`
    /// is gone.
    pub(super) async fn run(mut self, mut locations: watch::Receiver<Locations>) {
        let mut pause = BACKOFF.0;
        let mut trigger = Trigger::Inputs;
        loop {
            let now = locations.borrow_and_update().clone();
            self.common_roots.mark_unchanged();
            self.bundle.mark_unchanged();
            self.verdicts.mark_unchanged();
            let Outcome {
                written,
                requeue,
                next_change,
            } = self.publisher.publish(&now).await;
            if written && trigger == Trigger::Bundle {
                self.rivals.restored(Instant::now());
            }
            let longest = match *self.bundle.borrow() {
                ObservedBundle::Unknown => news::POLL,
                _ => RESYNC_INTERVAL,
            };
            let quiet = next_change.unwrap_or(longest).min(longest);
            let wait = if requeue { pause.min(quiet) } else { quiet };
            pause = if requeue {
                (pause * 2).min(BACKOFF.1)
            } else {
                BACKOFF.0
            };
            match self.wait(&mut locations, &now, wait).await {
                Some(heard) => trigger = heard,
                None => return,
            }
            sleep(DEBOUNCE).await;
            // Its namespace may be no Velero namespace any more, and its bundle deleted for good.
            let is_over = locations.has_changed().is_err();
            if is_over || !news::drain(&mut self.secrets) {
                return;
            }
        }
    }

    /// Waits until there is a reason to make the bundle, at most for `longest`; `None` when there
    /// will be none any more.
    async fn wait(
        &mut self,
        locations: &mut watch::Receiver<Locations>,
        now: &Locations,
        longest: Duration,
    ) -> Option<Trigger> {
        let again = sleep(longest);
        tokio::pin!(again);
        let mut trigger = Trigger::Inputs;
        loop {
            tokio::select! {
                changed = locations.changed() => {
                    changed.ok()?;
                    return Some(Trigger::Inputs);
                }
                changed = self.common_roots.changed() => {
                    changed.ok()?;
                    return Some(Trigger::Inputs);
                }
                changed = self.verdicts.changed() => {
                    changed.ok()?;
                    if self.publisher.verdicts_change_holds() {
                        return Some(Trigger::Inputs);
                    }
                }
                heard = self.secrets.next() => match heard? {
                    News::Changed { name, .. } if !mentions(now, &name) => {}
                    _ => return Some(Trigger::Inputs),
                },
                changed = self.bundle.changed() => {
                    changed.ok()?;
                    if self.was_changed_by_rival() {
                        trigger = Trigger::Bundle;
                        let soon = Instant::now();
                        let soon = soon + self.rivals.pause(soon);
                        let earlier = again.deadline().min(soon);
                        again.as_mut().reset(earlier);
                    }
                }
                () = &mut again => return Some(trigger),
            }
        }
    }

    /// Whether somebody else changed the bundle, or may have.
    fn was_changed_by_rival(&mut self) -> bool {
        match &*self.bundle.borrow_and_update() {
            ObservedBundle::There { version, .. } => !self.publisher.has_seen(version.as_deref()),
            ObservedBundle::Unknown | ObservedBundle::Absent => true,
        }
    }
}

/// Whether any of the locations could mean the Secret `name`; a false alarm costs one look.
fn mentions(locations: &Locations, name: &str) -> bool {
    locations.values().any(|text| text.contains(name))
}
