//! The webhook configurations of velero-trust in a cluster.

use std::fmt;

use futures::future::join_all;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::error;
use super::registered_webhooks::own_label;
use crate::admission::activation::canary;
use crate::names;

/// A webhook configuration that has velero-trust's label.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfiguration {
    resource: ApiResource,
    object: DynamicObject,
}

/// Kind and name.
impl fmt::Display for WebhookConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.object.name_any())
    }
}

/// Why configurations could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {what}")]
pub struct ConfigurationError {
    verb: &'static str,
    what: String,
    source: kube::Error,
}

impl ConfigurationError {
    /// Returns what the API server said, or why it could not be asked.
    pub fn reason(&self) -> String {
        error::lookup_error(&self.source).message
    }
}

/// Lists the webhook configurations of velero-trust by label, since kustomize may rename them. That of
/// the canary is not among them: nothing depends on what it is asked.
///
/// # Errors
/// If the API server does not list them.
pub async fn list(client: &Client) -> Result<Vec<WebhookConfiguration>, ConfigurationError> {
    let mut found = list_with_canary(client).await?;
    found.retain(|configuration| !configuration.is_canary());
    Ok(found)
}

/// As [`list`], with that of the canary.
///
/// # Errors
/// If the API server does not list them.
pub async fn list_with_canary(
    client: &Client,
) -> Result<Vec<WebhookConfiguration>, ConfigurationError> {
    let params = ListParams::default().labels(&own_label());
    let mut found = Vec::new();
    for kind in [
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ] {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk(&kind);
        let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let list = all.list(&params).await;
        let list = list.map_err(|source| ConfigurationError {
            verb: "list",
            what: resource.plural.clone(),
            source,
        })?;
        let all = list.items.into_iter().map(|object| WebhookConfiguration {
            resource: resource.clone(),
            object,
        });
        found.extend(all);
    }
    Ok(found)
}

/// Takes the rules from all `configurations`, at the same time: who does it may be about to lose the right to. Calls
/// `done` for each of which that is so.
///
/// # Errors
/// The first one. The others are tried all the same.
pub async fn take_rules(
    client: &Client,
    configurations: &[WebhookConfiguration],
    mut done: impl FnMut(&WebhookConfiguration),
) -> Result<(), ConfigurationError> {
    let taken = configurations.iter().map(|one| one.take_rules(client));
    let taken = join_all(taken).await;
    let mut result = Ok(());
    for (configuration, taken) in configurations.iter().zip(taken) {
        match taken {
            Ok(()) => done(configuration),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

impl WebhookConfiguration {
    /// Creates a configuration from an object of `resource`.
    pub const fn new(resource: ApiResource, object: DynamicObject) -> Self {
        Self { resource, object }
    }

    /// Reads a configuration of kind `K` from JSON; `None` if it is none.
    pub fn read<K: Resource<DynamicType = ()>>(text: &str) -> Option<Self> {
        Some(Self {
            resource: ApiResource::erase::<K>(&()),
            object: serde_json::from_str(text).ok()?,
        })
    }

    /// Returns its metadata.
    pub fn metadata(&self) -> Value {
        serde_json::to_value(&self.object.metadata).unwrap_or_default()
    }

    /// Whether it is that of the canary.
    pub fn is_canary(&self) -> bool {
        let webhook = self.object.labels().get(names::WEBHOOK_LABEL);
        webhook.is_some_and(|webhook| webhook == canary::LABEL)
    }

    /// Whether the API server sends it requests.
    pub fn is_asked(&self) -> bool {
        self.webhooks().any(has_rules)
    }

    /// Whether the manifests of this version contain the configuration. Otherwise, an earlier
    /// version left it behind.
    pub fn is_current(&self) -> bool {
        self.object.labels().contains_key(names::WEBHOOK_LABEL)
    }

    /// Returns its webhooks.
    pub fn webhooks(&self) -> impl Iterator<Item = &Value> {
        let webhooks = self.object.data.get("webhooks").and_then(Value::as_array);
        webhooks.into_iter().flatten()
    }

    /// Returns the namespace of an installation other than that in `own` which it calls.
    pub fn other_namespace(&self, own: &str) -> Option<&str> {
        let namespaces = self.webhooks().filter_map(service_namespace);
        namespaces.into_iter().find(|namespace| *namespace != own)
    }

    /// Whether it calls the installation in namespace `own`, by its Service.
    pub fn calls(&self, own: &str) -> bool {
        let mut namespaces = self.webhooks().filter_map(service_namespace);
        namespaces.any(|namespace| namespace == own)
    }

    /// Returns the command that deletes it.
    pub fn delete_command(&self) -> String {
        let kind = self.resource.kind.to_lowercase();
        format!("kubectl delete {kind} {}", self.object.name_any())
    }

    /// Applies these webhooks, and with them only the fields that velero-trust owns. What it owned
    /// before and is not among them is removed.
    ///
    /// # Errors
    /// If the API server does not take them.
    pub async fn apply(
        &self,
        client: &Client,
        webhooks: &[Value],
    ) -> Result<Self, ConfigurationError> {
        let Self { resource, object } = self;
        let name = object.name_any();
        let apply = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name},
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let object = Api::<DynamicObject>::all_with(client.clone(), resource)
            .patch(&name, &params, &Patch::Apply(apply))
            .await
            .map_err(|source| ConfigurationError {
                verb: "change",
                what: self.to_string(),
                source,
            })?;
        Ok(Self {
            resource: resource.clone(),
            object,
        })
    }

    /// Takes the rules from it, whoever set them, so that it is sent nothing.
    ///
    /// # Errors
    /// If the API server does not take it.
    async fn take_rules(&self, client: &Client) -> Result<(), ConfigurationError> {
        let Self { resource, object } = self;
        let without = |webhook: &Value| json!({"name": webhook["name"], "rules": []});
        let webhooks: Vec<_> = self.webhooks().map(without).collect();
        let params = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // The webhooks are merged by name.
        let patch = Patch::Strategic(json!({"webhooks": webhooks}));
        let patched = Api::<DynamicObject>::all_with(client.clone(), resource)
            .patch_metadata(&object.name_any(), &params, &patch)
            .await;
        gone_or(patched.map(drop)).map_err(|source| ConfigurationError {
            verb: "change",
            what: self.to_string(),
            source,
        })
    }

    /// Deletes it.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn delete(&self, client: &Client) -> Result<(), ConfigurationError> {
        let Self { resource, object } = self;
        let all = Api::<DynamicObject>::all_with(client.clone(), resource);
        let deleted = all
            .delete(&object.name_any(), &DeleteParams::default())
            .await;
        gone_or(deleted.map(drop)).map_err(|source| ConfigurationError {
            verb: "delete",
            what: self.to_string(),
            source,
        })
    }

    /// Takes the rules from a configuration that an earlier version left behind, so that it is sent
    /// nothing. Returns what to tell the user. The object stays: it may be somebody else's to
    /// delete, such as a GitOps tool's.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn deactivate(&self, client: &Client) -> Result<String, ConfigurationError> {
        let left = self.apply(client, &[]).await?;
        let is_active = left.webhooks().any(has_rules);
        let state = if is_active {
            "somebody else has set its rules, so it is still sent requests"
        } else {
            "it is sent nothing from now on"
        };
        let delete = self.delete_command();
        Ok(format!(
            "{self} is of an earlier version: {state}; delete it with `{delete}`"
        ))
    }
}

/// Takes what is not there any more for done.
fn gone_or(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result,
    }
}

/// Returns the namespace of the Service that a webhook calls; `None` if it calls a URL.
pub fn service_namespace(webhook: &Value) -> Option<&str> {
    webhook
        .pointer("/clientConfig/service/namespace")
        .and_then(Value::as_str)
}

/// Whether a webhook is sent requests.
pub fn has_rules(webhook: &Value) -> bool {
    let rules = webhook.get("rules").and_then(Value::as_array);
    rules.is_some_and(|rules| !rules.is_empty())
}
