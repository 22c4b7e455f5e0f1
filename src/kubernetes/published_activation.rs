//! What became of the activation, published by the leader for whoever may not read its log.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::owned_config_map;
use crate::names;
use crate::serving_ca::Authorities;

/// Key of the report, JSON.
const REPORT_KEY: &str = "activation.json";

/// Key of the identity of the replica that wrote it.
const HOLDER_KEY: &str = "holder";

/// What became of the activation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationReport {
    /// Whether the leader makes webhooks active, instead of `certs --install`.
    pub by_leader: bool,
    /// Why a webhook is not made active; null if nothing holds it up.
    pub held: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
    /// What the canary heard last; null before it was sent.
    pub canary: Option<CanaryReport>,
    /// The CA of the serving certificates; null if they come from files.
    #[serde(default)]
    pub serving_ca: Option<ServingCaReport>,
}

/// velero-trust's own CA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingCaReport {
    /// When the CA that signs expires; null if there is none yet.
    pub not_after: Option<Timestamp>,
    /// Whether the next CA is there, which signs once every webhook trusts it.
    pub has_next: bool,
    /// Until when the CA before is trusted; null if there is none.
    pub previous_until: Option<Timestamp>,
}

impl ServingCaReport {
    /// Says of `authorities` what their Secret need not be read for.
    pub fn of(authorities: Option<&Authorities>) -> Self {
        let time = |seconds| Timestamp::from_second(seconds).ok();
        authorities.map_or_else(Self::default, |all| Self {
            not_after: time(all.signing().certificate().not_after),
            has_next: all.next().is_some(),
            previous_until: all.previous().and_then(|_| time(all.others_until())),
        })
    }
}

/// What the canary heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryReport {
    /// `answered`, or the kind of failure.
    pub result: String,
    /// What the API server said.
    pub said: String,
    /// The likely cause, and what to do about it; empty if it was answered.
    pub cause: String,
}

/// Publishes the report of the replica `identity`, which leads, in namespace `own`.
pub async fn publish(
    client: &Client,
    own: &str,
    identity: &str,
    report: &ActivationReport,
) -> kube::Result<()> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let text = serde_json::to_string(report).map_err(kube::Error::SerdeError)?;
    let data = BTreeMap::from([
        (REPORT_KEY.to_owned(), text),
        (HOLDER_KEY.to_owned(), identity.to_owned()),
    ]);
    owned_config_map::apply(&config_maps, names::ACTIVATION, data, None).await?;
    Ok(())
}

/// Returns the report of the leader of the installation in namespace `own`; `None` if the replica that
/// leads has not published one.
pub async fn read(client: &Client, own: &str) -> kube::Result<Option<ActivationReport>> {
    let (map, lease) = owned_config_map::read_with_lease(client, own, names::ACTIVATION).await?;
    Ok(map.zip(lease).and_then(|(map, lease)| reported(map, lease)))
}

fn reported(map: ConfigMap, lease: Lease) -> Option<ActivationReport> {
    let text = owned_config_map::of_leader(map, lease, HOLDER_KEY)?.remove(REPORT_KEY)?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving_ca::rotation::{self, Step};
    use serde_json::json;

    #[test]
    fn the_ca_is_told_at_every_step_of_its_rotation() {
        const NOW: i64 = 1_790_000_000;
        let first = Authorities::first(NOW).unwrap();
        let told = ServingCaReport::of(Some(&first));
        let end = first.signing().certificate().not_after;
        assert_eq!(told.not_after.unwrap().as_second(), end);
        assert!(!told.has_next && told.previous_until.is_none(), "{told:?}");
        let next = rotation::take(&first, Step::AddNext, NOW).unwrap();
        assert!(ServingCaReport::of(Some(&next)).has_next);
        let promoted = rotation::take(&next, Step::Promote, NOW).unwrap();
        let told = ServingCaReport::of(Some(&promoted));
        let until = told.previous_until.unwrap().as_second();
        assert!(
            !told.has_next && until == promoted.others_until(),
            "{told:?}"
        );
        assert_eq!(ServingCaReport::of(None).not_after, None);
    }

    #[test]
    fn only_the_report_of_the_replica_that_leads_counts() {
        let map = || {
            let report = ActivationReport {
                held: Some("off".to_owned()),
                ..ActivationReport::default()
            };
            let report = serde_json::to_string(&report).unwrap();
            let map = json!({"metadata": {}, "data": {"activation.json": report, "holder": "a"}});
            serde_json::from_value(map).unwrap()
        };
        let lease = |holder: &str| {
            let lease = json!({"metadata": {}, "spec": {"holderIdentity": holder}});
            serde_json::from_value(lease).unwrap()
        };
        let held = reported(map(), lease("a")).and_then(|report| report.held);
        assert_eq!(held.as_deref(), Some("off"));
        assert_eq!(reported(map(), lease("b")), None);
    }
}
