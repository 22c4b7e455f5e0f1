//! Checks whether the leader makes the webhooks active, and whether the API server reaches it.

use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::cli::doctor::diagnostic::{CheckSubject, Diagnostic};
use crate::cli::snapshot::activation_problem;

pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = CheckSubject::new("activation", "the webhooks");
    vec![match &cluster.activation {
        Err(why) => subject.unknown(why),
        Ok(None) => subject.unknown("the leader has not said what became of it"),
        Ok(Some(report)) if !report.by_leader => {
            subject.ok("they are made active by `velero-trust certs --install` (--activation=off)")
        }
        Ok(Some(report)) => match activation_problem(report) {
            Some((problem, fix)) => subject.fail(problem, fix),
            None if report.canary.is_none() => {
                subject.unknown("the leader has not asked the API server yet")
            }
            None => subject.ok("the leader keeps them active; the API server reaches velero-trust"),
        },
    }]
}
