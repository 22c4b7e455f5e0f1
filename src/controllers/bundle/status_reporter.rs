//! Reports on the bundle and the locations of a namespace: in its report, as Events and as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ca::bundle_issue::BundleIssue;
use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::merged_bundle::{Hold, Memory, MergedBundle};
use crate::controllers::Controllers;
use crate::controllers::event_deduper::{EventDeduper, PendingEvent};
use crate::controllers::report_handle::ReportHandle;
use crate::kubernetes::report::Issue;
use crate::names::BUNDLE;
use crate::telemetry::BundleGauges;

/// Reports on one namespace.
pub(super) struct StatusReporter {
    controllers: Arc<Controllers>,
    namespace: String,
    report: ReportHandle,
    location_events: EventDeduper<PendingEvent>,
    bundle_events: EventDeduper<PendingEvent>,
    gauges: BundleGauges,
    has_reported: bool,
}

impl StatusReporter {
    pub(super) fn new(
        controllers: Arc<Controllers>,
        namespace: &str,
        report: ReportHandle,
    ) -> Self {
        Self {
            gauges: BundleGauges::new(&controllers.metrics, namespace),
            namespace: namespace.to_owned(),
            report,
            location_events: EventDeduper::default(),
            bundle_events: EventDeduper::default(),
            has_reported: false,
            controllers,
        }
    }

    /// Reports the `issues` of the bundle.
    pub(super) async fn report_issues(&mut self, issues: &BTreeSet<BundleIssue>) {
        self.report.update(|report| {
            report.issues = issues.iter().cloned().map(Issue::from).collect();
        });
        let pending = issues.iter().filter_map(|issue| {
            Some(PendingEvent {
                about: ("ConfigMap".to_owned(), BUNDLE.to_owned(), String::new()),
                reason: event_reason(issue)?,
                note: issue.to_string(),
            })
        });
        let pending = pending.collect();
        self.bundle_events
            .emit_events(&self.controllers.events, &self.namespace, pending)
            .await;
    }

    /// Reports what was found about the locations.
    pub(super) async fn report_locations(
        &mut self,
        evaluated: &BTreeMap<String, EvaluatedLocation>,
        memory: &Memory,
    ) {
        self.report.update(|report| {
            report
                .locations
                .retain(|name, _| evaluated.contains_key(name));
            for (name, location) in evaluated {
                let reported = report.locations.entry(name.clone()).or_default();
                reported.set_evaluated(location);
                reported.held = hold_reason(memory, name).map(str::to_owned);
            }
        });
        if !self.has_reported {
            self.has_reported = true;
            self.report.mark_changed();
        }
        let findings = evaluated.iter().flat_map(|(name, location)| {
            let judged = &location.judged;
            let all = judged.denials.iter().chain(&judged.warnings);
            all.map(move |finding| (name.as_str(), finding.rule.id))
        });
        self.gauges.set_findings(findings.collect());
        let pending = evaluated
            .iter()
            .flat_map(|(name, location)| location_events(name, location, memory));
        let pending = pending.collect();
        self.location_events
            .emit_events(&self.controllers.events, &self.namespace, pending)
            .await;
    }

    /// Sets the gauges of the bundle.
    pub(super) fn set_bundle_gauges(&mut self, merged: &MergedBundle, is_held: bool) {
        let origins = merged.origins.iter();
        let origins = origins.map(|(origin, &count)| (origin.name(), count));
        self.gauges
            .set_bundle(origins, merged.bundle.earliest_expiry, is_held);
    }
}

/// The reason of the Event on the ConfigMap; `None` for an issue that needs no Event.
const fn event_reason(issue: &BundleIssue) -> Option<&'static str> {
    Some(match issue {
        BundleIssue::NotOwned => "NotOurs",
        BundleIssue::Immutable => "Immutable",
        BundleIssue::Truncated { .. } | BundleIssue::Forgotten { .. } => "NoRoom",
        BundleIssue::Empty => "NoRoots",
        BundleIssue::WriteFailed { .. } => "CannotWrite",
        _ => return None,
    })
}

/// The Events on the location `name`.
fn location_events(name: &str, location: &EvaluatedLocation, memory: &Memory) -> Vec<PendingEvent> {
    let event = |reason, note| PendingEvent {
        about: (
            "BackupStorageLocation".to_owned(),
            name.to_owned(),
            location.uid.clone(),
        ),
        reason,
        note,
    };
    let judged = &location.judged;
    let dated = judged.warnings.iter();
    let dated = dated.filter(|finding| finding.rule.depends_on_date);
    let findings = judged.denials.iter().chain(dated);
    let mut events: Vec<_> = findings
        .map(|finding| event("CaNotGood", finding.to_string()))
        .collect();
    events.extend(hold_reason(memory, name).map(|why| event("Held", hold_note(why))));
    events
}

fn hold_reason<'m>(memory: &'m Memory, location: &str) -> Option<&'m str> {
    match memory.holds.get(location)? {
        Hold::Held(why) => Some(why),
        Hold::Released => None,
    }
}

/// The note of the Event on a location that holds its namespace.
fn hold_note(why: &str) -> String {
    format!(
        "Pods of this namespace get no AWS_CA_BUNDLE: the location works now, and the merged bundle \
         alone may not be enough for it: {why}. Name its CA on the BackupStorageLocation \
         (objectStorage.caCertRef, or the annotation velero-trust.io/ca-secret)"
    )
}
