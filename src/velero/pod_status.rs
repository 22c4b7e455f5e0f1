//! A view of a Pod's `status`: whether the Pod runs and since when.

use serde::Deserialize;

use super::lenient::null_is_default;
use super::text::{Text, or_empty, seconds};

/// The part of a Pod that only a cluster sets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Observed<'a> {
    /// `status`.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub status: Status<'a>,
}

/// The fields of `status` that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status<'a> {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(borrow)]
    pub phase: Option<Text<'a>>,
    /// Time when a kubelet accepted the Pod.
    #[serde(borrow)]
    pub start_time: Option<Text<'a>>,
    /// Statuses of the containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub container_statuses: Vec<ContainerStatus<'a>>,
    /// Statuses of the init containers.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub init_container_statuses: Vec<ContainerStatus<'a>>,
}

/// The fields of a container's status that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus<'a> {
    /// The container's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The current state.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub state: ContainerState<'a>,
}

/// The fields of a container's state that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState<'a> {
    /// Set while the container runs.
    #[serde(borrow)]
    pub running: Option<Running<'a>>,
}

/// The state of a container that runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running<'a> {
    /// Time when the container last started.
    #[serde(borrow)]
    pub started_at: Option<Text<'a>>,
}

impl Status<'_> {
    /// Whether the Pod has terminated.
    pub fn is_finished(&self) -> bool {
        matches!(or_empty(self.phase.as_ref()), "Succeeded" | "Failed")
    }

    /// Returns the time when the Pod started, in seconds since 1970.
    pub fn started_at(&self) -> Option<i64> {
        seconds(self.start_time.as_ref()?)
    }

    /// Returns the time when the process of the container `name` started, in seconds since 1970, or
    /// `None` while it does not run. Without a status for the container, returns the Pod's start
    /// time.
    pub fn process_started_at(&self, name: &str) -> Option<i64> {
        let mut all = self
            .container_statuses
            .iter()
            .chain(&self.init_container_statuses);
        match all.find(|status| or_empty(status.name.as_ref()) == name) {
            Some(status) => seconds(status.state.running.as_ref()?.started_at.as_ref()?),
            None => self.started_at(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(status: &str) -> Option<i64> {
        let pod = format!(r#"{{"status": {status}}}"#);
        let observed: Observed<'_> = serde_json::from_str(&pod).unwrap();
        observed.status.process_started_at("velero")
    }

    #[test]
    fn a_process_is_as_old_as_its_container_then_as_its_pod() {
        let start = r#""startTime": "1970-01-01T00:01:00Z""#;
        let of = |state: &str| {
            began(&format!(
                r#"{{{start}, "containerStatuses": [{{"name": "velero", "state": {state}}}]}}"#
            ))
        };
        assert_eq!(began("null"), None);
        assert_eq!(began(&format!("{{{start}}}")), Some(60));
        assert_eq!(
            of(r#"{"running": {"startedAt": "1970-01-01T00:02:00Z"}}"#),
            Some(120)
        );
        // When it starts again, it reads everything again.
        assert_eq!(of(r#"{"waiting": {"reason": "CrashLoopBackOff"}}"#), None);
    }
}
