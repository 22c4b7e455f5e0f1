//! Activation of a webhook configuration: sets its rules and the CAs that it trusts.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use serde_json::{Value, json};

use super::webhook_configurations::{WebhookConfiguration, has_rules};
use crate::admission::HANDLERS;
use crate::ca::pem;

/// A server-side apply patch that activates one webhook configuration. It has no other fields.
pub(super) struct ActivationPatch<'a> {
    /// The configuration.
    pub(super) configuration: &'a WebhookConfiguration,
    /// Whether the configuration sends requests already.
    pub(super) is_active: bool,
    webhooks: Vec<Value>,
}

/// What becomes of the CAs that a `caBundle` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherCas {
    /// They stay until they expire: servers may still present certificates of them.
    Kept,
    /// They are removed, because no server presents a certificate of them.
    Dropped,
    /// They are removed, and that of the Secret from before too.
    Revoked,
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
                .map(|webhook| webhook_patch(webhook, cas, others, now))
                .collect::<anyhow::Result<_>>()
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

/// Returns the fields that activate a webhook: the requests it is sent, and the CAs it trusts.
fn webhook_patch(
    webhook: &Value,
    cas: &[&str],
    others: OtherCas,
    now: i64,
) -> anyhow::Result<Value> {
    let text = |pointer| webhook.pointer(pointer).and_then(Value::as_str);
    let name = text("/name").unwrap_or_default();
    let path = text("/clientConfig/service/path")
        .or_else(|| text("/clientConfig/url"))
        .unwrap_or_default();
    let handler = HANDLERS
        .iter()
        .find(|handler| path.ends_with(handler.path))
        .with_context(|| format!("{name}: this version does not serve `{path}`"))?;
    let old = match others {
        OtherCas::Kept => text("/clientConfig/caBundle").unwrap_or_default(),
        OtherCas::Dropped | OtherCas::Revoked => "",
    };
    let old = String::from_utf8(STANDARD.decode(old)?)?;
    let bundle = ca_bundle(cas.iter().copied().chain([old.as_str()]), now);
    let operations = handler
        .operations
        .iter()
        .map(|operation| operation.as_str());
    Ok(json!({
        "name": name,
        "clientConfig": {"caBundle": STANDARD.encode(bundle)},
        "rules": [{
            "apiGroups": [handler.group],
            "apiVersions": ["v1"],
            "resources": handler.resources(),
            "operations": operations.collect::<Vec<_>>(),
            "scope": "Namespaced",
        }],
    }))
}

/// Returns the certificates of all `texts` in order, without duplicates and expired ones.
fn ca_bundle<'a>(texts: impl Iterator<Item = &'a str>, now: i64) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";

    let mut blocks = Vec::new();
    for block in texts.flat_map(|text| text.split_inclusive(END)) {
        let certificates = pem::read(block.as_bytes()).certificates;
        let valid = certificates
            .iter()
            .any(|certificate| certificate.not_after > now);
        if valid && !blocks.contains(&block) {
            blocks.push(block);
        }
    }
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::certificates::issue::issue;
    use kube::api::{ApiResource, GroupVersionKind};
    use std::time::Duration;

    #[test]
    fn a_ca_stays_trusted_until_it_expires_and_stands_once() {
        let ca = |days: u64| {
            issue(&["x".into()], Duration::from_hours(24 * days))
                .unwrap()
                .ca
        };
        let now = crate::clock::now();
        let (new, shown, before) = (ca(2), ca(2), ca(1));
        let old = format!("{shown}{before}");
        let texts = || [new.as_str(), &shown, &old].into_iter();
        assert_eq!(ca_bundle(texts(), now), format!("{new}{shown}{before}"));
        let tomorrow = now + 24 * 60 * 60 + 60;
        assert_eq!(ca_bundle(texts(), tomorrow), format!("{new}{shown}"));
        assert_eq!(ca_bundle(["", &new, ""].into_iter(), now), new);
    }

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
