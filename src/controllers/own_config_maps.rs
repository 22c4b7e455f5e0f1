//! Watches the ConfigMaps in velero-trust's own namespace, by which an operator tells the leader
//! something: a memory that was edited, or a request for a probe on a report.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::decision::Key;
use crate::kubernetes::owned_config_map;
use crate::kubernetes::watch::Watch;
use crate::names;

/// A watch of the ConfigMaps that velero-trust wrote into its own namespace. The value is what the
/// leader reacts to: of a memory the resourceVersion, of a report the request for a probe.
pub(super) type OwnConfigMapWatch = Watch<Option<String>>;

/// What the leader reacts to in its own ConfigMaps about one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnConfigMaps {
    /// The resourceVersion of the memory; `None` if there is no memory.
    pub(super) memory: Option<String>,
    /// The last request for a probe of the endpoints.
    pub(super) probe_request: Option<String>,
}

/// Watches the ConfigMaps in the namespace `own`.
pub(super) fn watch_own_config_maps(client: Client, own: &str) -> OwnConfigMapWatch {
    let config_maps = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client, own);
    let written = Config::default().labels(owned_config_map::SELECTOR);
    Watch::new(config_maps, written, "our own ConfigMaps", |map| {
        Some(value(map.metadata))
    })
}

fn value(metadata: ObjectMeta) -> Option<String> {
    let name = metadata.name.unwrap_or_default();
    if name.starts_with(names::MEMORY_PREFIX) {
        return metadata.resource_version;
    }
    let request = metadata.annotations?.remove(names::PROBE_REQUESTED)?;
    let is_report = name.starts_with(names::REPORT_PREFIX);
    let is_short = request.chars().count() <= names::MAX_PROBE_REQUEST_CHARS;
    (is_report && is_short).then_some(request)
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
        probe_request: value(names::REPORT_PREFIX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_has_its_version_and_a_report_its_request() {
        let of = |name: &str, request: &str| {
            let annotations = [(names::PROBE_REQUESTED.to_owned(), request.to_owned())];
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some("7".to_owned()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            };
            value(metadata)
        };
        assert_eq!(of("velero-trust-memory.a", "now").as_deref(), Some("7"));
        assert_eq!(of("velero-trust-report.a", "now").as_deref(), Some("now"));
        // Every write of a report would be a change otherwise.
        assert_eq!(of("other", "now"), None);
        assert_eq!(of("velero-trust-report.a", &"x".repeat(65)), None);
    }
}
