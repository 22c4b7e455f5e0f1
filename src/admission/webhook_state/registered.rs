//! A webhook as it is registered in a cluster, as far as it decides whether requests are judged.

use serde::Deserialize;
use serde_json::Value;

use crate::admission::Handler;

/// A webhook of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredWebhook {
    /// Kind and name of its configuration.
    pub configuration: String,
    webhook: Webhook,
}

/// The Service that a webhook calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    path: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Webhook {
    client_config: ClientConfig,
    rules: Option<Vec<Rule>>,
    failure_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClientConfig {
    ca_bundle: Option<String>,
    service: Option<ServiceReference>,
    url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    operations: Vec<String>,
    resources: Vec<String>,
}

impl RegisteredWebhook {
    /// Reads a webhook of `configuration`. What cannot be read counts as not set.
    pub fn read(configuration: &str, webhook: &Value) -> Self {
        Self {
            configuration: configuration.to_owned(),
            webhook: Webhook::deserialize(webhook).unwrap_or_default(),
        }
    }

    /// Whether it calls `handler`.
    pub(super) fn calls(&self, handler: &Handler) -> bool {
        let ClientConfig { service, url, .. } = &self.webhook.client_config;
        let path = service.as_ref().and_then(|service| service.path.as_ref());
        let mut paths = path.into_iter().chain(url);
        paths.any(|path| path.ends_with(handler.path))
    }

    /// Returns the Service that it calls; `None` if it calls a URL.
    pub fn service(&self) -> Option<&ServiceReference> {
        self.webhook.client_config.service.as_ref()
    }

    pub(super) fn has_rules(&self) -> bool {
        self.rules().next().is_some()
    }

    pub(super) fn has_ca_bundle(&self) -> bool {
        let ca_bundle = self.webhook.client_config.ca_bundle.as_deref();
        ca_bundle.is_some_and(|ca_bundle| !ca_bundle.is_empty())
    }

    /// Whether a request is refused when the webhook cannot be called. `Fail` is the default.
    pub(super) fn refuses_on_failure(&self) -> bool {
        self.webhook.failure_policy.as_deref() != Some("Ignore")
    }

    /// Whether the API server sends it requests of `operation` on the resource of `handler`.
    pub(super) fn is_asked(&self, handler: &Handler, operation: &str) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        self.rules().any(|rule| {
            has(&rule.api_groups, handler.group)
                && has(&rule.operations, operation)
                && (has(&rule.resources, handler.resource) || has(&rule.resources, "*/*"))
        })
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.webhook.rules.iter().flatten()
    }
}
