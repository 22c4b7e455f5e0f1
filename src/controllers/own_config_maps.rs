//! Watches the ConfigMaps in velero-trust's own namespace: what the leader keeps there must be as it
//! wrote it, and by some of them an operator tells it something: by a memory that was edited, or by
//! a request for a probe on a report.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::decision::Key;
use crate::kubernetes::owned_config_map;
use crate::kubernetes::watch::Watch;
use crate::names;

/// A watch of the ConfigMaps that velero-trust wrote into its own namespace. What Velero restored
/// counts as absent, so that the leader replaces it.
pub(super) type OwnConfigMapWatch = Watch<OwnConfigMap>;

/// What the leader reacts to in one of its own ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnConfigMap {
    /// The resourceVersion; `None` if there is no ConfigMap.
    pub(super) version: Option<String>,
    /// Of a report, the request for a probe.
    probe_request: Option<String>,
}

/// What the leader reacts to in its own ConfigMaps about one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnConfigMaps {
    /// The resourceVersion of the memory; `None` if there is no memory.
    pub(super) memory: Option<String>,
    /// The resourceVersion of the report; `None` if there is no report.
    pub(super) report: Option<String>,
    /// The last request for a probe of the endpoints.
    pub(super) probe_request: Option<String>,
}

/// Watches the ConfigMaps in the namespace `own`.
pub(super) fn watch_own_config_maps(client: Client, own: &str) -> OwnConfigMapWatch {
    let config_maps = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client, own);
    let written = Config::default().labels(owned_config_map::SELECTOR);
    Watch::new(config_maps, written, "our own ConfigMaps", |map| {
        value(map.metadata)
    })
}

fn value(metadata: ObjectMeta) -> Option<OwnConfigMap> {
    if owned_config_map::restored_by(&metadata).is_some() {
        return None;
    }
    let name = metadata.name.unwrap_or_default();
    let annotations = metadata.annotations.unwrap_or_default();
    let request = annotations.get(names::PROBE_REQUESTED);
    let request = request.filter(|_| name.starts_with(names::REPORT_PREFIX));
    let request = request.filter(|text| text.chars().count() <= names::MAX_PROBE_REQUEST_CHARS);
    Some(OwnConfigMap {
        version: metadata.resource_version,
        probe_request: request.cloned(),
    })
}

/// Returns what the watch knows about `namespace`, where `own` is the namespace of velero-trust;
/// `None` if nothing is known.
pub(super) fn observe(
    config_maps: &OwnConfigMapWatch,
    own: &str,
    namespace: &str,
) -> Option<OwnConfigMaps> {
    let get = |prefix| observe_one(config_maps, own, format!("{prefix}{namespace}"));
    let report = get(names::REPORT_PREFIX)?;
    Some(OwnConfigMaps {
        memory: get(names::MEMORY_PREFIX)?.version,
        report: report.version,
        probe_request: report.probe_request,
    })
}

/// Returns what the watch knows about the ConfigMap `name` in the namespace `own`, which is the default
/// if there is none; `None` if nothing is known.
pub(super) fn observe_one(
    config_maps: &OwnConfigMapWatch,
    own: &str,
    name: String,
) -> Option<OwnConfigMap> {
    let map = config_maps.current()?.get(&Key::new(own, name));
    Some(map.cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::velero::restore::RESTORE_LABEL;

    fn metadata(name: &str, request: &str) -> ObjectMeta {
        let annotations = [(names::PROBE_REQUESTED.to_owned(), request.to_owned())];
        ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some("7".to_owned()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_config_map_has_its_version_and_a_report_its_request() {
        let of = |name: &str, request: &str| {
            let map = value(metadata(name, request)).unwrap();
            assert_eq!(map.version.as_deref(), Some("7"));
            map.probe_request
        };
        assert_eq!(of("velero-trust-report.a", "now").as_deref(), Some("now"));
        for name in ["velero-trust-memory.a", "other"] {
            assert_eq!(of(name, "now"), None);
        }
        assert_eq!(of("velero-trust-report.a", &"x".repeat(65)), None);
    }

    #[test]
    fn what_velero_restored_is_absent() {
        for name in [
            "velero-trust-report.a",
            "velero-trust-memory.a",
            names::SERVING_CERTIFICATE,
        ] {
            let mut restored = metadata(name, "now");
            restored.labels = Some([(RESTORE_LABEL.to_owned(), "r".to_owned())].into());
            assert_eq!(value(restored), None);
        }
    }
}
