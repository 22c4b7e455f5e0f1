//! The BackupStorageLocations of the cluster, as far as the controllers depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, Result, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::kubernetes::location;
use crate::names::PREFIX;

/// What of each BSL in a namespace matters, as JSON of a smaller BSL, by name.
pub(super) type Locations = Arc<BTreeMap<String, String>>;

/// The namespaces that hold BSLs.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    by_name: BTreeMap<String, BTreeMap<String, String>>,
    /// A whole list has come in.
    is_known: bool,
    /// While the first or a new list of the watch comes in: what it has named so far.
    listing: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

/// A namespace whose BSLs changed in a way that matters; without BSLs it has none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) namespace: String,
    pub(super) locations: Locations,
}

/// The watch over all BSLs.
pub(super) fn watch(client: Client) -> impl Stream<Item = Result<Event<DynamicObject>>> {
    let all = location::everywhere(client);
    watcher(all, Config::default()).default_backoff().boxed()
}

impl Namespaces {
    /// Whether it is known which namespaces hold BSLs.
    pub(super) const fn are_known(&self) -> bool {
        self.is_known
    }

    /// The namespaces that hold BSLs.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    /// Takes an event of the watch; tells which namespaces it changed. Velero writes the status of
    /// every BSL once a minute, and those writes change nothing here.
    pub(super) fn take(&mut self, event: Event<DynamicObject>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(bsl) => {
                let listing = self.listing.get_or_insert_default();
                let of = listing
                    .entry(bsl.namespace().unwrap_or_default())
                    .or_default();
                of.insert(bsl.name_any(), project(&bsl));
                Vec::new()
            }
            Event::InitDone => {
                self.is_known = true;
                let new = self.listing.take().unwrap_or_default();
                let old = std::mem::replace(&mut self.by_name, new);
                let names = old
                    .keys()
                    .chain(self.by_name.keys().filter(|name| !old.contains_key(*name)));
                let changed = names.filter(|name| old.get(*name) != self.by_name.get(*name));
                changed.map(|name| self.change(name)).collect()
            }
            Event::Apply(bsl) => {
                let namespace = bsl.namespace().unwrap_or_default();
                let of = self.by_name.entry(namespace.clone()).or_default();
                let new = project(&bsl);
                let same = of.get(&bsl.name_any()) == Some(&new);
                of.insert(bsl.name_any(), new);
                if same {
                    Vec::new()
                } else {
                    vec![self.change(&namespace)]
                }
            }
            Event::Delete(bsl) => {
                let namespace = bsl.namespace().unwrap_or_default();
                if let Some(of) = self.by_name.get_mut(&namespace) {
                    of.remove(&bsl.name_any());
                    if of.is_empty() {
                        self.by_name.remove(&namespace);
                    }
                }
                vec![self.change(&namespace)]
            }
        }
    }

    /// Those of one namespace.
    pub(super) fn of(&self, namespace: &str) -> Locations {
        Arc::new(self.by_name.get(namespace).cloned().unwrap_or_default())
    }

    fn change(&self, namespace: &str) -> Change {
        Change {
            namespace: namespace.to_owned(),
            locations: self.of(namespace),
        }
    }
}

/// The part of a BSL that matters: what the rules look at, and whether Velero says that it works.
fn project(bsl: &DynamicObject) -> String {
    let of = |pointer| bsl.data.pointer(pointer).cloned().unwrap_or(Value::Null);
    let annotations = bsl.annotations().iter();
    let ours: BTreeMap<_, _> = annotations
        .filter(|(key, _)| key.starts_with(PREFIX))
        .collect();
    json!({
        "metadata": {"name": bsl.metadata.name, "uid": bsl.metadata.uid, "annotations": ours},
        "spec": {
            "provider": of("/spec/provider"),
            "config": of("/spec/config"),
            "objectStorage": of("/spec/objectStorage"),
            "credential": of("/spec/credential"),
        },
        "status": {"phase": of("/status/phase")},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bsl(name: &str, ca: &str, status: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": {"name": name, "namespace": "velero"},
            "spec": {"objectStorage": {"bucket": "b", "caCert": ca}},
            "status": {"lastSyncedTime": status},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_matters_to_the_bundle_is_a_change() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.take(Event::Init).is_empty());
        assert!(
            namespaces
                .take(Event::InitApply(bsl("a", "x", "1")))
                .is_empty()
        );
        let [change] = &namespaces.take(Event::InitDone)[..] else {
            panic!()
        };
        assert_eq!(
            (change.namespace.as_str(), change.locations.len()),
            ("velero", 1)
        );

        assert!(namespaces.take(Event::Apply(bsl("a", "x", "2"))).is_empty());
        assert_eq!(namespaces.take(Event::Apply(bsl("a", "y", "2"))).len(), 1);
        assert_eq!(
            namespaces.take(Event::Apply(bsl("b", "y", "2")))[0]
                .locations
                .len(),
            2
        );

        // A new list, in which `b` is missing.
        namespaces.take(Event::Init);
        namespaces.take(Event::InitApply(bsl("a", "y", "3")));
        assert_eq!(namespaces.take(Event::InitDone)[0].locations.len(), 1);

        assert!(
            namespaces.take(Event::Delete(bsl("a", "y", "3")))[0]
                .locations
                .is_empty()
        );
    }
}
