//! The bundle ConfigMap of a Velero namespace, in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Error};
use serde_json::{Map, Value, json};

use crate::ca::bundle::{Bundle, hash, merge, mozilla};
use crate::names;

/// Whether a Pod may mount the bundle of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It is there.
    There,
    /// A ConfigMap of its name is there, and it is not ours.
    Foreign,
}

/// Makes sure that `namespace` has a bundle: where there is none, the baseline, which needs no
/// Secret. Never takes a field from another manager, so that the publisher always wins. On a dry
/// run nothing is written.
pub async fn ensure(client: &Client, namespace: &str, dry_run: bool) -> kube::Result<Ensured> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    if let Some(map) = maps.get_metadata_opt(names::BUNDLE).await? {
        return Ok(if is_ours(&map.metadata) {
            Ensured::There
        } else {
            Ensured::Foreign
        });
    }
    if dry_run {
        return Ok(Ensured::There);
    }
    let params = PatchParams::apply(names::BOOTSTRAP_FIELD_MANAGER);
    let baseline = config_map(namespace, &merge(mozilla()));
    match maps
        .patch(names::BUNDLE, &params, &Patch::Apply(baseline))
        .await
    {
        Ok(_) => Ok(Ensured::There),
        // The publisher was faster.
        Err(Error::Api(status)) if status.code == 409 => Ok(Ensured::There),
        Err(error) => Err(error),
    }
}

/// Whether a ConfigMap of the bundle's name was made by us.
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    annotation(metadata, names::bundle::HASH).is_some()
}

/// The text of a bundle.
pub fn text(map: &ConfigMap) -> Option<&str> {
    Some(map.data.as_ref()?.get(names::BUNDLE_KEY)?)
}

/// Whether the bundle is as a publisher wrote it: nobody edited it, and it is not the baseline,
/// which the webhook makes without knowing any location.
pub fn is_as_published(map: &ConfigMap) -> bool {
    let mut managers = map.metadata.managed_fields.iter().flatten();
    managers.any(|fields| fields.manager.as_deref() == Some(names::FIELD_MANAGER))
        && text(map).map(hash).as_deref() == annotation(&map.metadata, names::bundle::HASH)
}

/// Whether `live` says what `wanted` does, and has nothing else in it: a pod reads every file of
/// the volume.
pub fn is_same(live: &ConfigMap, wanted: &ConfigMap) -> bool {
    let mut annotations = wanted.metadata.annotations.iter().flatten();
    live.data == wanted.data
        && live.binary_data.is_none()
        && annotations.all(|(key, value)| annotation(&live.metadata, key) == Some(value))
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
        if let Some(patch) = without_strays(live) {
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

/// A merge patch that removes what others put beside the bundle: to apply the bundle leaves it.
fn without_strays(live: &ConfigMap) -> Option<Value> {
    let keys = live.data.iter().flat_map(BTreeMap::keys);
    let strays = keys.filter(|key| *key != names::BUNDLE_KEY);
    let strays: Map<_, _> = strays.map(|key| (key.clone(), Value::Null)).collect();
    (!strays.is_empty() || live.binary_data.is_some()).then(|| {
        let version = &live.metadata.resource_version;
        let metadata = json!({"resourceVersion": version});
        json!({"metadata": metadata, "data": strays, "binaryData": null})
    })
}

fn annotation<'m>(metadata: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    Some(metadata.annotations.as_ref()?.get(key)?)
}

/// The bundle ConfigMap of `namespace` as it should be.
pub fn config_map(namespace: &str, bundle: &Bundle) -> ConfigMap {
    let mut annotations = BTreeMap::from([
        (names::bundle::HASH.to_owned(), bundle.hash.clone()),
        (names::bundle::COUNT.to_owned(), bundle.count.to_string()),
    ]);
    let expiry = bundle
        .earliest_expiry
        .and_then(|expiry| Timestamp::from_second(expiry).ok());
    if let Some(expiry) = expiry {
        annotations.insert(
            names::bundle::EARLIEST_EXPIRY.to_owned(),
            expiry.to_string(),
        );
    }
    let labels = [("app.kubernetes.io/managed-by", names::APP)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::BUNDLE.to_owned()),
            namespace: Some(namespace.to_owned()),
            annotations: Some(annotations),
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
