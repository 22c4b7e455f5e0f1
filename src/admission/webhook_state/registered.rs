//! A webhook as it is registered in a cluster, as far as it decides whether requests are judged.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::admission::Handler;
use crate::ca::endpoint::host_of_url;

/// The version of every resource that a handler judges.
const API_VERSION: &str = "v1";

/// The label with the name of a namespace, which the API server sets on each.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

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
    namespace_selector: Option<Selector>,
    object_selector: Option<Selector>,
    match_conditions: Option<Vec<MatchCondition>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct MatchCondition {
    name: String,
    expression: String,
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
    api_versions: Vec<String>,
    operations: Vec<String>,
    resources: Vec<String>,
    scope: Option<String>,
}

/// A condition that a request has to meet to be sent. All conditions of a webhook have to be met, so
/// that each one more only narrows what it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    /// The field of the webhook that has it.
    field: &'static str,
    /// The condition itself, in one form however it is written.
    text: String,
    /// What people see of it.
    name: String,
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

    /// Returns its caBundle, PEM; `None` if it has none. One that is no base64 is empty.
    pub(super) fn ca_bundle(&self) -> Option<Vec<u8>> {
        let encoded = self.webhook.client_config.ca_bundle.as_deref();
        let encoded = encoded.filter(|encoded| !encoded.is_empty())?;
        Some(STANDARD.decode(encoded).unwrap_or_default())
    }

    /// Returns the host that the certificate must name; `None` if it calls a URL without one.
    pub fn host(&self) -> Option<String> {
        match &self.webhook.client_config {
            ClientConfig { url: Some(url), .. } => host_of_url(url),
            ClientConfig { service, .. } => {
                let ServiceReference {
                    namespace, name, ..
                } = service.as_ref()?;
                Some(format!("{name}.{namespace}.svc"))
            }
        }
    }

    /// Returns what narrows the requests that it is sent, and does not stand in `shipped`; `None` if
    /// nothing does.
    pub(super) fn narrowed_by(&self, shipped: &Self) -> Option<String> {
        let known: BTreeSet<_> = shipped.webhook.conditions().collect();
        let own: BTreeSet<_> = self.webhook.conditions().collect();
        let is_known = |one: &&Condition| {
            let same = |known: &Condition| (known.field, &known.text) == (one.field, &one.text);
            known.iter().any(same)
        };
        let more = own.iter().filter(|one| !is_known(one));
        let names: Vec<_> = more
            .map(|one| format!("the {} `{}`", one.field, one.name))
            .collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// Returns the requirement that keeps requests in `namespace` from it; `None` if there is none.
    pub(super) fn excludes(&self, namespace: &str) -> Option<String> {
        let selector = self.webhook.namespace_selector.iter();
        let requirements =
            selector.flat_map(|selector| selector.match_expressions.iter().flatten());
        let mut excluding = requirements.filter(|requirement| {
            let values = requirement.values.as_ref();
            requirement.key == NAMESPACE_NAME_LABEL
                && requirement.operator == "NotIn"
                && values.is_some_and(|values| values.contains(namespace))
        });
        excluding.next().map(Requirement::text)
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
                && has(&rule.api_versions, API_VERSION)
                && rule.scope.as_deref() != Some("Cluster")
                && has(&rule.operations, operation)
                && (has(&rule.resources, handler.resource) || has(&rule.resources, "*/*"))
        })
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.webhook.rules.iter().flatten()
    }
}

impl Webhook {
    fn conditions(&self) -> impl Iterator<Item = Condition> {
        let selector = |field, selector: &Option<Selector>| {
            let requirements = selector.iter().flat_map(Selector::requirements);
            let conditions = requirements.map(move |text| Condition {
                field,
                name: text.clone(),
                text,
            });
            conditions.collect::<Vec<_>>()
        };
        let expressions = self.match_conditions.iter().flatten();
        let expressions = expressions.map(|condition| Condition {
            field: "matchCondition",
            name: condition.name.clone(),
            text: condition.expression.trim().to_owned(),
        });
        selector("namespaceSelector", &self.namespace_selector)
            .into_iter()
            .chain(selector("objectSelector", &self.object_selector))
            .chain(expressions)
    }
}

impl Selector {
    /// Returns its requirements as kubectl writes them.
    fn requirements(&self) -> impl Iterator<Item = String> {
        let labels = self.match_labels.iter().flatten();
        let labels = labels.map(|(key, value)| format!("{key} in ({value})"));
        let expressions = self.match_expressions.iter().flatten();
        labels.chain(expressions.map(Requirement::text))
    }
}

impl Requirement {
    /// Returns it as kubectl writes it.
    fn text(&self) -> String {
        let Self {
            key,
            operator,
            values,
        } = self;
        let values: Vec<_> = values.iter().flatten().map(String::as_str).collect();
        let values = values.join(",");
        match operator.as_str() {
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => format!("{key} {} ({values})", other.to_lowercase()),
        }
    }
}
