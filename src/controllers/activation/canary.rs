//! Sends the canary: a ConfigMap that is applied by dry run, so that nothing is stored.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::json;
use tokio::time::timeout;

use crate::admission::activation::Heard;
use crate::kubernetes::error;
use crate::names;

/// Longest time for one request: longer than the timeout of the webhook, so that the API server says why.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Asks the API server to apply the canary in namespace `own`, and returns what came back.
pub(super) async fn ask(client: &Client, own: &str) -> Heard {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::CANARY,
            "namespace": own,
            "labels": {names::CANARY_LABEL: "true"},
        },
    });
    let mut params = PatchParams::apply(names::FIELD_MANAGER).force();
    params.dry_run = true;
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let patch = Patch::Apply(map);
    let applied = config_maps.patch(names::CANARY, &params, &patch);
    let error = match timeout(TIMEOUT, applied).await {
        Ok(Ok(_)) => None,
        // Its own words, without ours around them.
        Ok(Err(Error::Api(status))) => Some(status.message.clone()),
        Ok(Err(error)) => Some(error::lookup_error(&error).message),
        Err(_) => Some("the API server did not answer in time".to_owned()),
    };
    Heard::read(error.as_deref())
}
