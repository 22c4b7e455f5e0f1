//! Watches the ConfigMaps in velero-trust's own namespace, by which an operator tells the leader
//! something: a memory that was edited.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::decision::Key;
use crate::kubernetes::owned_config_map;
use crate::kubernetes::watch::Watch;
use crate::names;

/// A watch of the ConfigMaps that velero-trust wrote into its own namespace. The value is what the
/// leader reacts to: of a memory, the resourceVersion.
pub(super) type OwnConfigMapWatch = Watch<Option<String>>;

/// What the leader reacts to in its own ConfigMaps about one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnConfigMaps {
    /// The resourceVersion of the memory; `None` if there is no memory.
    pub(super) memory: Option<String>,
}

/// Watches the ConfigMaps in the namespace `own`.
pub(super) fn watch_own_config_maps(client: Client, own: &str) -> OwnConfigMapWatch {
    let config_maps = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client, own);
    let written = Config::default().labels(owned_config_map::SELECTOR);
    Watch::new(config_maps, written, "our own ConfigMaps", |map| {
        let name = map.metadata.name.unwrap_or_default();
        let is_memory = name.starts_with(names::MEMORY_PREFIX);
        Some(map.metadata.resource_version.filter(|_| is_memory))
    })
}

/// Returns what the watch knows about `namespace`, where `own` is the namespace of velero-trust;
/// `None` if nothing is known.
pub(super) fn observe(
    config_maps: &OwnConfigMapWatch,
    own: &str,
    namespace: &str,
) -> Option<OwnConfigMaps> {
    let config_maps = config_maps.current()?;
    let value = |prefix| {
        let name = format!("{prefix}{namespace}");
        config_maps.get(&Key::new(own, name)).cloned().flatten()
    };
    Some(OwnConfigMaps {
        memory: value(names::MEMORY_PREFIX),
    })
}
