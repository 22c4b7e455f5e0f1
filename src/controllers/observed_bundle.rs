//! Watches the bundle ConfigMaps of the whole cluster. All namespaces share one watch, because each
//! watch holds a connection.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::decision::Key;
use crate::injection::coverage;
use crate::kubernetes::bundle;
use crate::kubernetes::bundle_annotations::BundleAnnotations;
use crate::kubernetes::watch::Watch;
use crate::names;

/// The bundle of one namespace, as the watch observes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ObservedBundle {
    /// Not known: no list is complete yet, or the list is refused.
    #[default]
    Unknown,
    /// No ConfigMap has the bundle's name.
    Absent,
    /// A ConfigMap has the bundle's name.
    Present(BundleMetadata),
}

/// The metadata of a ConfigMap that has the bundle's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BundleMetadata {
    /// The resourceVersion.
    pub(super) version: Option<String>,
    /// The state that the annotations describe; `None` if velero-trust did not write the ConfigMap.
    pub(super) ours: Option<coverage::BundleSummary>,
    /// Whether a publisher wrote it, not only a review of a Pod.
    pub(super) is_published: bool,
}

/// A watch of the bundles of all namespaces.
pub(super) type BundleWatch = Watch<BundleMetadata>;

/// Watches the bundles of all namespaces.
pub(super) fn watch_bundles(client: Client) -> BundleWatch {
    // The permission to watch is for this one name, and applies only with this selector.
    let config = Config::default().fields(&format!("metadata.name={}", names::BUNDLE));
    let config_maps = Api::<PartialObjectMeta<ConfigMap>>::all(client);
    Watch::new(config_maps, config, "the bundle ConfigMaps", |map| {
        Some(BundleMetadata {
            ours: BundleAnnotations::read(&map.metadata)
                .map(|annotations| annotations.for_coverage()),
            is_published: bundle::is_published(&map.metadata),
            version: map.metadata.resource_version,
        })
    })
}

/// Returns what the watch knows about the bundle of `namespace`.
pub(super) fn observe(bundles: &BundleWatch, namespace: &str) -> ObservedBundle {
    let Some(bundles) = bundles.current() else {
        return ObservedBundle::Unknown;
    };
    match bundles.get(&Key::new(namespace, names::BUNDLE)) {
        None => ObservedBundle::Absent,
        Some(metadata) => ObservedBundle::Present(metadata.clone()),
    }
}
