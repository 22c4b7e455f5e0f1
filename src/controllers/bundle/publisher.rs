//! Builds the merged CA bundle of one namespace and writes it if it differs from the stored one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::changes::{added_certificates, has_unknown_location};
use super::evaluation_share::EvaluationShare;
use super::issue_log::IssueLog;
use super::live_evaluation::evaluate_locations;
use super::namespace_hold;
use super::status_reporter::StatusReporter;
use super::writer::{BundleWriter, PublishError};
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::common_roots::CommonRoots;
use crate::ca::evaluation::{
    EvaluatedLocation, contributions, dropped_certificates, truncation_issues,
};
use crate::ca::evaluation_budget::kept_memory;
use crate::ca::merged_bundle::{Contributions, Memory, merge_contributions};
use crate::clock::{moment, now};
use crate::controllers::ControllerContext;
use crate::controllers::channels::{EndpointVerdicts, PublishedCertificatesSender, VerdictsSender};
use crate::controllers::locations::Locations;
use crate::decision::Context;
use crate::kubernetes::bundle::{self, BundleStatus};
use crate::kubernetes::memory_store::MemoryStore;

/// Longest time to publish one bundle. The client for controllers has no timeout of its own.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes the bundle of one namespace.
pub(super) struct BundlePublisher {
    controllers: Arc<ControllerContext>,
    namespace: String,
    store: MemoryStore,
    memory: Memory,
    verdicts: watch::Receiver<Option<EndpointVerdicts>>,
    writer: BundleWriter,
    /// When the next certificate of a location becomes valid or expires, in seconds since 1970.
    next_validity_change: Option<i64>,
    /// The result of the last evaluation, by location.
    evaluated: BTreeMap<String, EvaluatedLocation>,
    /// The memory that `evaluated` and `memory` may use.
    share: EvaluationShare,
    issues: IssueLog,
    reporter: StatusReporter,
}

/// The result of one reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether the ConfigMap was written.
    pub(super) written: bool,
    /// Whether something failed that may succeed later: retry with backoff.
    pub(super) requeue: bool,
    /// Time until a certificate of a location becomes valid or expires.
    pub(super) next_change: Option<Duration>,
}

impl BundlePublisher {
    pub(super) fn new(
        controllers: Arc<ControllerContext>,
        namespace: &str,
        reporter: StatusReporter,
        verdicts: &VerdictsSender,
        published: Arc<PublishedCertificatesSender>,
    ) -> Self {
        let client = &controllers.client;
        let own = &controllers.settings.namespace;
        Self {
            writer: BundleWriter::new(client.clone(), namespace, published),
            store: MemoryStore::new(client.clone(), own, namespace),
            memory: Memory::default(),
            next_validity_change: None,
            evaluated: BTreeMap::new(),
            share: controllers.evaluations.share(namespace),
            issues: IssueLog::default(),
            namespace: namespace.to_owned(),
            controllers,
            verdicts: verdicts.subscribe(),
            reporter,
        }
    }

    /// Returns whether this process read or wrote this version of the ConfigMap.
    pub(super) fn has_seen(&self, version: Option<&str>) -> bool {
        self.writer.has_seen(version)
    }

    /// Returns whether this process read or wrote this version of the memory; `None` if there is none.
    pub(super) fn has_seen_memory(&self, version: Option<&str>) -> bool {
        self.store.has_seen(version)
    }

    /// Builds the bundle from what is known now and writes it if it differs from the stored one.
    /// New issues are logged.
    pub(super) async fn publish(&mut self, locations: &Locations) -> Outcome {
        let mut issues = BTreeSet::new();
        let controllers = Arc::clone(&self.controllers);
        let permit = controllers.permits.acquire().await;
        let published = timeout(PUBLISH_TIMEOUT, self.try_publish(locations, &mut issues)).await;
        let mut conflict = false;
        let written = match published {
            Ok(Ok(written)) => written,
            Ok(Err(PublishError::Conflict)) => {
                conflict = true;
                false
            }
            Ok(Err(PublishError::Issue(issue))) => {
                issues.insert(issue);
                false
            }
            Err(_) => {
                issues.insert(BundleIssue::Timeout);
                false
            }
        };
        drop(permit);
        let requeue = conflict || issues.iter().any(BundleIssue::is_transient);
        self.issues.log_changes(issues);
        self.reporter.report_issues(self.issues.current()).await;
        self.reporter
            .report_locations(&self.evaluated, &self.memory)
            .await;
        let next_change = self.next_validity_change.map(|at| at.saturating_sub(now()));
        let next_change = next_change.and_then(|seconds| u64::try_from(seconds).ok());
        Outcome {
            written,
            requeue,
            next_change: next_change.map(Duration::from_secs),
        }
    }

    /// Builds and writes the bundle. Returns whether it wrote the ConfigMap.
    async fn try_publish(
        &mut self,
        locations: &Locations,
        issues: &mut BTreeSet<BundleIssue>,
    ) -> Result<bool, PublishError> {
        self.load_memory(issues).await?;
        let common_roots = self.common_roots().await;
        let moment = moment();
        let now = moment.wall;
        let context = Context {
            policy: &self.controllers.policy,
            now,
        };
        let source = &*self.controllers.source;
        let client = &self.controllers.client;
        let of_namespace = (self.namespace.as_str(), &self.share);
        let evaluated = evaluate_locations(client, of_namespace, locations, source, context).await;
        let mut contributions = contributions(&evaluated, &common_roots, issues);
        if common_roots.extra.has_unknown {
            self.memory.recall_extra(&mut contributions);
        }
        self.reporter.report_extra_cas(&common_roots.extra);
        let named = contributions.values().flat_map(|one| &one.certificates);
        // A certificate is still valid in the second of its `notAfter`.
        let changes = named.flat_map(|one| [one.not_before, one.not_after.saturating_add(1)]);
        self.next_validity_change = changes.filter(|change| *change > now).min();
        let retention = self.controllers.settings.retention.as_secs();
        self.memory.learn(
            &contributions,
            moment,
            i64::try_from(retention).unwrap_or(i64::MAX),
        );
        issues.extend(dropped_certificates(&mut self.memory, &self.namespace));
        self.share.settle(kept_memory(&evaluated, &self.memory));
        namespace_hold::update(
            &mut self.memory,
            self.verdicts.borrow().as_ref(),
            &evaluated,
        );
        let published = self
            .write(&common_roots, &contributions, &evaluated, now, issues)
            .await;
        self.evaluated = evaluated;
        published
    }

    /// Writes the bundle that follows from the `contributions`, if it differs from the stored one.
    async fn write(
        &mut self,
        common_roots: &CommonRoots,
        contributions: &Contributions,
        evaluated: &BTreeMap<String, EvaluatedLocation>,
        now: i64,
        issues: &mut BTreeSet<BundleIssue>,
    ) -> Result<bool, PublishError> {
        let live = self.writer.read().await?;
        // A new installation that finds the bundle of an old one must not remove a CA from it only
        // because it cannot read that CA yet.
        if self.store.is_blank()
            && live.as_ref().is_some_and(bundle::is_as_published)
            && has_unknown_location(&self.memory, evaluated)
        {
            return Err(BundleIssue::Deferred.into());
        }
        let merged = merge_contributions(contributions, &self.memory, &common_roots.public);
        if merged.certificates.is_empty() {
            return Err(BundleIssue::Empty.into());
        }
        issues.extend(truncation_issues(&merged));
        if live.as_ref().is_some_and(bundle::is_immutable) {
            issues.insert(BundleIssue::Immutable);
        }
        let text = &merged.bundle.text;
        let is_frozen = live
            .as_ref()
            .is_some_and(|live| bundle::is_frozen(live, text));
        let published = self.writer.published();
        let added = added_certificates(&merged, &published, live.as_ref(), &self.memory);
        if let Some(added) = added.filter(|_| !is_frozen) {
            self.memory.record_addition(now, &added);
        }
        // The memory is saved first, because the bundle can be rebuilt from it.
        if let Err(issue) = self.store.save(&self.memory).await {
            issues.insert(issue);
        }
        let hold = namespace_hold::reason(&self.memory, evaluated);
        self.reporter.set_bundle_gauges(&merged, hold.is_some());
        if is_frozen {
            // New annotations would not describe the content, which cannot change.
            return Ok(false);
        }
        let status = BundleStatus {
            last_added: self.memory.last_added(),
            hold: hold.as_deref(),
        };
        self.writer.write(&merged, status, live.as_ref()).await
    }

    /// Loads the memory if it was not loaded before.
    async fn load_memory(
        &mut self,
        issues: &mut BTreeSet<BundleIssue>,
    ) -> Result<(), PublishError> {
        match self.store.load().await {
            Ok(Some(mut memory)) => {
                memory.continue_from(&self.memory);
                for (certificate, _) in self.memory.retained_until() {
                    let fingerprint = certificate.fingerprint();
                    if !memory.contains(fingerprint) {
                        tracing::info!(
                            subject = certificate.subject(),
                            %fingerprint,
                            "somebody took a retained CA out of the memory"
                        );
                    }
                }
                self.memory = memory;
            }
            Ok(None) => {}
            Err(issue) if self.store.is_loaded() => {
                issues.insert(issue);
            }
            Err(issue) => return Err(issue.into()),
        }
        Ok(())
    }

    async fn common_roots(&self) -> Arc<CommonRoots> {
        let mut roots = self.controllers.common_roots.clone();
        match roots.wait_for(Option::is_some).await {
            Ok(roots) => roots.clone().unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }

    /// Returns whether the current endpoint verdicts change why the namespace is held.
    pub(super) fn verdicts_change_holds(&self) -> bool {
        let verdicts = self.verdicts.borrow();
        namespace_hold::would_change(&self.memory, verdicts.as_ref(), &self.evaluated)
    }
}
