//! What the locations of a namespace name now, and what the rules of admission say of them now:
//! Secrets change and disappear after a location was admitted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::base::Base;
use super::bundle::{Contribution, contribution};
use super::complaint::Complaint;
use super::keeping::{Kept, Memory, Owner, Share, Shares};
use super::rules::{self, Location};
use super::sources::{self, Origin};
use crate::decision::{Facts, Judged, Lookup, Note, Policy, Report};
use crate::names::MEMORY;
use crate::velero::bsl::Bsl;

/// Most passes over the locations: what a look-up brought may lead to another.
pub const PASSES: usize = 3;

/// What was found of one location.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// What it adds to the bundle.
    pub contribution: Contribution,
    /// What the rules say of it; what could not be looked up is in its verdict.
    pub judged: Judged,
    /// What is said of it although no rule was broken.
    pub notes: Vec<Note>,
    /// Where its CA comes from, for a person.
    pub sources: Vec<String>,
    /// What `kubectl describe` knows it by.
    pub uid: String,
    /// Velero says that it works.
    pub is_available: bool,
}

/// The survey of one namespace.
#[derive(Debug)]
pub struct Survey<'l> {
    namespace: &'l str,
    now: i64,
    locations: Vec<(&'l String, &'l str, Bsl<'l>)>,
    found: Vec<(Contribution, Report)>,
}

impl<'l> Survey<'l> {
    /// Of the `locations` of `namespace`, JSON by name, at `now`, seconds since 1970.
    pub fn new(namespace: &'l str, locations: &'l BTreeMap<String, String>, now: i64) -> Self {
        let locations = locations.iter().map(|(name, text)| {
            let bsl = serde_json::from_str(text).unwrap_or_default();
            (name, text.as_str(), bsl)
        });
        Self {
            namespace,
            now,
            locations: locations.collect(),
            found: Vec::new(),
        }
    }

    /// Looks at every location with these `facts`; what it still needs.
    pub fn pass(&mut self, facts: &Facts) -> BTreeSet<Lookup> {
        let (namespace, now) = (self.namespace, self.now);
        let found = self.locations.iter().map(|(_, _, bsl)| {
            let location = Location {
                namespace,
                dry_run: false,
                bsl,
                old: None,
                now,
            };
            (
                contribution(namespace, bsl, facts),
                rules::judge(&location, facts),
            )
        });
        self.found = found.collect();
        let needs = self.found.iter().flat_map(|(contribution, report)| {
            contribution.report.needs.iter().chain(&report.needs)
        });
        needs.cloned().collect()
    }

    /// What the last pass found, by the name of the location.
    pub fn weigh(self, policy: &Policy) -> BTreeMap<String, Surveyed> {
        let namespace = self.namespace;
        let of = self.found.into_iter().zip(self.locations);
        of.map(|((contribution, report), (name, text, bsl))| {
            let whole: Value = serde_json::from_str(text).unwrap_or_default();
            let said = |pointer| whole.pointer(pointer).and_then(Value::as_str);
            let surveyed = Surveyed {
                contribution,
                judged: Judged::weigh(&report, policy),
                notes: report.notes,
                sources: describe(namespace, &bsl),
                uid: said("/metadata/uid").unwrap_or_default().to_owned(),
                is_available: said("/status/phase") == Some("Available"),
            };
            (name.clone(), surveyed)
        })
        .collect()
    }
}

/// Where the CA of a location comes from, for a person.
fn describe(namespace: &str, bsl: &Bsl<'_>) -> Vec<String> {
    let sources = sources::of(namespace, bsl);
    let described = sources.iter().map(|source| match &source.origin {
        Origin::Secret(to) => format!("Secret {} key {}", to.secret.name, to.key),
        Origin::Base64(_) | Origin::Pem(_) => source.path.to_string(),
        Origin::Unusable(why) => format!("{} {why}", source.path),
    });
    described.collect()
}

/// What each owner adds to the bundle. What is not as it should be goes into `wrong`.
pub fn shares(
    surveyed: &BTreeMap<String, Surveyed>,
    base: &Base,
    wrong: &mut BTreeSet<Complaint>,
) -> Shares {
    let mut shares = base.extra.clone();
    for (owner, share) in &shares {
        if let (Owner::Extra(name), false) = (owner, share.whole) {
            wrong.insert(Complaint::Extra(name.clone()));
        }
    }
    for (location, surveyed) in surveyed {
        let found = &surveyed.contribution;
        let left_out = found.left_out.iter();
        wrong.extend(left_out.map(|path| Complaint::LeftOut {
            location: location.clone(),
            path: path.to_string(),
        }));
        let unknowns = found.report.unknowns.iter();
        wrong.extend(unknowns.map(|(_, reason)| Complaint::Unknown {
            location: location.clone(),
            why: reason.message.clone(),
        }));
        let share = Share {
            whole: found.left_out.is_empty() && found.report.unknowns.is_empty(),
            certificates: found.certificates.clone(),
        };
        shares.insert(Owner::Location(location.clone()), share);
    }
    shares
}

/// What had no room in a bundle.
pub fn no_room(kept: &Kept) -> impl Iterator<Item = Complaint> {
    let left_out = kept.left_out.iter();
    left_out.map(|(&origin, &count)| Complaint::NoRoom { origin, count })
}

/// What had no room in the `memory` of `namespace`, once.
pub fn forgotten(memory: &mut Memory, namespace: &str) -> Option<Complaint> {
    let count = memory.take_forgotten();
    let name = format!("{MEMORY}{namespace}");
    (count > 0).then_some(Complaint::Forgotten { name, count })
}
