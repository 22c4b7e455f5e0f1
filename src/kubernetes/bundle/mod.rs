//! The bundle ConfigMap of a Velero namespace, in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::{Map, Value, json};

use crate::ca::bundle::hash;
use crate::ca::common_roots::CommonRoots;
use crate::ca::merged_bundle::MergedBundle;
use crate::names;

use super::location;

/// Whether a Pod may mount the bundle of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It is there.
    There {
        /// The namespace is held.
        held: bool,
    },
    /// A ConfigMap of its name is there, and it is not ours.
    Foreign,
    /// There is none, and there is no root to put into one: Velero cannot start with an empty file.
    NoRoots,
}

/// What the annotation says of a namespace that nobody has looked at.
const NOT_SEEN: &str = "its BackupStorageLocations were not looked at yet";

/// Makes sure that `namespace` has a bundle: where there is none, the baseline, which needs no
/// Secret. It is held when a location works already, until the publisher has looked at it. Never
/// takes a field from another manager, so that the publisher always wins. On a dry run nothing is
/// written.
pub async fn ensure(
    client: &Client,
    namespace: &str,
    dry_run: bool,
    base: &CommonRoots,
) -> kube::Result<Ensured> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    if let Some(map) = maps.get_metadata_opt(names::BUNDLE).await? {
        return Ok(if is_ours(&map.metadata) {
            let held = annotation(&map.metadata, names::bundle::HOLD).is_some();
            Ensured::There { held }
        } else {
            Ensured::Foreign
        });
    }
    let baseline = base.bundle();
    if baseline.certificates.is_empty() {
        return Ok(Ensured::NoRoots);
    }
    let held = has_available(client, namespace).await?;
    if dry_run {
        return Ok(Ensured::There { held });
    }
    let params = PatchParams::apply(names::BOOTSTRAP_FIELD_MANAGER);
    let state = State {
        last_added: None,
        hold: held.then_some(NOT_SEEN),
    };
    let baseline = config_map(namespace, &baseline, state);
    match maps
        .patch(names::BUNDLE, &params, &Patch::Apply(baseline))
        .await
    {
        Ok(_) => Ok(Ensured::There { held }),
        // The publisher was faster.
        Err(Error::Api(status)) if status.code == 409 => Ok(Ensured::There { held }),
        Err(error) => Err(error),
    }
}

/// Whether a location in `namespace` works already.
async fn has_available(client: &Client, namespace: &str) -> kube::Result<bool> {
    let bsls = location::in_namespace(client, namespace);
    match bsls.list(&ListParams::default()).await {
        Ok(list) => Ok(list.iter().any(|bsl| location::read(bsl).is_available())),
        // Velero's CRDs are not there.
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a ConfigMap of the bundle's name was made by us. It still is when somebody took all
/// annotations off it.
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    let managers = [names::FIELD_MANAGER, names::BOOTSTRAP_FIELD_MANAGER];
    annotation(metadata, names::bundle::HASH).is_some()
        || managers
            .iter()
            .any(|manager| is_managed_by(metadata, manager))
}

fn is_managed_by(metadata: &ObjectMeta, manager: &str) -> bool {
    let mut managers = metadata.managed_fields.iter().flatten();
    managers.any(|fields| fields.manager.as_deref() == Some(manager))
}

/// The text of a bundle.
pub fn text(map: &ConfigMap) -> Option<&str> {
    Some(map.data.as_ref()?.get(names::BUNDLE_KEY)?)
}

/// Whether somebody made the bundle immutable: the API server refuses every change of its content.
pub fn is_immutable(map: &ConfigMap) -> bool {
    map.immutable == Some(true)
}

/// Whether it is, with another content than `wanted`.
pub fn is_stuck(map: &ConfigMap, wanted: &str) -> bool {
    let files = map.data.as_ref().map_or(0, BTreeMap::len);
    let is_good = text(map) == Some(wanted) && files == 1 && map.binary_data.is_none();
    is_immutable(map) && !is_good
}

/// Whether the bundle is as a publisher wrote it: nobody edited it, and it is not the baseline,
/// which the webhook makes without knowing any location.
pub fn is_as_published(map: &ConfigMap) -> bool {
    is_managed_by(&map.metadata, names::FIELD_MANAGER)
        && text(map).map(hash).as_deref() == annotation(&map.metadata, names::bundle::HASH)
}

/// Whether `live` says what `wanted` does, and has nothing else in it: a pod reads every file of
/// the volume.
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

/// Writes the bundle over what was read before, or where nothing was there. Fails with 409 when
/// that has changed meanwhile.
pub async fn write(
    maps: &Api<ConfigMap>,
    mut wanted: ConfigMap,
    live: Option<&ConfigMap>,
) -> kube::Result<ConfigMap> {
    let mut params = PatchParams::apply(names::FIELD_MANAGER);
    if let Some(live) = live {
        let mut version = live.metadata.resource_version.clone();
        if let Some(patch) = without_strays(live, &wanted) {
            let cleaned = maps
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
    maps.patch(names::BUNDLE, &params, &Patch::Apply(&wanted))
        .await
}

/// A merge patch that removes what others put beside the bundle, and a hold that another manager
/// wrote: to apply the bundle leaves both.
fn without_strays(live: &ConfigMap, wanted: &ConfigMap) -> Option<Value> {
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

/// What a bundle's annotations tell beside what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct State<'s> {
    /// When a certificate was last added, seconds since 1970.
    pub last_added: Option<i64>,
    /// Why the namespace is held.
    pub hold: Option<&'s str>,
}

/// What keeps GitOps tools from removing what is not in Git: Argo CD, Flux, Helm.
pub const KEEP: [(&str, &str); 4] = [
    ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
    ("helm.sh/resource-policy", "keep"),
];

/// The bundle ConfigMap of `namespace` as it should be. It is in Velero's backups, unlike all else
/// of ours: a restored Velero Pod must find it.
pub fn config_map(namespace: &str, merged: &MergedBundle, state: State<'_>) -> ConfigMap {
    let MergedBundle {
        bundle, origins, ..
    } = merged;
    let origins: Vec<_> = origins
        .iter()
        .map(|(origin, count)| format!("{}={count}", origin.name()))
        .collect();
    let time = |seconds| Some(Timestamp::from_second(seconds).ok()?.to_string());
    let told = [
        (names::bundle::HASH, Some(bundle.hash.clone())),
        (names::bundle::COUNT, Some(bundle.count.to_string())),
        (names::bundle::ORIGINS, Some(origins.join(" "))),
        (
            names::bundle::EARLIEST_EXPIRY,
            bundle.earliest_expiry.and_then(time),
        ),
        (names::bundle::LAST_ADDED, state.last_added.and_then(time)),
        (names::bundle::HOLD, state.hold.map(str::to_owned)),
    ];
    let told = told
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let keep = KEEP.map(|(key, value)| (key, value.to_owned()));
    let annotations = told.chain(keep);
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
