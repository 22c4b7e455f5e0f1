//! Which running Pods of Velero carry the injection, and which do not, and why.
//!
//! The judge is the injection itself, run over the Pod as it lives: what it would still add is what
//! the Pod lacks. So the audit can never disagree with the webhook.

mod tally;

pub use tally::Tally;

use std::fmt;

use crate::decision::{self, Fact, Facts, Finding, Lookup, Outcome, Report};
use crate::injection;
use crate::names::AWS_CA_BUNDLE;
use crate::velero::pod::Pod;
use crate::velero::pod_kind::{self, PodKind};
use crate::velero::pod_status::Status;

/// Longest time until a kubelet has a new bundle in the volume of a Pod that runs: its sync period
/// and the life of its cache, both a minute by default.
const KUBELET_DELAY: i64 = 120;

/// How a Pod stands to the CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It carries the injection, and its processes have read what the bundle holds.
    Current,
    /// It was made before velero-trust, or while that was down; made again it is injected.
    Uninjected,
    /// Its template sets what the injection would set, so that making it again changes nothing.
    Conflicting,
    /// A label or an annotation keeps us out of it.
    OptedOut,
    /// It carries the injection, but its processes began before the newest certificate was added,
    /// and Go reads `SSL_CERT_DIR` once per process.
    Stale,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Current,
        Self::Uninjected,
        Self::Conflicting,
        Self::OptedOut,
        Self::Stale,
    ];

    /// Its name, as metrics and reports give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Uninjected => "uninjected",
            Self::Conflicting => "conflicting",
            Self::OptedOut => "opted-out",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the annotations of a namespace's bundle say to its Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// When a certificate was last added, in seconds since 1970.
    pub last_added: Option<i64>,
    /// The namespace is held: its Pods get no `AWS_CA_BUNDLE`.
    pub held: bool,
}

/// What of a Pod, or of a template, decides on its state. It is the same until the Pod itself
/// changes, however often its status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCoverage {
    /// What Velero's Pod it is; none for one that asks for the injection by label.
    pub kind: Option<PodKind>,
    /// A label or an annotation keeps us out of it.
    pub opted_out: bool,
    /// What stands in the way of the injection.
    pub conflicts: Vec<Finding>,
    missing: Missing,
    started: StartTimes,
}

/// What the injection would still add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// Only `AWS_CA_BUNDLE`, as is right in a namespace that is held.
    AwsCaBundle,
    More,
}

/// When what reads `SSL_CERT_DIR` began, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StartTimes {
    /// The Pod.
    pod: Option<i64>,
    /// The eldest of its processes that are injected.
    process: Option<i64>,
}

impl PodCoverage {
    /// How `pod` of `namespace` stands; none when it is neither Velero's nor asks for the bundle,
    /// or is finished.
    pub fn of(namespace: &str, pod: &Pod<'_>, status: &Status<'_>) -> Option<Self> {
        let kind = pod_kind::kind(pod);
        let asks = injection::is_asked_for(pod);
        let ours = (kind.is_some() || asks) && !injection::is_excluded(namespace, pod);
        if !ours || status.is_finished() {
            return None;
        }
        let mut free = remaining(namespace, pod, false);
        let held = remaining(namespace, pod, true);
        free.findings
            .retain(|finding| injection::is_conflict(finding.rule));
        let missing = match (free.patch.as_slice(), held.patch.as_slice()) {
            ([], _) => Missing::Nothing,
            (_, []) => Missing::AwsCaBundle,
            _ => Missing::More,
        };
        Some(Self {
            kind,
            opted_out: injection::is_opted_out(pod),
            conflicts: free.findings,
            missing,
            started: StartTimes::of(pod, status),
        })
    }

    /// How the template of Pods stands.
    pub fn of_template(namespace: &str, template: &Pod<'_>) -> Option<Self> {
        Self::of(namespace, template, &Status::default())
    }

    /// The state while the bundle says this.
    pub fn state(&self, bundle: Bundle) -> State {
        if self.opted_out {
            State::OptedOut
        } else if !self.conflicts.is_empty() {
            // Whatever else it lacks: a new template makes the Pod anew as well.
            State::Conflicting
        } else {
            match self.missing {
                Missing::More => State::Uninjected,
                Missing::AwsCaBundle if !bundle.held => State::Uninjected,
                _ if self.started.is_before(bundle.last_added) => State::Stale,
                _ => State::Current,
            }
        }
    }

    /// Why it is in that state, for a person; empty when there is nothing to say.
    pub fn why(&self, bundle: Bundle) -> String {
        match (self.state(bundle), self.missing) {
            (State::Current, Missing::AwsCaBundle) => {
                format!("held: without {AWS_CA_BUNDLE}, which is right")
            }
            (State::Current, _) => String::new(),
            (State::Uninjected, Missing::AwsCaBundle) => {
                format!("made while the namespace was held, so without {AWS_CA_BUNDLE}")
            }
            (State::Uninjected, _) => {
                "made before velero-trust was there, or while it was down".to_owned()
            }
            (State::Conflicting, _) => match self.conflicts.as_slice() {
                [] => String::new(),
                [only] => only.to_string(),
                [first, others @ ..] => format!("{first} (and {} more)", others.len()),
            },
            (State::OptedOut, _) => format!("{}=false", crate::names::INJECT),
            (State::Stale, _) => {
                "began before the newest certificate was added, and Go reads SSL_CERT_DIR once"
                    .to_owned()
            }
        }
    }
}

impl StartTimes {
    fn of(pod: &Pod<'_>, status: &Status<'_>) -> Self {
        if pod.is_windows() {
            // No SSL_CERT_DIR there; the AWS SDK reads its file again and again.
            return Self::default();
        }
        let injected = injection::injected(pod);
        let processes =
            injected.filter_map(|container| status.process_started_at(container.name()));
        Self {
            pod: status.started_at(),
            process: processes.min(),
        }
    }

    /// Whether a process may not have seen what was added then.
    fn is_before(self, added: Option<i64>) -> bool {
        let (Some(added), Some(process)) = (added, self.process) else {
            return false;
        };
        // A Pod that is older gets the new file a while later; a process that is restarted in it
        // meanwhile still reads the old one.
        let delay = match self.pod {
            Some(pod) if pod < added => KUBELET_DELAY,
            _ => 0,
        };
        process < added.saturating_add(delay)
    }
}

/// What the injection would still do to `pod`.
fn remaining(namespace: &str, pod: &Pod<'_>, held: bool) -> Report {
    let mut facts = Facts::default();
    let bundle = Fact::Bundle(decision::Bundle { held });
    let lookup = Lookup::Bundle(namespace.to_owned());
    facts.insert(lookup, Outcome::Found(bundle));
    injection::decide(namespace, pod, &facts)
}

#[cfg(test)]
mod tests;
