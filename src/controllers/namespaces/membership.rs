//! Which namespaces are Velero's.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client};

use crate::controllers::locations::{LocationWatch, watch_locations};
use crate::controllers::observed_bundle::{BundleWatch, watch_bundles};
use crate::kubernetes::watch::Watch;
use crate::names;

/// Never a Velero namespace, whatever it holds.
const EXCLUDED_NAMESPACE: &str = "kube-system";

/// A watch of the namespaces with our label.
type LabelledNamespaces = Watch<()>;

/// The watches that tell which namespaces are Velero's: those that hold a BSL or a bundle of ours,
/// or carry our label.
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

    /// Whether BSLs were listed: without them nothing is known of any namespace.
    pub(super) const fn has_locations(&self) -> bool {
        self.locations.last_known().is_some()
    }

    /// Whether all members are known, so that what is no member may be cleaned up.
    pub(super) fn is_complete(&self) -> bool {
        self.has_locations()
            && self.bundles.current().is_some()
            && self.labelled.last_known().is_some()
    }

    /// Returns the Velero namespaces, as far as they are known.
    pub(super) fn members(&self) -> BTreeSet<&str> {
        let locations = self.locations.last_known().into_iter().flatten();
        let locations = locations.map(|(key, _)| &key.namespace);
        let bundles = self.bundles.last_known().into_iter().flatten();
        let bundles = bundles.filter(|(_, bundle)| bundle.ours.is_some());
        let bundles = bundles.map(|(key, _)| &key.namespace);
        let labelled = self.labelled.last_known().into_iter().flatten();
        let labelled = labelled.map(|(key, ())| &key.name);
        let all = locations.chain(bundles).chain(labelled);
        all.map(String::as_str)
            .filter(|name| *name != EXCLUDED_NAMESPACE)
            .collect()
    }
}
