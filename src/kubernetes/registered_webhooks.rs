//! The webhook configurations of velero-trust, and what answers the calls, as the controllers and the
//! commands read them.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::admission::webhook_state::{Backend, RegisteredWebhook};
use crate::names;

/// The label of an EndpointSlice with the name of its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Returns the selector of velero-trust's objects. Names do not serve: kustomize may change them.
pub fn own_label() -> String {
    format!("app.kubernetes.io/name={}", names::APP)
}

/// Returns the webhooks of a configuration of this `kind`, given as JSON.
pub fn webhooks(kind: &str, configuration: &Value) -> Vec<RegisteredWebhook> {
    let name = configuration.pointer("/metadata/name");
    let name = name.and_then(Value::as_str).unwrap_or_default();
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    let webhooks = webhooks.into_iter().flatten();
    webhooks
        .map(|webhook| RegisteredWebhook::read(&format!("{kind} {name}"), webhook))
        .collect()
}

/// Returns whether an endpoint of the slice is ready. One that does not say so is.
pub fn is_ready(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    })
}

/// Returns what answers at a Service with these endpoints.
pub fn backend(mut is_ready: impl Iterator<Item = bool>) -> Backend {
    if is_ready.any(|is_ready| is_ready) {
        Backend::Ready
    } else {
        Backend::NoEndpoint
    }
}
