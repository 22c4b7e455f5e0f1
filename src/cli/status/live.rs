//! `velero-trust status --live`: asks the leader to probe the endpoints now.
//!
//! The leader sees the network that Velero sees, and this machine may not. The request is an
//! annotation on the report, in velero-trust's own namespace, so only who may write ConfigMaps there
//! can ask. It names no endpoint: the leader probes those that it knows, within the limits of its
//! probes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::model::LiveProbe;
use crate::cli::cluster::api_error;
use crate::cli::eprint_line;
use crate::kubernetes::owned_config_map;
use crate::kubernetes::report::{self, NamespaceReport};
use crate::names;

/// Time between two looks at a report.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Time after which the command says what it waits for.
const QUIET: Duration = Duration::from_secs(3);

/// Field manager of a request.
const FIELD_MANAGER: &str = "velero-trust-status";

/// Asks the leader to probe the endpoints of these namespaces, and waits until it has, for `timeout`
/// at most. Nobody can be asked about a namespace without a report, so that its probe is not done.
///
/// # Errors
/// If a request cannot be made.
pub(super) async fn probe(
    client: &Client,
    ours: &str,
    namespaces: &[String],
    timeout: Duration,
) -> anyhow::Result<BTreeMap<String, LiveProbe>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), ours);
    let requested = Timestamp::now();
    let request = requested.to_string();
    let mut probes = BTreeMap::new();
    for namespace in namespaces {
        let probe = LiveProbe {
            requested,
            seconds: timeout.as_secs(),
            is_asked: ask(&config_maps, ours, namespace, &request).await?,
            is_done: false,
        };
        probes.insert(namespace.clone(), probe);
    }
    let start = Instant::now();
    let mut was_told = false;
    loop {
        let is_open = |probe: &LiveProbe| probe.is_asked && !probe.is_done;
        for (namespace, probe) in probes.iter_mut().filter(|(_, probe)| is_open(probe)) {
            // What cannot be read now may be readable the next time.
            let map = config_maps.get_opt(&report::name(namespace)).await;
            probe.is_done = map.ok().flatten().is_some_and(|map| is_answered(&map));
        }
        let open = probes.iter().filter(|(_, probe)| is_open(probe));
        let open: Vec<_> = open.map(|(namespace, _)| namespace.as_str()).collect();
        if open.is_empty() || start.elapsed() >= timeout {
            return Ok(probes);
        }
        if start.elapsed() >= QUIET && !std::mem::replace(&mut was_told, true) {
            eprint_line(&format!(
                "velero-trust: waiting for the leader to probe the endpoints of {}",
                open.join(", ")
            ));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Writes the request on the report on `namespace`. Returns whether there is a report.
async fn ask(
    config_maps: &Api<ConfigMap>,
    ours: &str,
    namespace: &str,
    request: &str,
) -> anyhow::Result<bool> {
    let name = report::name(namespace);
    let annotations = json!({names::PROBE_REQUESTED: request});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match config_maps.patch_metadata(&name, &params, &patch).await {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(Error::Api(status)) if status.code == 403 => bail!(
            "you may not ask the leader to probe now ({}); without --live, the status shows what it saw \
             last, and when",
            status.message
        ),
        Err(error) => Err(api_error(
            "patch",
            &format!("ConfigMap {ours}/{name}"),
            &error,
        )),
    }
}

/// Returns whether the last request on a report is done. If that is not ours, somebody asked after us,
/// and what is probed after their request is also probed after ours.
fn is_answered(map: &ConfigMap) -> bool {
    let annotations = map.metadata.annotations.as_ref();
    let asked = annotations.and_then(|annotations| annotations.get(names::PROBE_REQUESTED));
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(names::REPORT_KEY));
    let is_leaders = owned_config_map::restored_by(&map.metadata).is_none();
    let text = text.filter(|_| is_leaders);
    let report = text.and_then(|text| serde_json::from_str::<NamespaceReport>(text).ok());
    let done = report.and_then(|report| report.probe_request_done);
    asked.is_some() && asked == done.as_ref()
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use tower::BoxError;

    use super::*;

    #[tokio::test]
    async fn where_there_is_no_report_the_request_is_not_done() {
        let absent = |_| async {
            let status = json!({
                "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
            });
            let answer = Body::from(status.to_string().into_bytes());
            Ok::<_, BoxError>(http::Response::builder().status(404).body(answer)?)
        };
        let client = Client::new(tower::service_fn(absent), "default");
        let namespaces = ["velero".to_owned()];
        let long = Duration::from_mins(10);
        let probes = probe(&client, "velero-trust", &namespaces, long).await;
        let probes = probes.unwrap();
        let done: Vec<_> = probes
            .iter()
            .map(|(name, one)| (&**name, one.is_done))
            .collect();
        assert_eq!(done, [("velero", false)]);
    }

    #[test]
    fn a_request_is_answered_when_the_last_one_is_done() {
        let answered = |asked: Option<&str>, done: Option<&str>| {
            let annotations = asked.map(|asked| json!({names::PROBE_REQUESTED: asked}));
            let report = NamespaceReport {
                probe_request_done: done.map(str::to_owned),
                ..NamespaceReport::default()
            };
            let report = serde_json::to_string(&report).unwrap();
            let map = json!({
                "metadata": {"annotations": annotations},
                "data": {names::REPORT_KEY: report},
            });
            is_answered(&serde_json::from_value(map).unwrap())
        };
        assert!(answered(Some("2"), Some("2")));
        assert!(!answered(Some("2"), Some("1")));
        assert!(!answered(Some("2"), None));
        assert!(!answered(None, None) && !answered(None, Some("1")));
        assert!(!is_answered(&ConfigMap::default()));
        let report = NamespaceReport {
            probe_request_done: Some("2".to_owned()),
            ..NamespaceReport::default()
        };
        let restored = json!({
            "metadata": {
                "annotations": {names::PROBE_REQUESTED: "2"},
                "labels": {"velero.io/restore-name": "r"},
            },
            "data": {names::REPORT_KEY: serde_json::to_string(&report).unwrap()},
        });
        assert!(!is_answered(&serde_json::from_value(restored).unwrap()));
    }
}
