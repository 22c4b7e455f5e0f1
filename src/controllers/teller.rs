//! Tells what was found out about a namespace: on the board, as Events and as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Controllers;
use super::board::Board;
use super::notices::{Notice, Notices};
use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::issue::BundleIssue;
use crate::ca::merged_bundle::{Hold, Memory, MergedBundle};
use crate::names::BUNDLE;
use crate::telemetry::BundleGauges;

/// Warnings that come with time and not with a change: nobody saw them at admission.
const WITH_TIME: [&str; 3] = ["VT020", "VT021", "VT022"];

/// Tells what was found out about one namespace.
pub(super) struct Teller {
    controllers: Arc<Controllers>,
    namespace: String,
    board: Board,
    locations: Notices,
    bundle: Notices,
    gauges: BundleGauges,
    has_told: bool,
}

impl Teller {
    pub(super) fn new(controllers: Arc<Controllers>, namespace: &str, board: Board) -> Self {
        Self {
            gauges: BundleGauges::new(Arc::clone(&controllers.metrics), namespace),
            namespace: namespace.to_owned(),
            board,
            locations: Notices::default(),
            bundle: Notices::default(),
            has_told: false,
            controllers,
        }
    }

    /// Tells what is wrong with the bundle.
    pub(super) async fn complain(&mut self, complaints: &BTreeSet<BundleIssue>) {
        self.board.update(|report| {
            report.complaints = complaints.iter().map(ToString::to_string).collect();
        });
        let notices = complaints.iter().filter_map(|complaint| {
            let reason = match complaint {
                BundleIssue::Foreign => "NotOurs",
                BundleIssue::Immutable => "Immutable",
                BundleIssue::NoRoom { .. } | BundleIssue::Forgotten { .. } => "NoRoom",
                BundleIssue::NoRoots => "NoRoots",
                BundleIssue::Unwritable(_) => "CannotWrite",
                _ => return None,
            };
            Some(Notice {
                about: ("ConfigMap".to_owned(), BUNDLE.to_owned(), String::new()),
                reason,
                note: complaint.to_string(),
            })
        });
        let notices = notices.collect();
        self.bundle
            .say(&self.controllers.events, &self.namespace, notices)
            .await;
    }

    /// Tells what the locations are like.
    pub(super) async fn tell(
        &mut self,
        evaluated: &BTreeMap<String, EvaluatedLocation>,
        memory: &Memory,
    ) {
        self.board.update(|report| {
            report
                .locations
                .retain(|name, _| evaluated.contains_key(name));
            for (name, location) in evaluated {
                let told = report.locations.entry(name.clone()).or_default();
                told.tell(location);
                told.held = held(memory, name).map(str::to_owned);
            }
        });
        if !self.has_told {
            self.has_told = true;
            self.board.write_anyway();
        }
        let found = evaluated.iter().flat_map(|(name, location)| {
            let judged = &location.judged;
            let all = judged.denials.iter().chain(&judged.warnings);
            all.map(move |finding| (name.as_str(), finding.rule.id))
        });
        self.gauges.set_findings(found.collect());
        let mut notices = Vec::new();
        for (name, location) in evaluated {
            let notice = |reason, note| Notice {
                about: (
                    "BackupStorageLocation".to_owned(),
                    name.clone(),
                    location.uid.clone(),
                ),
                reason,
                note,
            };
            let judged = &location.judged;
            let with_time = judged.warnings.iter();
            let with_time = with_time.filter(|finding| WITH_TIME.contains(&finding.rule.id));
            let worth = judged.denials.iter().chain(with_time);
            notices.extend(worth.map(|finding| notice("CaNotGood", finding.to_string())));
            if let Some(why) = held(memory, name) {
                notices.push(notice("Held", hold_note(why)));
            }
        }
        self.locations
            .say(&self.controllers.events, &self.namespace, notices)
            .await;
    }

    /// Counts what is in the bundle.
    pub(super) fn count(&mut self, merged: &MergedBundle, is_held: bool) {
        let origins = merged.origins.iter();
        let origins = origins.map(|(origin, &count)| (origin.name(), count));
        self.gauges
            .set_bundle(origins, merged.bundle.earliest_expiry, is_held);
    }
}

fn held<'m>(memory: &'m Memory, location: &str) -> Option<&'m str> {
    match memory.holds.get(location)? {
        Hold::Held(why) => Some(why),
        Hold::Released => None,
    }
}

/// What a hold means, for a person.
fn hold_note(why: &str) -> String {
    format!(
        "Pods of this namespace get no AWS_CA_BUNDLE: the location works now, and the merged bundle \
         alone may not be enough for it: {why}. Name its CA on the BackupStorageLocation \
         (objectStorage.caCertRef, or the annotation velero-trust.io/ca-secret)"
    )
}
