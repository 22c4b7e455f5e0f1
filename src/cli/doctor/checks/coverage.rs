//! Which Pods of a Velero namespace run without the bundle as it is now.

use super::{Line, Of};
use crate::cli::doctor::seen::{Seen, Velero};
use crate::cli::live::Live;
use crate::injection::coverage::State;

pub(super) fn check(_: &Seen, velero: &Velero) -> Vec<Line> {
    let namespace = &velero.namespace;
    let of = Of::new("coverage", format!("Pods in namespace {namespace}"));
    let live = match &velero.live {
        Err(why) => return vec![of.unknown(why)],
        Ok(live) => live,
    };
    let wanted = live.tally().wanted();
    let groups = [
        (
            [State::Uninjected, State::Stale],
            "run without the bundle or with an old one",
        ),
        ([State::Conflicting; 2], "keep the bundle out"),
    ];
    // It prints the restarts, and what else is to be changed.
    let mend = format!("velero-trust rollout --velero-namespace {namespace}");
    let mut lines = Vec::new();
    for (states, what) in groups {
        let pods = pods(live, states);
        if let Some(first) = pods.first() {
            let seen = format!("{} of {wanted} {what}, such as {first}", pods.len());
            lines.push(of.clone().warn(seen, &mend));
        }
    }
    if lines.is_empty() && wanted > 0 {
        lines.push(of.ok(format!("{wanted} of {wanted} carry the bundle")));
    }
    lines
}

/// Those in one of these states, each with the reason.
fn pods(live: &Live, states: [State; 2]) -> Vec<String> {
    let pods = live.pods.iter().map(|(name, pod)| (name, &pod.coverage));
    let pods = pods.filter(|(_, coverage)| states.contains(&live.state(coverage)));
    pods.map(|(name, coverage)| format!("{name}: {}", coverage.why(live.facts())))
        .collect()
}
