//! Reads extra CAs from the labelled Secrets and ConfigMaps of our own namespace.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::describe_fault;
use crate::ca::merged_bundle::{Contribution, Contributions, Owner};
use crate::ca::pem;
use crate::kubernetes::watch::Watch;
use crate::names::EXTRA_CA_LABEL;

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
pub(super) fn watch<K>(client: Client, namespace: &str, data: fn(K) -> Data) -> Watch<Contributions>
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
        let mut contributions = Contributions::new();
        add_contributions(&mut contributions, &kind, &object.name_any(), data(object));
        Some(contributions)
    })
}

/// Adds the contributions of a labelled object. Each key has its own owner.
pub(in crate::sources) fn add_contributions(
    contributions: &mut Contributions,
    kind: &str,
    name: &str,
    data: impl IntoIterator<Item = (String, Vec<u8>)>,
) {
    for (key, bytes) in data {
        let contents = pem::read(&bytes);
        let name = format!("{kind} {name} key {key}");
        if let Some(fault) = contents.faults.first() {
            let fault = describe_fault(fault);
            tracing::error!(
                extra = name,
                fault,
                "extra CA left out as far as it is broken"
            );
        }
        let contribution = Contribution {
            is_complete: contents.faults.is_empty(),
            certificates: contents.certificates,
        };
        contributions.insert(Owner::Extra(name), contribution);
    }
}
