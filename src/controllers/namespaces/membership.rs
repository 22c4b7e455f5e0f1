//! Determines which namespaces are Velero's.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::controllers::locations::{LocationWatch, watch_locations};
use crate::controllers::observed_bundle::{BundleWatch, watch_bundles};
use crate::kubernetes::watch::Watch;
use crate::names;

/// The namespace that is never Velero's, whatever it holds.
const EXCLUDED_NAMESPACE: &str = "kube-system";

/// A watch of the namespaces that carry velero-trust's label.
type LabelledNamespaces = Watch<()>;

/// The watches that determine which namespaces are Velero's: those that hold a BSL or a bundle that
/// the controllers wrote, or carry velero-trust's label. A bundle that only a review of a Pod wrote
/// does not count: whoever reaches the webhook can send such a review.
pub(super) struct Membership {
    pub(super) locations: LocationWatch,
    pub(super) bundles: BundleWatch,
    pub(super) labelled: LabelledNamespaces,
}

impl Membership {
    /// Starts the watches.
    pub(super) fn watch(client: &Client) -> Self {
        let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let label = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
        let config = Config::default().labels(&label);
        let subject = format!("namespaces labelled {label}");
        Self {
            locations: watch_locations(client.clone()),
            bundles: watch_bundles(client.clone()),
            labelled: Watch::new(namespaces, config, subject, |_| Some(())),
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
    }

    /// Returns the Velero namespaces that are known.
    pub(super) fn members(&self) -> BTreeSet<&str> {
        let locations = self.locations.last_known().into_iter().flatten();
        let locations = locations.map(|(key, _)| &key.namespace);
        let bundles = self.bundles.last_known().into_iter().flatten();
        let bundles = bundles.filter(|(_, bundle)| bundle.ours.is_some() && bundle.is_published);
        let bundles = bundles.map(|(key, _)| &key.namespace);
        let labelled = self.labelled.last_known().into_iter().flatten();
        let labelled = labelled.map(|(key, ())| &key.name);
        let all = locations.chain(bundles).chain(labelled);
        all.map(String::as_str)
            .filter(|name| *name != EXCLUDED_NAMESPACE)
            .collect()
    }
}
