//! The webhooks of the manifests: what a webhook in a cluster is compared with.

use std::sync::LazyLock;

use serde_json::Value;

use super::RegisteredWebhook;
use crate::admission::Handler;

/// The manifests with the configurations.
pub(super) const MANIFESTS: [&str; 2] = [
    include_str!("../../../manifests/validating.yaml"),
    include_str!("../../../manifests/mutating.yaml"),
];

static SHIPPED: LazyLock<Vec<RegisteredWebhook>> = LazyLock::new(|| {
    let configurations = MANIFESTS
        .iter()
        .flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap_or_default());
    let webhooks = configurations.flat_map(|configuration| {
        let webhooks = configuration.get("webhooks").and_then(Value::as_array);
        let webhooks = webhooks.into_iter().flatten();
        let read = |webhook| RegisteredWebhook::read("manifests", webhook);
        webhooks.map(read).collect::<Vec<_>>()
    });
    webhooks.collect()
});

/// Returns the webhook of the manifests that calls `handler`.
pub(super) fn shipped(handler: &Handler) -> Option<&'static RegisteredWebhook> {
    SHIPPED.iter().find(|webhook| webhook.calls(handler))
}
