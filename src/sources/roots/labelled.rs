//! Reads extra CAs from the labelled Secrets and ConfigMaps of our own namespace.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::describe_fault;
use crate::ca::common_roots::{ExtraCas, RestoredExtra};
use crate::ca::merged_bundle::{Contribution, Owner};
use crate::ca::pem;
use crate::kubernetes::watch::Watch;
use crate::names::EXTRA_CA_LABEL;
use crate::velero::restore::RESTORE_LABEL;

/// The content of a labelled object: keys and values.
type Data = Vec<(String, Vec<u8>)>;

pub(in crate::sources) fn config_map_data(map: ConfigMap) -> Data {
    let texts = map.data.unwrap_or_default().into_iter();
    let texts = texts.map(|(key, text)| (key, text.into_bytes()));
    let bytes = map.binary_data.unwrap_or_default().into_iter();
    texts
        .chain(bytes.map(|(key, value)| (key, value.0)))
        .collect()
}

pub(super) fn secret_data(secret: Secret) -> Data {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| (key, value.0)).collect()
}

/// Watches the labelled objects of one kind. Each key of an object is a contribution of its own.
pub(super) fn watch<K>(client: Client, namespace: &str, data: fn(K) -> Data) -> Watch<ExtraCas>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let kind = K::kind(&());
    let objects = Api::<K>::namespaced(client, namespace);
    let label = format!("{EXTRA_CA_LABEL}=true");
    let config = Config::default().labels(&label);
    let subject = format!("{kind}s labelled {label} in namespace {namespace}");
    Watch::new(objects, config, subject, move |object: K| {
        let metadata = object.meta().clone();
        Some(read(&kind, &metadata, data(object)))
    })
}

/// Reads a labelled object. Each key has its own owner. Of an object that Velero restored, only the
/// names of the keys are read.
pub(in crate::sources) fn read(
    kind: &str,
    metadata: &ObjectMeta,
    data: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> ExtraCas {
    let mut extra = ExtraCas::default();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let name = text(&metadata.name);
    let labels = metadata.labels.as_ref();
    let restore = labels.and_then(|labels| labels.get(RESTORE_LABEL));
    let restored = restore.map(|restore| RestoredExtra {
        kind: kind.to_owned(),
        namespace: text(&metadata.namespace),
        name: name.clone(),
        uid: text(&metadata.uid),
        restore: restore.clone(),
    });
    let is_restored = restored.is_some();
    extra.restored.extend(restored);
    for (key, bytes) in data {
        let owner = RestoredExtra::owner(kind, &name, &key);
        let contribution = if is_restored {
            Contribution::default()
        } else {
            contribution(&owner, &bytes)
        };
        extra
            .contributions
            .insert(Owner::Extra(owner), contribution);
    }
    extra
}

/// Returns the certificates in `bytes`, which `owner` gives. A value with a fault adds nothing new:
/// it is not half good, and a private key beside its CA makes the CA worthless.
fn contribution(owner: &str, bytes: &[u8]) -> Contribution {
    let contents = pem::read(bytes);
    let Some(fault) = contents.faults.first() else {
        return Contribution {
            is_complete: true,
            certificates: contents.certificates,
        };
    };
    let fault = describe_fault(fault);
    tracing::error!(
        extra = owner,
        fault,
        "extra CA left out, because it is broken"
    );
    Contribution::default()
}
