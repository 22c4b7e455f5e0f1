//! What the watches of a namespace say together.

use std::collections::BTreeMap;

use super::projection::Projection;
use super::watch::{Heard, What};
use crate::controllers::bundles::ObservedBundle;
use crate::injection::coverage::{Bundle, State, Tally};
use crate::kubernetes::workloads::{Kind, Running, Template, Workload};

/// Names of Pods that an Event lists; the rest is a number.
const NAMED: usize = 3;

/// What is known of one Velero namespace.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pods: Projection<Running>,
    deployments: Projection<Template>,
    daemon_sets: Projection<Template>,
    bundle: ObservedBundle,
}

/// A workload whose Pods are not as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CoverageIssue {
    /// Of the workload; none while it is not known.
    pub(super) uid: Option<String>,
    /// For a person: what is wrong and what to do.
    pub(super) note: String,
}

/// Workloads in trouble, and the state that their Pods are in.
pub(super) type CoverageIssues = BTreeMap<(Workload, State), CoverageIssue>;

impl Audit {
    /// Takes what was heard; tells whether it matters.
    pub(super) fn take(&mut self, heard: Heard) -> bool {
        match heard {
            Heard::Pods(event) => self.pods.take(event, Running::read),
            Heard::Workloads(kind, event) => self.workloads(kind).take(event, Template::read),
            Heard::Bundle(seen) => {
                let before = self.bundle();
                self.bundle = seen;
                self.bundle() != before
            }
            Heard::Refused(What::Pods) => self.pods.forget(),
            Heard::Refused(What::Workloads(kind)) => self.workloads(kind).forget(),
        }
    }

    fn workloads(&mut self, kind: Kind) -> &mut Projection<Template> {
        match kind {
            Kind::Deployment => &mut self.deployments,
            Kind::DaemonSet => &mut self.daemon_sets,
        }
    }

    /// How many Pods are in which state; none while the Pods or the bundle are not known.
    pub(super) fn tally(&self) -> Option<Tally> {
        let bundle = self.bundle()?;
        let states = self.pods.known()?.values();
        Some(states.map(|pod| pod.coverage.state(bundle)).collect())
    }

    /// The workloads that somebody should look after, opted out ones not among them: that was
    /// somebody's wish.
    pub(super) fn issues(&self, namespace: &str) -> CoverageIssues {
        let mut names = BTreeMap::<(Workload, State), Vec<(&str, &Running)>>::new();
        let Some((bundle, pods)) = self.bundle().zip(self.pods.known()) else {
            return CoverageIssues::new();
        };
        for (name, pod) in pods {
            let state = pod.coverage.state(bundle);
            if let (State::Uninjected | State::Conflicting | State::Stale, Some(workload)) =
                (state, &pod.workload)
            {
                let key = (workload.clone(), state);
                names.entry(key).or_default().push((name, pod));
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
        // A template that conflicts while it has no Pods.
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
        issues
    }

    /// The uid of a workload that is there.
    pub(super) fn uid(&self, workload: &Workload) -> Option<&str> {
        Some(&self.template(workload)?.uid)
    }

    /// What the bundle says; nothing where there is none.
    fn bundle(&self) -> Option<Bundle> {
        match &self.bundle {
            ObservedBundle::Unknown => None,
            ObservedBundle::Absent => Some(Bundle::default()),
            ObservedBundle::There { ours, .. } => Some(ours.unwrap_or_default()),
        }
    }

    fn template(&self, workload: &Workload) -> Option<&Template> {
        let of = match workload.kind {
            Kind::Deployment => &self.deployments,
            Kind::DaemonSet => &self.daemon_sets,
        };
        of.known()?.get(&workload.name)
    }

    fn templates(&self) -> impl Iterator<Item = (Workload, &Template)> {
        let of = [
            (Kind::Deployment, &self.deployments),
            (Kind::DaemonSet, &self.daemon_sets),
        ];
        of.into_iter().flat_map(|(kind, templates)| {
            let known = templates.known().into_iter().flatten();
            known.map(move |(name, template)| {
                let name = name.clone();
                (Workload { kind, name }, template)
            })
        })
    }
}

fn note(
    namespace: &str,
    workload: &Workload,
    state: State,
    pods: &[(&str, &Running)],
    bundle: Bundle,
) -> String {
    let named: Vec<_> = pods.iter().take(NAMED).map(|(name, _)| *name).collect();
    let mut named = named.join(", ");
    if pods.len() > NAMED {
        named = format!("{named} and {} more", pods.len() - NAMED);
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
