//! The coverage of Velero's running Pods: which carry the injection, which do not, and why.
//!
//! The audit runs the injection itself over the live Pod: a Pod lacks exactly what the injection
//! would still add. So the audit can never disagree with the webhook.

mod tally;

pub use tally::Tally;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::decision::{self, Fact, Facts, Finding, Lookup, Outcome, Report};
use crate::injection;
use crate::names::AWS_CA_BUNDLE;
use crate::velero::pod::Pod;
use crate::velero::pod_kind::{self, PodKind};
use crate::velero::pod_status::Status;

/// Maximum time in seconds until a kubelet updates the bundle in the volume of a running Pod: the
/// kubelet's sync period plus the lifetime of its cache, both one minute by default.
const KUBELET_DELAY: i64 = 120;

/// The state of a Pod with regard to the CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The Pod is injected, and its processes have read the current bundle.
    Current,
    /// The Pod was created before velero-trust was installed or while it was down. A new Pod from
    /// the same template is injected.
    Uninjected,
    /// The template sets something that the injection would set, so a new Pod is not injected
    /// either.
    Conflicting,
    /// A label or an annotation excludes the Pod.
    OptedOut,
    /// The Pod is injected, but its processes started before the newest certificate was added, and
    /// Go reads `SSL_CERT_DIR` only once per process.
    Stale,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Current,
        Self::Uninjected,
        Self::Conflicting,
        Self::OptedOut,
        Self::Stale,
    ];

    /// Returns the name used in metrics and reports.
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

/// As [`State::as_str`].
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The annotations of a namespace's bundle that affect the state of its Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleSummary {
    /// Time when a certificate was last added, in seconds since 1970.
    pub last_added: Option<i64>,
    /// Whether the namespace is held: its Pods get no `AWS_CA_BUNDLE`.
    pub held: bool,
}

/// The properties of a Pod or a template that determine its state. They stay equal while only
/// unrelated parts of the Pod's status are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCoverage {
    /// The kind of Velero's Pod; `None` for a Pod that requests the injection by label.
    pub kind: Option<PodKind>,
    /// Whether a label or an annotation excludes the Pod.
    pub opted_out: bool,
    /// Settings that conflict with the injection.
    pub conflicts: Vec<Finding>,
    missing: Missing,
    started: StartTimes,
}

/// The part of the injection that a Pod lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// Only `AWS_CA_BUNDLE`, which is correct in a held namespace.
    AwsCaBundle,
    More,
}

/// The start times of what reads `SSL_CERT_DIR`, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StartTimes {
    /// The Pod.
    pod: Option<i64>,
    /// The oldest process of the injected containers.
    process: Option<i64>,
}

impl PodCoverage {
    /// Returns the coverage of `pod` in `namespace`. Returns `None` for a Pod that is not Velero's
    /// and does not request the bundle, and for a Pod that has terminated.
    pub fn of(namespace: &str, pod: &Pod<'_>, status: &Status<'_>) -> Option<Self> {
        let kind = pod_kind::kind(pod);
        let asks = injection::is_asked_for(pod);
        let ours = (kind.is_some() || asks) && !injection::is_excluded(pod);
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

    /// Returns the coverage of the Pods that `template` will create.
    pub fn of_template(namespace: &str, template: &Pod<'_>) -> Option<Self> {
        Self::of(namespace, template, &Status::default())
    }

    /// Returns the state for the given bundle.
    pub fn state(&self, bundle: BundleSummary) -> State {
        if self.opted_out {
            State::OptedOut
        } else if !self.conflicts.is_empty() {
            // Whatever else is missing: a corrected template replaces the Pod as well.
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

    /// Returns the reason for the state, for users; empty if there is nothing to explain.
    pub fn why(&self, bundle: BundleSummary) -> String {
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
            // SSL_CERT_DIR is not set on Windows, and the AWS SDK reads its file repeatedly.
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

    /// Whether a process may have started too early to read a certificate added at `added`.
    fn is_before(self, added: Option<i64>) -> bool {
        let (Some(added), Some(process)) = (added, self.process) else {
            return false;
        };
        // In an older Pod the file is updated with a delay. A process that restarts in the meantime
        // still reads the old file.
        let delay = match self.pod {
            Some(pod) if pod < added => KUBELET_DELAY,
            _ => 0,
        };
        process < added.saturating_add(delay)
    }
}

/// Returns the result of running the injection over `pod` again.
fn remaining(namespace: &str, pod: &Pod<'_>, held: bool) -> Report {
    let mut facts = Facts::default();
    let bundle = Fact::Bundle(decision::Bundle { held });
    let lookup = Lookup::Bundle(namespace.to_owned());
    facts.insert(lookup, Outcome::Found(bundle));
    injection::decide(namespace, pod, &facts)
}

#[cfg(test)]
mod tests;
