//! Determines which namespaces are Velero's.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;

use crate::controllers::ControllerContext;
use crate::controllers::locations::{LocationWatch, watch_locations};
use crate::controllers::observed_bundle::{BundleWatch, watch_bundles};
use crate::controllers::own_config_maps::{OwnConfigMapWatch, watch_own_config_maps};
use crate::decision::Policy;
use crate::kubernetes::watch::Watch;
use crate::names;

/// A watch of the namespaces that carry velero-trust's label.
type LabelledNamespaces = Watch<()>;

/// The watches that determine which namespaces are Velero's: those that hold a BSL, carry
/// velero-trust's label, or were Velero's before and still have their bundle.
///
/// A bundle alone proves nothing: whoever reaches the webhook can send a review that writes one, and
/// whoever may write ConfigMaps in a namespace can make one that looks like ours. So a former member
/// also needs its report or its memory, which are in our own namespace.
pub(super) struct Membership {
    pub(super) locations: LocationWatch,
    pub(super) bundles: BundleWatch,
    pub(super) labelled: LabelledNamespaces,
    /// The ConfigMaps that velero-trust wrote into its own namespace.
    pub(super) owned: OwnConfigMapWatch,
    policy: Arc<Policy>,
}

impl Membership {
    /// Starts the watches.
    pub(super) fn watch(controllers: &ControllerContext) -> Self {
        let ControllerContext {
            client, settings, ..
        } = controllers;
        let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let label = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
        let config = Config::default().labels(&label);
        let subject = format!("namespaces labelled {label}");
        Self {
            locations: watch_locations(client.clone()),
            bundles: watch_bundles(client.clone()),
            labelled: Watch::new(namespaces, config, subject, |_| Some(())),
            owned: watch_own_config_maps(client.clone(), &settings.namespace),
            policy: Arc::clone(&controllers.policy),
        }
    }

    /// Returns whether BSLs were listed. Without them nothing is known about any namespace.
    pub(super) const fn has_locations(&self) -> bool {
        self.locations.last_known().is_some()
    }

    /// Returns whether all members are known, so that all other namespaces may be cleaned up.
    pub(super) fn is_complete(&self) -> bool {
        self.has_locations()
            && self.bundles.current().is_some()
            && self.labelled.last_known().is_some()
            && self.owned.last_known().is_some()
    }

    /// Returns the Velero namespaces that are known.
    pub(super) fn members(&self) -> BTreeSet<&str> {
        let locations = self.locations.last_known().into_iter().flatten();
        let locations = locations.map(|(key, _)| key.namespace.as_str());
        let labelled = self.labelled.last_known().into_iter().flatten();
        let labelled = labelled.map(|(key, ())| key.name.as_str());
        let former = self.former_members();
        let all = locations.chain(labelled).chain(former);
        all.filter(|name| !self.policy.excludes(name)).collect()
    }

    /// Returns the namespaces with a bundle that were Velero's before.
    fn former_members(&self) -> impl Iterator<Item = &str> {
        let owned = self.owned.last_known().into_iter().flatten();
        let known: BTreeSet<&str> = owned
            .filter_map(|(key, _)| {
                let prefixes = [names::MEMORY_PREFIX, names::REPORT_PREFIX];
                let mut suffixes = prefixes.iter().map(|prefix| key.name.strip_prefix(prefix));
                suffixes.find_map(|suffix| suffix)
            })
            .collect();
        let bundles = self.bundles.last_known().into_iter().flatten();
        bundles
            .filter(|(_, bundle)| bundle.ours.is_some() && bundle.is_published)
            .map(|(key, _)| key.namespace.as_str())
            .filter(move |namespace| known.contains(namespace))
    }
}
