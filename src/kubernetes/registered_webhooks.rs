//! The webhook configurations of velero-trust, and what answers the calls, as the controllers and the
//! commands read them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::watch::Watch;
use crate::admission::webhook_state::{Backend, RegisteredWebhook};
use crate::names;

/// Longest pause before the configurations are asked for again: a replica judges its certificate by them, and is to do so
/// soon after the API server is back.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

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

/// The webhooks of the configurations with velero-trust's label, as they are followed.
pub struct RegisteredWebhooks {
    validating: Watch<Vec<RegisteredWebhook>>,
    mutating: Watch<Vec<RegisteredWebhook>>,
}

impl RegisteredWebhooks {
    /// Follows the configurations of the cluster.
    pub fn watch(client: &Client) -> Self {
        Self {
            validating: configurations::<ValidatingWebhookConfiguration>(client),
            mutating: configurations::<MutatingWebhookConfiguration>(client),
        }
    }

    /// Waits until something changes.
    pub async fn changed(&mut self) {
        tokio::select! {
            _ = self.validating.changed() => {}
            _ = self.mutating.changed() => {}
        }
    }

    /// Returns all webhooks; `None` while they are not known.
    pub fn last_known(&self) -> Option<Vec<RegisteredWebhook>> {
        let (validating, mutating) = (self.validating.last_known()?, self.mutating.last_known()?);
        let all = validating.values().chain(mutating.values()).flatten();
        Some(all.cloned().collect())
    }
}

/// Publishes the webhooks as they change. Never returns.
pub async fn follow(client: Client, sender: watch::Sender<Option<Arc<Vec<RegisteredWebhook>>>>) {
    let mut webhooks = RegisteredWebhooks::watch(&client);
    loop {
        webhooks.changed().await;
        sender.send_replace(webhooks.last_known().map(Arc::new));
    }
}

fn configurations<K>(client: &Client) -> Watch<Vec<RegisteredWebhook>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&()).into_owned();
    let subject = format!("{kind}s of velero-trust");
    let config = Config::default().labels(&own_label());
    Watch::of_text(
        Api::<K>::all(client.clone()),
        config,
        subject,
        move |text| {
            let object: Value = serde_json::from_str(text).ok()?;
            Some(webhooks(&kind, &object))
        },
    )
    .with_max_backoff(MAX_BACKOFF)
}
