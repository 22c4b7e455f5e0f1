//! What became of the activation, published by the leader for whoever may not read its log.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::owned_config_map;
use crate::names;

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
    use serde_json::json;

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
