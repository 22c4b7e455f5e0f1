//! When endpoints are probed again before their interval is over: on request, and when Velero's own
//! check of a location turns.

use std::collections::{BTreeMap, BTreeSet};

use super::location::LocationEndpoints;
use super::prober::ProbeResults;
use crate::ca::endpoint::Target;

/// The phase that Velero sets when it cannot use the store of a location.
const UNAVAILABLE: &str = "Unavailable";

/// A request for a probe that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbeRequest {
    /// The text of the request.
    pub(super) text: String,
    /// The number of the last probe that began before it. What that one found may be older.
    after: u64,
}

impl ProbeRequest {
    /// Returns a request that is made after the probe with the number `after` began, and before the
    /// next one.
    pub(super) const fn new(text: String, after: u64) -> Self {
        Self { text, after }
    }

    /// Returns whether a probe of each target began after the request, and ended.
    pub(super) fn is_done(&self, targets: &BTreeSet<Target>, results: &ProbeResults) -> bool {
        let mut records = targets.iter().map(|target| results.get(target));
        records.all(|record| record.is_some_and(|record| record.number > self.after))
    }
}

/// What new results mean for a judgement of the old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Nothing changed.
    Nothing,
    /// The same was found again, later.
    Time,
    /// Something else was found.
    Finding,
}

impl Novelty {
    pub(super) fn of(targets: &BTreeSet<Target>, old: &ProbeResults, new: &ProbeResults) -> Self {
        let both = targets
            .iter()
            .map(|target| (old.get(target), new.get(target)));
        let mut novelty = Self::Nothing;
        for (old, new) in both.filter(|(old, new)| old != new) {
            let is_same = matches!((old, new), (Some(old), Some(new)) if old.result == new.result);
            if !is_same {
                return Self::Finding;
            }
            novelty = Self::Time;
        }
        novelty
    }
}

/// The phase of each location, by its name.
pub(super) type Phases = BTreeMap<String, String>;

/// Returns the targets of the locations that became, or ceased to be, unavailable for Velero since
/// they had the phases `before`: what was found at their endpoints may be over. A location that was
/// not known before is probed anyway.
pub(super) fn turned(before: &Phases, bsls: &[LocationEndpoints]) -> Vec<Target> {
    let turned = bsls.iter().filter(|bsl| {
        let before = before.get(&bsl.name);
        before.is_some_and(|before| (before == UNAVAILABLE) != (bsl.phase == UNAVAILABLE))
    });
    let endpoints = turned.flat_map(|bsl| &bsl.endpoints);
    endpoints.map(|endpoint| endpoint.target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controllers::endpoints::location::read;
    use crate::controllers::endpoints::prober::ProbeRecord;
    use crate::kubernetes::location::LocationEntry;

    fn bsls(phases: &[(&str, &str)]) -> Vec<LocationEndpoints> {
        let entries = phases.iter().map(|(name, phase)| {
            let text = format!(
                r#"{{"spec":{{"provider":"aws","config":{{"s3Url":"https://{name}.test"}}}},
                    "status":{{"phase":"{phase}"}}}}"#
            );
            let entry = Arc::new(LocationEntry::from_json(&text));
            ((*name).to_owned(), entry)
        });
        read("velero", &Arc::new(entries.collect()))
    }

    #[test]
    fn a_location_that_turns_unavailable_or_back_is_probed_and_no_other() {
        let before = [
            ("a", "Available"),
            ("b", "Unavailable"),
            ("c", ""),
            ("d", "Unavailable"),
        ];
        let before = before
            .map(|(name, phase)| (name.to_owned(), phase.to_owned()))
            .into();
        let now = [
            ("a", "Unavailable"),
            ("b", "Available"),
            ("c", "Available"),
            ("d", "Unavailable"),
            ("new", "Unavailable"),
        ];
        let hosts = |targets: Vec<Target>| -> Vec<String> {
            targets.into_iter().map(|target| target.host).collect()
        };
        assert_eq!(hosts(turned(&before, &bsls(&now))), ["a.test", "b.test"]);
        assert!(turned(&Phases::new(), &bsls(&now)).is_empty());
    }

    fn record(number: u64, chain: &[u8]) -> ProbeRecord {
        let chain = Arc::from(vec![chain.to_vec()]);
        ProbeRecord {
            number,
            at: 0,
            result: Ok(chain),
        }
    }

    #[test]
    fn a_request_is_done_when_each_endpoint_was_probed_after_it() {
        let targets = bsls(&[("a", ""), ("b", "")]);
        let targets: BTreeSet<_> = super::super::location::targets(&targets);
        let [a, b] = [0, 1].map(|at| targets.iter().nth(at).unwrap().clone());
        let mut results = ProbeResults::from([(a.clone(), record(4, b"x"))]);
        let request = ProbeRequest::new("r".to_owned(), 4);
        assert!(request.is_done(&BTreeSet::new(), &results));
        assert!(!request.is_done(&targets, &results));
        results.insert(b, record(5, b"y"));
        assert!(!request.is_done(&targets, &results));
        let before = results.clone();
        assert_eq!(Novelty::of(&targets, &before, &results), Novelty::Nothing);
        results.insert(a.clone(), record(6, b"x"));
        assert!(request.is_done(&targets, &results));
        assert_eq!(Novelty::of(&targets, &before, &results), Novelty::Time);
        results.insert(a, record(7, b"z"));
        assert_eq!(Novelty::of(&targets, &before, &results), Novelty::Finding);
    }
}
