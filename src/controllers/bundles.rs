//! The bundle ConfigMaps of the whole cluster: one watch that all namespaces share, because each
//! watch holds a connection.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};

use super::news::{self, Everywhere};
use crate::injection::coverage;
use crate::kubernetes::error;
use crate::kubernetes::published::Published;
use crate::names;

/// What is seen of the bundle of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ObservedBundle {
    /// Nothing: there was no list yet, or there may be none.
    #[default]
    Unknown,
    /// There is no ConfigMap of its name.
    Absent,
    /// There is one.
    There {
        /// Its resourceVersion.
        version: Option<String>,
        /// What it says of itself; nothing where it is not ours.
        ours: Option<coverage::Bundle>,
    },
}

impl ObservedBundle {
    fn of(metadata: &ObjectMeta) -> Self {
        Self::There {
            version: metadata.resource_version.clone(),
            ours: Published::read(metadata).map(|published| published.facts()),
        }
    }
}

/// What is seen of the bundles of all namespaces.
pub(super) struct Bundles {
    watch: Everywhere,
    is_known: bool,
    now: BTreeMap<String, ObservedBundle>,
    /// While a list comes in: what it has named so far.
    listing: BTreeMap<String, ObservedBundle>,
}

impl Bundles {
    pub(super) fn watch(client: Client) -> Self {
        // The right to watch is for this one name, and counts only with this selector.
        let only = Config::default().fields(&format!("metadata.name={}", names::BUNDLE));
        Self::new(news::everywhere::<ConfigMap>(Api::all(client), only))
    }

    fn new(watch: Everywhere) -> Self {
        Self {
            watch,
            is_known: false,
            now: BTreeMap::new(),
            listing: BTreeMap::new(),
        }
    }

    /// Waits until there is something else to see.
    pub(super) async fn changed(&mut self) {
        let namespace = |metadata: &ObjectMeta| metadata.namespace.clone().unwrap_or_default();
        loop {
            // A watcher never ends.
            match self.watch.next().await {
                None => std::future::pending().await,
                Some(Ok(Event::Init)) => self.listing.clear(),
                Some(Ok(Event::InitApply(map))) => {
                    self.listing
                        .insert(namespace(&map), ObservedBundle::of(&map));
                }
                Some(Ok(Event::InitDone)) => {
                    self.now = std::mem::take(&mut self.listing);
                    self.is_known = true;
                    return;
                }
                Some(Ok(Event::Apply(map))) => {
                    self.now.insert(namespace(&map), ObservedBundle::of(&map));
                    return;
                }
                Some(Ok(Event::Delete(map))) => {
                    self.now.remove(&namespace(&map));
                    return;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "cannot watch the bundles");
                    // What else goes wrong is over when the watch has a new list.
                    if error::is_forbidden(&error) && std::mem::take(&mut self.is_known) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether a whole list has come in, and none was refused since.
    pub(super) const fn are_known(&self) -> bool {
        self.is_known
    }

    /// What is seen of the bundle of `namespace`.
    pub(super) fn of(&self, namespace: &str) -> ObservedBundle {
        if self.is_known {
            self.now
                .get(namespace)
                .cloned()
                .unwrap_or(ObservedBundle::Absent)
        } else {
            ObservedBundle::Unknown
        }
    }

    /// The namespaces that were last seen with a bundle of ours.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let is_ours =
            |seen: &ObservedBundle| matches!(seen, ObservedBundle::There { ours: Some(_), .. });
        let ours = self.now.iter().filter(move |(_, seen)| is_ours(seen));
        ours.map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;
    use kube::runtime::watcher::Error;

    use super::*;

    fn map(namespace: &str, version: &str, is_ours: bool) -> ObjectMeta {
        let hash = (names::bundle::HASH.to_owned(), "sha256:aa".to_owned());
        ObjectMeta {
            name: Some(names::BUNDLE.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: Some(version.to_owned()),
            annotations: is_ours.then(|| BTreeMap::from([hash])),
            ..ObjectMeta::default()
        }
    }

    fn there(version: &str) -> ObservedBundle {
        ObservedBundle::There {
            version: Some(version.to_owned()),
            ours: Some(coverage::Bundle::default()),
        }
    }

    #[tokio::test]
    async fn a_bundle_is_absent_only_when_a_list_says_so() {
        let forbidden = Status {
            code: 403,
            ..Status::default()
        };
        let mut bundles = Bundles::new(
            stream::iter([
                Ok(Event::Init),
                Ok(Event::InitApply(map("a", "1", true))),
                Ok(Event::InitApply(map("foreign", "1", false))),
                Ok(Event::InitDone),
                Ok(Event::Apply(map("b", "2", true))),
                Ok(Event::Delete(map("a", "3", true))),
                Err(Error::WatchError(Box::new(forbidden))),
                Ok(Event::Init),
                Ok(Event::InitDone),
            ])
            .boxed(),
        );
        assert_eq!(bundles.of("a"), ObservedBundle::Unknown);
        bundles.changed().await;
        assert_eq!(bundles.of("a"), there("1"));
        assert_eq!(bundles.of("b"), ObservedBundle::Absent);
        bundles.changed().await;
        assert_eq!(bundles.of("b"), there("2"));
        assert!(bundles.names().eq(["a", "b"]));
        bundles.changed().await;
        assert_eq!(bundles.of("a"), ObservedBundle::Absent);
        // Refused: nothing is known of any, and yet they are members as before.
        bundles.changed().await;
        assert_eq!(bundles.of("b"), ObservedBundle::Unknown);
        assert!(bundles.names().eq(["b"]));
        bundles.changed().await;
        assert_eq!(bundles.of("b"), ObservedBundle::Absent);
    }
}
