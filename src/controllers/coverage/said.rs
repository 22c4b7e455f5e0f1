//! What was said about workloads, so that nothing is said too often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::audit::CoverageIssues;
use crate::injection::coverage::State;
use crate::kubernetes::workloads::Workload;

/// The same is said again only after so long, which is also how long the API server keeps Events.
const AGAIN: Duration = Duration::from_hours(1);

/// What was said, and when.
#[derive(Debug, Default)]
pub(super) struct Said {
    at: BTreeMap<(Workload, State), Instant>,
    /// The workloads in trouble when we last looked.
    with_issues: BTreeSet<Workload>,
}

/// What is to be said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// CoverageIssues that are new, or last.
    pub(super) issues: Vec<(Workload, State)>,
    /// Workloads whose troubles are over.
    pub(super) over: Vec<Workload>,
}

impl Said {
    /// What to say of `troubles` now, each of them once an hour at the most.
    pub(super) fn due(&mut self, issues: &CoverageIssues, now: Instant) -> Due {
        self.at.retain(|_, said| now - *said < AGAIN);
        let new = issues.keys().filter(|key| !self.at.contains_key(key));
        let new: Vec<_> = new.cloned().collect();
        self.at.extend(new.iter().cloned().map(|key| (key, now)));
        let with_issues = issues.keys().map(|(workload, _)| workload.clone());
        let before = std::mem::replace(&mut self.with_issues, with_issues.collect());
        let over = before.difference(&self.with_issues).cloned().collect();
        Due { issues: new, over }
    }

    /// When something that lasts is to be said again.
    pub(super) fn next(&self, issues: &CoverageIssues) -> Option<Instant> {
        let said = issues.keys().filter_map(|key| self.at.get(key));
        said.min().map(|said| *said + AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::coverage::audit::CoverageIssue;
    use crate::kubernetes::workloads::Kind;

    fn velero() -> Workload {
        Workload {
            kind: Kind::Deployment,
            name: "velero".to_owned(),
        }
    }

    fn issues(states: &[State]) -> CoverageIssues {
        let issue = CoverageIssue {
            uid: None,
            note: String::new(),
        };
        let keys = states.iter().map(|state| (velero(), *state));
        keys.map(|key| (key, issue.clone())).collect()
    }

    #[test]
    fn says_a_trouble_once_and_again_after_an_hour() {
        let mut said = Said::default();
        let start = Instant::now();
        let stale = issues(&[State::Stale]);
        let mut at = |issues: &CoverageIssues, minute| {
            let due = said.due(issues, start + Duration::from_mins(minute));
            (due.issues.len(), due.over.len())
        };
        assert_eq!(at(&stale, 0), (1, 0));
        assert_eq!(at(&stale, 1), (0, 0));
        // Another state is another trouble; one that comes back is not a new one.
        assert_eq!(at(&issues(&[State::Stale, State::Uninjected]), 2), (1, 0));
        assert_eq!(at(&issues(&[]), 3), (0, 1));
        assert_eq!(at(&issues(&[]), 4), (0, 0));
        assert_eq!(at(&stale, 5), (0, 0));
        assert_eq!(at(&stale, 61), (1, 0));
    }

    #[test]
    fn knows_when_to_speak_again() {
        let mut said = Said::default();
        let start = Instant::now();
        let stale = issues(&[State::Stale]);
        said.due(&stale, start);
        assert_eq!(said.next(&stale), Some(start + AGAIN));
        assert_eq!(said.next(&issues(&[])), None);
    }
}
