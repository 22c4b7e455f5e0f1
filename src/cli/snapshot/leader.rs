//! The replica that runs the controllers, from their Lease.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use serde::Serialize;

use crate::kubernetes::error;
use crate::names;

/// Additional time, in seconds, before an expired Lease counts as stale. It allows for a difference
/// between the clocks of this machine and of the leader.
const MAX_CLOCK_SKEW_SECONDS: i64 = 30;

/// The replica that runs the controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Leader {
    pub(in crate::cli) state: LeaderState,
    pub(in crate::cli) holder: Option<String>,
    pub(in crate::cli) renewed: Option<Timestamp>,
    /// Why the leader is not known, or that there is no Lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) message: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum LeaderState {
    Leading,
    /// The holder has not renewed its Lease in time.
    Stale,
    /// There is no Lease, or it has no holder.
    #[default]
    Absent,
    /// The Lease could not be read.
    Unknown,
}

impl Leader {
    /// Returns the problem that nobody leads, or that it is not known who does.
    pub(in crate::cli) fn problem(&self) -> Option<String> {
        match self.state {
            LeaderState::Leading => None,
            LeaderState::Stale => Some(
                "the leader of velero-trust has not renewed its Lease; are its Pods running?"
                    .to_owned(),
            ),
            LeaderState::Absent => Some(self.message.clone().unwrap_or_else(|| {
                "nobody leads velero-trust: no bundle is kept, nothing is audited".to_owned()
            })),
            LeaderState::Unknown => {
                let why = self.message.as_deref().unwrap_or_default();
                Some(format!("who leads velero-trust is not known: {why}"))
            }
        }
    }
}

/// Reads the holder of the controllers' Lease.
pub(in crate::cli) async fn read_leader(client: &Client, ours: &str, now: Timestamp) -> Leader {
    let leases = Api::<Lease>::namespaced(client.clone(), ours);
    match leases.get_opt(names::APP).await {
        Ok(lease) => leader_from_lease(lease, ours, now),
        Err(error) => Leader {
            state: LeaderState::Unknown,
            message: Some(error::lookup_error(&error).message),
            ..Leader::default()
        },
    }
}

fn leader_from_lease(lease: Option<Lease>, ours: &str, now: Timestamp) -> Leader {
    match lease {
        Some(lease) => lease_holder(lease, now),
        None => Leader {
            message: Some(format!(
                "no Lease {0} in namespace {ours}: is {0} installed there? --namespace is {0}'s own \
                 namespace",
                names::APP
            )),
            ..Leader::default()
        },
    }
}

fn lease_holder(lease: Lease, now: Timestamp) -> Leader {
    let spec = lease.spec.unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let renewed = spec.renew_time.map(|time| time.0);
    let max_age =
        i64::from(spec.lease_duration_seconds.unwrap_or_default()) + MAX_CLOCK_SKEW_SECONDS;
    let is_fresh = |renewed: Timestamp| now.as_second() - renewed.as_second() <= max_age;
    let state = match (&holder, renewed) {
        (None, _) => LeaderState::Absent,
        (Some(_), Some(renewed)) if is_fresh(renewed) => LeaderState::Leading,
        _ => LeaderState::Stale,
    };
    Leader {
        state,
        holder,
        renewed,
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_is_held_stale_or_nobodys() {
        let state = |spec: serde_json::Value, now| {
            let lease = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            lease_holder(lease, Timestamp::from_second(now).unwrap()).state
        };
        let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 6,
            "renewTime": "1970-01-01T00:01:00.000000Z"});
        assert_eq!(state(spec.clone(), 60), LeaderState::Leading);
        assert_eq!(state(spec.clone(), 96), LeaderState::Leading);
        assert_eq!(state(spec.clone(), 97), LeaderState::Stale);
        // The leader's clock is ahead of ours.
        assert_eq!(state(spec, 0), LeaderState::Leading);
        assert_eq!(state(json!({"holderIdentity": ""}), 0), LeaderState::Absent);
        assert_eq!(state(json!({"holderIdentity": "a"}), 0), LeaderState::Stale);
    }

    #[test]
    fn without_a_lease_velero_trust_is_elsewhere() {
        let leader = leader_from_lease(None, "velero", Timestamp::UNIX_EPOCH);
        let message = "no Lease velero-trust in namespace velero: is velero-trust installed there? \
                       --namespace is velero-trust's own namespace";
        assert_eq!(leader.state, LeaderState::Absent);
        assert_eq!(leader.message.as_deref(), Some(message));
        let nobodys = leader_from_lease(Some(Lease::default()), "velero", Timestamp::UNIX_EPOCH);
        assert_eq!(nobodys.state, LeaderState::Absent);
        assert_eq!(nobodys.message, None);
    }
}
