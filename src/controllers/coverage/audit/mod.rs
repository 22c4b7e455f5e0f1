//! Computes the state of a namespace's Pods and their issues from what its watches know.

use std::collections::BTreeMap;

use crate::controllers::observed_bundle::ObservedBundle;
use crate::decision::Key;
use crate::injection::coverage::{BundleSummary, State, Tally};
use crate::kubernetes::workloads::{Kind, RunningPod, Workload, WorkloadTemplate};

/// Most Pods that an Event lists by name. It only counts the rest.
const MAX_NAMES: usize = 3;

/// What is known about one Velero namespace now; `None` for what is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audit<'a> {
    /// The state of the bundle. Without a bundle the Pods are audited against an empty one.
    pub(super) bundle: Option<BundleSummary>,
    pub(super) pods: Option<&'a BTreeMap<Key, RunningPod>>,
    pub(super) deployments: Option<&'a BTreeMap<Key, WorkloadTemplate>>,
    pub(super) daemon_sets: Option<&'a BTreeMap<Key, WorkloadTemplate>>,
}

/// What is wrong with the Pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CoverageIssue {
    /// The uid of the workload; `None` while the workload is not known.
    pub(super) uid: Option<String>,
    /// For a person: what is wrong and what to do.
    pub(super) note: String,
}

/// The issues of a namespace, by workload and the state of its Pods.
pub(super) type CoverageIssues = BTreeMap<(Workload, State), CoverageIssue>;

/// Returns the state of an observed bundle; `None` while it is not known.
pub(super) fn bundle_summary(bundle: &ObservedBundle) -> Option<BundleSummary> {
    match bundle {
        ObservedBundle::Unknown => None,
        ObservedBundle::Absent => Some(BundleSummary::default()),
        ObservedBundle::Present(metadata) => Some(metadata.ours.unwrap_or_default()),
    }
}

impl<'a> Audit<'a> {
    /// Returns the number of Pods in each state; `None` while Pods or bundle are not known.
    pub(super) fn tally(&self) -> Option<Tally> {
        let bundle = self.bundle?;
        let states = self.pods?.values();
        Some(states.map(|pod| pod.coverage.state(bundle)).collect())
    }

    /// Returns the workloads that need attention; `None` while Pods or bundle are not known. A
    /// workload that opted out needs none, because somebody wanted that.
    pub(super) fn issues(&self, namespace: &str) -> Option<CoverageIssues> {
        let mut names = BTreeMap::<(Workload, State), Vec<(&str, &RunningPod)>>::new();
        let (bundle, pods) = self.bundle.zip(self.pods)?;
        for (key, pod) in pods {
            let state = pod.coverage.state(bundle);
            if let (State::Uninjected | State::Conflicting | State::Stale, Some(workload)) =
                (state, &pod.workload)
            {
                let pods = names.entry((workload.clone(), state)).or_default();
                pods.push((&key.name, pod));
            }
        }
        let mut issues = CoverageIssues::new();
        for ((workload, state), pods) in names {
            let note = note(namespace, &workload, state, &pods, bundle);
            let uid = self
                .template(&workload)
                .map(|template| template.uid.clone());
            issues.insert((workload, state), CoverageIssue { uid, note });
        }
        // A template that conflicts is an issue even while it has no Pods.
        for (workload, template) in self.templates() {
            if template.coverage.state(bundle) == State::Conflicting {
                let note = template.coverage.why(bundle);
                let issue = CoverageIssue {
                    uid: Some(template.uid.clone()),
                    note: format!("The template keeps the CA bundle out: {note}"),
                };
                issues
                    .entry((workload, State::Conflicting))
                    .or_insert(issue);
            }
        }
        Some(issues)
    }

    /// Returns the uid of a workload; `None` if it does not exist.
    pub(super) fn uid(&self, workload: &Workload) -> Option<&'a str> {
        Some(&self.template(workload)?.uid)
    }

    fn template(&self, workload: &Workload) -> Option<&'a WorkloadTemplate> {
        let mut templates = self.templates();
        templates
            .find(|(of, _)| of == workload)
            .map(|(_, template)| template)
    }

    fn templates(&self) -> impl Iterator<Item = (Workload, &'a WorkloadTemplate)> + use<'a> {
        let of = [
            (Kind::Deployment, self.deployments),
            (Kind::DaemonSet, self.daemon_sets),
        ];
        of.into_iter().flat_map(|(kind, templates)| {
            let known = templates.into_iter().flatten();
            known.map(move |(key, template)| {
                let name = key.name.clone();
                (Workload { kind, name }, template)
            })
        })
    }
}

fn note(
    namespace: &str,
    workload: &Workload,
    state: State,
    pods: &[(&str, &RunningPod)],
    bundle: BundleSummary,
) -> String {
    let named: Vec<_> = pods.iter().take(MAX_NAMES).map(|(name, _)| *name).collect();
    let mut named = named.join(", ");
    if pods.len() > MAX_NAMES {
        named = format!("{named} and {} more", pods.len() - MAX_NAMES);
    }
    let why = pods.first().map(|(_, pod)| pod.coverage.why(bundle));
    let why = why.unwrap_or_default();
    let restart = format!("kubectl -n {namespace} rollout restart {workload}");
    match state {
        State::Conflicting => {
            format!("Pods without the whole CA bundle: {named}. The template keeps it out: {why}")
        }
        State::Stale => format!("Pods that do not trust every CA yet: {named}; {why}: {restart}"),
        _ => format!("Pods without the CA bundle: {named}; {why}: {restart}"),
    }
}

#[cfg(test)]
mod tests;
