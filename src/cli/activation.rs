//! Activation of a webhook configuration: sets its rules and the CAs that it trusts.

use anyhow::Context as _;
use kube::Client;
use serde_json::Value;

use crate::admission::activation::{OtherCas, fields};
use crate::kubernetes::webhook_configurations::{WebhookConfiguration, has_rules};

/// A server-side apply patch that activates one webhook configuration. It has no other fields.
pub(super) struct ActivationPatch<'a> {
    /// The configuration.
    pub(super) configuration: &'a WebhookConfiguration,
    /// Whether the configuration sends requests already.
    pub(super) is_active: bool,
    webhooks: Vec<Value>,
}

impl<'a> ActivationPatch<'a> {
    /// Creates the patch. It sets the rules of every webhook in `configuration`, and a `caBundle`
    /// with `cas` and, if they are kept, the CAs of the current `caBundle`, without those that are
    /// expired at `now` (seconds since 1970).
    pub(super) fn new(
        configuration: &'a WebhookConfiguration,
        cas: &[&str],
        others: OtherCas,
        now: i64,
    ) -> anyhow::Result<Self> {
        let webhooks = configuration.webhooks();
        Ok(Self {
            is_active: configuration.webhooks().any(has_rules),
            webhooks: webhooks
                .map(|webhook| fields(webhook, cas, others, now))
                .collect::<Result<_, _>>()
                .with_context(|| configuration.to_string())?,
            configuration,
        })
    }

    /// Applies the patch.
    pub(super) async fn apply(&self, client: &Client) -> anyhow::Result<()> {
        self.configuration.apply(client, &self.webhooks).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::{ApiResource, GroupVersionKind};
    use serde_json::json;

    #[test]
    fn a_path_that_is_not_served_is_refused_before_anything_is_changed() {
        let kind = GroupVersionKind::gvk(
            "admissionregistration.k8s.io",
            "v1",
            "ValidatingWebhookConfiguration",
        );
        let configuration = serde_json::from_value(json!({
            "metadata": {"name": "of-tomorrow"},
            "webhooks": [{"name": "new", "clientConfig": {"service": {"path": "/validate/new"}}}],
        }))
        .unwrap();
        let configuration = WebhookConfiguration::new(ApiResource::from_gvk(&kind), configuration);
        let error = ActivationPatch::new(&configuration, &[], OtherCas::Kept, 0)
            .err()
            .unwrap();
        let said = format!("{error:#}");
        assert!(
            said.contains("of-tomorrow") && said.contains("`/validate/new`"),
            "{said}"
        );
    }
}
