//! Reports on the bundle and the locations of a namespace: in its report, as Events and as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::namespace_hold::awaits_first_look;
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::common_roots::ExtraCas;
use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::merged_bundle::{Hold, Memory, MergedBundle};
use crate::controllers::ControllerContext;
use crate::controllers::event_deduper::{EventDeduper, EventObject, PendingEvent};
use crate::controllers::report_handle::ReportHandle;
use crate::kubernetes::events::EventReason;
use crate::kubernetes::report::{ExtraCa, Issue, RetainedCa};
use crate::telemetry::BundleGauges;

/// Reports on the bundle and the locations of one namespace.
pub(super) struct StatusReporter {
    controllers: Arc<ControllerContext>,
    namespace: String,
    report: ReportHandle,
    location_events: EventDeduper<PendingEvent>,
    bundle_events: EventDeduper<PendingEvent>,
    gauges: BundleGauges,
    has_reported: bool,
}

impl StatusReporter {
    pub(super) fn new(
        controllers: Arc<ControllerContext>,
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

    /// Reports the CAs that were given at installation.
    pub(super) fn report_extra_cas(&self, extra: &ExtraCas) {
        self.report.update(|report| {
            report.extra_cas = ExtraCa::all(&extra.contributions);
        });
    }

    /// Reports the `issues` of the bundle.
    pub(super) async fn report_issues(&mut self, issues: &BTreeSet<BundleIssue>) {
        self.report.update(|report| {
            report.issues = issues.iter().cloned().map(Issue::from).collect();
        });
        let pending = issues.iter().filter_map(|issue| {
            Some(PendingEvent {
                about: EventObject::Bundle,
                reason: event_reason(issue)?,
                note: issue.to_string(),
            })
        });
        let pending = pending.collect();
        // What could not be read hides what else is wrong.
        let is_known = !issues.iter().any(BundleIssue::is_transient);
        self.bundle_events
            .emit_events(&self.controllers.events, &self.namespace, pending, |_| {
                is_known
            })
            .await;
    }

    /// Reports the results of evaluating the locations.
    pub(super) async fn report_locations(
        &mut self,
        evaluated: &BTreeMap<String, EvaluatedLocation>,
        memory: &Memory,
    ) {
        self.report.update(|report| {
            report.retained = RetainedCa::all(memory);
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
        // A location that was deleted needs no Event, and one that could not be read has no news.
        let is_known = |about: &EventObject| match about {
            EventObject::Bundle => false,
            EventObject::Location { name, .. } => {
                let location = evaluated.get(name);
                location.is_some_and(|one| one.omission.is_none() && !one.is_unknown())
                    && !awaits_first_look(memory, name)
            }
        };
        self.location_events
            .emit_events(&self.controllers.events, &self.namespace, pending, is_known)
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

/// Returns the reason of the Event on the ConfigMap; `None` if the issue needs no Event.
const fn event_reason(issue: &BundleIssue) -> Option<EventReason> {
    Some(match issue {
        BundleIssue::NotOwned => EventReason::CaBundleNotOwned,
        BundleIssue::Immutable => EventReason::CaBundleImmutable,
        BundleIssue::Truncated { .. }
        | BundleIssue::Forgotten { .. }
        | BundleIssue::OverBudget { .. } => EventReason::CaBundleTruncated,
        BundleIssue::Empty => EventReason::CaBundleEmpty,
        BundleIssue::WriteFailed { .. } => EventReason::CaBundleWriteFailed,
        _ => return None,
    })
}

/// Returns the Events on the location `name`.
fn location_events(name: &str, location: &EvaluatedLocation, memory: &Memory) -> Vec<PendingEvent> {
    let event = |reason, note| PendingEvent {
        about: EventObject::Location {
            name: name.to_owned(),
            uid: location.uid.clone(),
        },
        reason,
        note,
    };
    let judged = &location.judged;
    let denials = judged.denials.iter();
    let denials = denials.map(|finding| event(EventReason::CaInvalid, finding.to_string()));
    let dated = judged.warnings.iter();
    let dated = dated.filter(|finding| finding.rule.depends_on_date);
    let dated = dated.map(|finding| event(EventReason::CaExpiring, finding.to_string()));
    let held = hold_reason(memory, name).filter(|_| !awaits_first_look(memory, name));
    let held = held.map(|why| event(EventReason::CaHeld, hold_note(why)));
    denials.chain(dated).chain(held).collect()
}

/// Returns why `location` holds its namespace; `None` if it does not.
fn hold_reason<'m>(memory: &'m Memory, location: &str) -> Option<&'m str> {
    match memory.holds.get(location)? {
        Hold::Held(why) => Some(why),
        Hold::Released => None,
    }
}

/// Returns the note of the Event on a location that holds its namespace.
fn hold_note(why: &str) -> String {
    format!(
        "Pods of this namespace get no AWS_CA_BUNDLE: the location works now, and the merged bundle \
         alone may not be enough for it: {why}. Name its CA on the BackupStorageLocation \
         (objectStorage.caCertRef, or the annotation velero-trust.io/ca-secret)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::bundle::ResolvedCa;
    use crate::ca::merged_bundle::Origin;
    use crate::ca::rules;
    use crate::decision::{FieldPath, Finding, Judged, Verdict};

    fn finding(id: &str) -> Finding {
        Finding::new(rules::find(id).unwrap(), FieldPath::default(), "", "", "")
    }

    #[test]
    fn a_denial_a_dated_warning_and_a_hold_have_an_event_each_and_other_warnings_none() {
        let location = EvaluatedLocation {
            ca: ResolvedCa::default(),
            judged: Judged {
                verdict: Verdict::Deny,
                denials: vec![finding("VT001")],
                warnings: ["VT020", "VT021", "VT022", "VT034"].map(finding).to_vec(),
            },
            notes: Vec::new(),
            sources: Vec::new(),
            uid: "u".to_owned(),
            is_available: true,
            omission: None,
        };
        let mut memory = Memory::default();
        let hold = Hold::Held("x".to_owned());
        memory.holds.insert("default".to_owned(), hold);
        let events = location_events("default", &location, &memory);
        let reasons: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
        let expiring = "CAExpiring";
        assert_eq!(
            reasons,
            ["CAInvalid", expiring, expiring, expiring, "CAHeld"]
        );
        assert!(events[1].note.contains("VT020"), "{}", events[1].note);
        // Before the first look there is nothing to tell of the hold.
        let hold = Hold::Held("its endpoint was not looked at yet".to_owned());
        memory.holds.insert("default".to_owned(), hold);
        let events = location_events("default", &location, &memory);
        let mut reasons = events.iter().map(|event| event.reason);
        assert!(!reasons.any(|reason| reason == EventReason::CaHeld));
    }

    #[test]
    fn events_on_the_bundle_say_its_condition() {
        let text = || "a".to_owned();
        let origin = Origin::Public;
        let count = 1;
        let config_map = text();
        for (issue, reason) in [
            (BundleIssue::NotOwned, Some("CABundleNotOwned")),
            (BundleIssue::Immutable, Some("CABundleImmutable")),
            (
                BundleIssue::Truncated { origin, count },
                Some("CABundleTruncated"),
            ),
            (
                BundleIssue::Forgotten { config_map, count },
                Some("CABundleTruncated"),
            ),
            (
                BundleIssue::OverBudget {
                    first: text(),
                    count,
                },
                Some("CABundleTruncated"),
            ),
            (BundleIssue::Empty, Some("CABundleEmpty")),
            (
                BundleIssue::WriteFailed { reason: text() },
                Some("CABundleWriteFailed"),
            ),
            (BundleIssue::ReadFailed { reason: text() }, None),
            (BundleIssue::Timeout, None),
        ] {
            assert_eq!(event_reason(&issue).map(EventReason::as_str), reason);
        }
    }
}
