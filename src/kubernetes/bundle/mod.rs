//! Reads and writes the ConfigMap that holds the bundle of a Velero namespace.

mod baseline;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::{Map, Value, json};

use crate::ca::bundle::hash;
use crate::ca::merged_bundle::MergedBundle;
use crate::names;

pub use baseline::{EnsureOutcome, ensure};

/// Returns whether velero-trust wrote a ConfigMap that has the bundle's name. This also recognises
/// one that lost all its annotations.
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    let managers = [names::FIELD_MANAGER, names::BOOTSTRAP_FIELD_MANAGER];
    annotation(metadata, names::bundle::HASH).is_some()
        || managers
            .iter()
            .any(|manager| is_managed_by(metadata, manager))
}

/// Returns whether a publisher wrote the ConfigMap. The baseline of a review makes no namespace a
/// Velero namespace, because anybody may have sent that review.
pub fn is_published(metadata: &ObjectMeta) -> bool {
    is_managed_by(metadata, names::FIELD_MANAGER)
}

fn is_managed_by(metadata: &ObjectMeta, manager: &str) -> bool {
    let mut managers = metadata.managed_fields.iter().flatten();
    managers.any(|fields| fields.manager.as_deref() == Some(manager))
}

/// Returns the PEM text of a bundle.
pub fn text(map: &ConfigMap) -> Option<&str> {
    Some(map.data.as_ref()?.get(names::BUNDLE_KEY)?)
}

/// Returns whether the bundle is immutable, so that the API server refuses every change of its
/// content.
pub fn is_immutable(map: &ConfigMap) -> bool {
    map.immutable == Some(true)
}

/// Returns whether the bundle is immutable and its content differs from `wanted`.
pub fn is_frozen(map: &ConfigMap, wanted: &str) -> bool {
    let files = map.data.as_ref().map_or(0, BTreeMap::len);
    let is_good = text(map) == Some(wanted) && files == 1 && map.binary_data.is_none();
    is_immutable(map) && !is_good
}

/// Returns whether a publisher wrote the bundle and nobody edited it. This is false for the
/// baseline, which the webhook writes without knowing any location.
pub fn is_as_published(map: &ConfigMap) -> bool {
    is_published(&map.metadata)
        && text(map).map(hash).as_deref() == annotation(&map.metadata, names::bundle::HASH)
}

/// Returns whether `live` is equal to `wanted`, apart from further labels and annotations. Further
/// data is a difference, because a Pod reads every file of the volume.
pub fn is_same(live: &ConfigMap, wanted: &ConfigMap) -> bool {
    let mut annotations = wanted.metadata.annotations.iter().flatten();
    let mut labels = wanted.metadata.labels.iter().flatten();
    let live_label = |key| live.metadata.labels.as_ref()?.get(key);
    let hold = |map| annotation(map, names::bundle::HOLD);
    live.data == wanted.data
        && live.binary_data.is_none()
        && hold(&live.metadata) == hold(&wanted.metadata)
        && annotations.all(|(key, value)| annotation(&live.metadata, key) == Some(value))
        && labels.all(|(key, value)| live_label(key) == Some(value))
}

/// Replaces `live`, the bundle that was read before, or creates the bundle if there was none. Fails
/// with 409 if the ConfigMap changed after it was read.
pub async fn write(
    config_maps: &Api<ConfigMap>,
    mut wanted: ConfigMap,
    live: Option<&ConfigMap>,
) -> kube::Result<ConfigMap> {
    let mut params = PatchParams::apply(names::FIELD_MANAGER);
    if let Some(live) = live {
        let mut version = live.metadata.resource_version.clone();
        if let Some(patch) = cleanup_patch(live, &wanted) {
            let cleaned = config_maps
                .patch(
                    names::BUNDLE,
                    &PatchParams::default(),
                    &Patch::Merge(&patch),
                )
                .await?;
            version = cleaned.metadata.resource_version;
        }
        wanted.metadata.resource_version = version;
        params = params.force();
    }
    config_maps
        .patch(names::BUNDLE, &params, &Patch::Apply(&wanted))
        .await
}

/// Returns a merge patch that removes the data of others beside the bundle, and a hold that another
/// field manager wrote. Server-side apply of the bundle would leave both.
fn cleanup_patch(live: &ConfigMap, wanted: &ConfigMap) -> Option<Value> {
    let keys = live.data.iter().flat_map(BTreeMap::keys);
    let strays = keys.filter(|key| *key != names::BUNDLE_KEY);
    let strays: Map<_, _> = strays.map(|key| (key.clone(), Value::Null)).collect();
    let hold = |map: &ConfigMap| annotation(&map.metadata, names::bundle::HOLD).is_some();
    let released = hold(live) && !hold(wanted);
    (released || !strays.is_empty() || live.binary_data.is_some()).then(|| {
        let version = &live.metadata.resource_version;
        let mut metadata = json!({"resourceVersion": version});
        if released && let Some(metadata) = metadata.as_object_mut() {
            let none = json!({names::bundle::HOLD: null});
            metadata.insert("annotations".to_owned(), none);
        }
        json!({"metadata": metadata, "data": strays, "binaryData": null})
    })
}

fn annotation<'m>(metadata: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    Some(metadata.annotations.as_ref()?.get(key)?)
}

/// What the annotations of a bundle say that does not follow from its content.
#[derive(Clone, Copy, Debug, Default)]
pub struct BundleStatus<'s> {
    /// When a certificate was last added, in seconds since 1970.
    pub last_added: Option<i64>,
    /// Why the namespace is held; `None` if it is not held.
    pub hold: Option<&'s str>,
}

/// The annotations that keep GitOps tools (Argo CD, Flux, Helm) from deleting an object that is not
/// in Git.
pub const KEEP_ANNOTATIONS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
    ("helm.sh/resource-policy", "keep"),
];

/// Returns the bundle ConfigMap of `namespace` in its desired state. Unlike all other objects of
/// velero-trust it is part of Velero's backups, because a restored Velero Pod must find it.
pub fn config_map(namespace: &str, merged: &MergedBundle, status: BundleStatus<'_>) -> ConfigMap {
    let MergedBundle {
        bundle, origins, ..
    } = merged;
    let origins: Vec<_> = origins
        .iter()
        .map(|(origin, count)| format!("{}={count}", origin.name()))
        .collect();
    let time = |seconds| Some(Timestamp::from_second(seconds).ok()?.to_string());
    let values = [
        (names::bundle::HASH, Some(bundle.hash.clone())),
        (names::bundle::COUNT, Some(bundle.count.to_string())),
        (names::bundle::ORIGINS, Some(origins.join(" "))),
        (
            names::bundle::EARLIEST_EXPIRY,
            bundle.earliest_expiry.and_then(time),
        ),
        (names::bundle::LAST_ADDED, status.last_added.and_then(time)),
        (names::bundle::HOLD, status.hold.map(str::to_owned)),
    ];
    let values = values
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let keep = KEEP_ANNOTATIONS.map(|(key, value)| (key, value.to_owned()));
    let annotations = values.chain(keep);
    let labels = [("app.kubernetes.io/managed-by", names::APP)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::BUNDLE.to_owned()),
            namespace: Some(namespace.to_owned()),
            annotations: Some(
                annotations
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            names::BUNDLE_KEY.to_owned(),
            bundle.text.clone(),
        )])),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests;
