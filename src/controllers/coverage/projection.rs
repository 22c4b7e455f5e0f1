//! What a watch brings, reduced to what matters.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The objects of a watch by name, each as a small value; nothing else of them is kept.
#[derive(Debug)]
pub(super) struct Projection<V> {
    /// None until there was a whole list.
    known: Option<BTreeMap<String, V>>,
    /// While the first or a new list comes in: what it has named so far.
    listing: BTreeMap<String, V>,
}

impl<V> Default for Projection<V> {
    fn default() -> Self {
        Self {
            known: None,
            listing: BTreeMap::new(),
        }
    }
}

impl<V: PartialEq> Projection<V> {
    /// Takes an event of the watch; an object without a value counts as not there. Tells whether
    /// anything that matters changed: Velero and the kubelets write many a status that does not.
    pub(super) fn take<K: ResourceExt>(
        &mut self,
        event: Event<K>,
        value: impl Fn(&K) -> Option<V>,
    ) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(object) => {
                if let Some(value) = value(&object) {
                    self.listing.insert(object.name_any(), value);
                }
                false
            }
            Event::InitDone => {
                let new = Some(std::mem::take(&mut self.listing));
                let changed = self.known != new;
                self.known = new;
                changed
            }
            Event::Apply(object) => match value(&object) {
                Some(value) => {
                    let known = self.known.get_or_insert_default();
                    let changed = known.get(&object.name_any()) != Some(&value);
                    known.insert(object.name_any(), value);
                    changed
                }
                None => self.remove(&object.name_any()),
            },
            Event::Delete(object) => self.remove(&object.name_any()),
        }
    }

    /// Forgets everything: it cannot be watched any more.
    pub(super) fn forget(&mut self) -> bool {
        self.known.take().is_some()
    }

    /// The objects; none until there was a whole list.
    pub(super) fn known(&self) -> Option<&BTreeMap<String, V>> {
        self.known.as_ref()
    }

    fn remove(&mut self, name: &str) -> bool {
        let known = self.known.as_mut();
        known.is_some_and(|known| known.remove(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(name: &str, label: Option<&str>) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        let label = label.map(|value| ("l".to_owned(), value.to_owned()));
        map.metadata.labels = Some(label.into_iter().collect());
        map.metadata.resource_version = Some(format!("{name:p}"));
        map
    }

    #[test]
    fn only_another_value_is_a_change() {
        let value = |map: &ConfigMap| map.labels().get("l").cloned();
        let mut projection = Projection::default();
        let mut take = |event| projection.take(event, value);
        assert!(!take(Event::Init));
        assert!(!take(Event::InitApply(map("a", Some("1")))));
        assert!(take(Event::InitDone));
        assert!(!take(Event::Apply(map("a", Some("1")))));
        assert!(!take(Event::Apply(map("of others", None))));
        assert!(take(Event::Apply(map("a", Some("2")))));
        // A new list that says the same.
        take(Event::Init);
        take(Event::InitApply(map("a", Some("2"))));
        assert!(!take(Event::InitDone));
        // It became nothing to us, and went later.
        assert!(take(Event::Apply(map("a", None))));
        assert!(!take(Event::Delete(map("a", None))));
    }

    #[test]
    fn an_empty_list_is_known_and_no_list_is_not() {
        let mut projection = Projection::<()>::default();
        assert!(projection.known().is_none());
        assert!(projection.take(Event::<ConfigMap>::InitDone, |_| None));
        assert!(projection.known().is_some());
        assert!(projection.forget());
        assert!(projection.known().is_none());
    }
}
