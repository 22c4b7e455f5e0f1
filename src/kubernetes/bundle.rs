//! The bundle ConfigMap of a Velero namespace, in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Error};

use crate::ca::bundle::{Bundle, merge, mozilla};
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
        let ours = map
            .metadata
            .annotations
            .is_some_and(|known| known.contains_key(names::bundle::HASH));
        return Ok(if ours {
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
