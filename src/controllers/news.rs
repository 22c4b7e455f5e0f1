//! News of objects, without reading them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};

use crate::kubernetes::error;
use crate::names;

/// How often to look where watching is refused.
pub(super) const POLL: Duration = Duration::from_secs(30);

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An object was made, changed or removed.
    Changed {
        /// Its name.
        name: String,
        /// The version it has now.
        version: Option<String>,
    },
    /// Anything may have changed: a new list came, or we may not watch and should look.
    Unsure,
}

/// The news of one kind in one namespace.
pub(super) type Stream = BoxStream<'static, News>;

/// News of the Secrets in `namespace`.
pub(super) fn of_secrets(client: Client, namespace: &str) -> Stream {
    news::<Secret>(client, namespace)
}

/// Takes all news that are ready; false when there will be none any more.
pub(super) fn drain(stream: &mut Stream) -> bool {
    while let Some(heard) = stream.next().now_or_never() {
        if heard.is_none() {
            return false;
        }
    }
    true
}

/// Only metadata is watched; where even that is refused, the news is to look again, every 30
/// seconds. What else goes wrong is over when the watch has a new list.
fn news<K>(client: Client, namespace: &str) -> Stream
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Send + Sync + 'static,
{
    let objects = Api::<PartialObjectMeta<K>>::namespaced(client, namespace);
    let watch = watcher(objects, Config::default()).default_backoff();
    let namespace = namespace.to_owned();
    watch
        .filter_map(move |event| {
            let namespace = namespace.clone();
            async move {
                match event {
                    Ok(Event::Apply(object) | Event::Delete(object)) => Some(News::Changed {
                        name: object.name_any(),
                        version: object.resource_version(),
                    }),
                    Ok(Event::InitDone) => Some(News::Unsure),
                    Ok(Event::Init | Event::InitApply(_)) => None,
                    Err(error) => {
                        let kind = K::kind(&());
                        tracing::debug!(%namespace, %kind, %error, "cannot watch");
                        if !error::is_forbidden(&error) {
                            return None;
                        }
                        tokio::time::sleep(POLL).await;
                        Some(News::Unsure)
                    }
                }
            }
        })
        .boxed()
}

/// The metadata of objects of one kind in the whole cluster.
pub(super) type Everywhere = BoxStream<'static, watcher::Result<Event<ObjectMeta>>>;

/// The namespaces that are labelled as Velero's.
pub(super) fn labelled_namespaces(client: Client) -> Everywhere {
    let only = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
    everywhere::<Namespace>(Api::all(client), Config::default().labels(&only))
}

/// The metadata of `objects`, which are all that `config` chooses.
pub(super) fn everywhere<K>(objects: Api<PartialObjectMeta<K>>, config: Config) -> Everywhere
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let watch = watcher(objects, config).default_backoff();
    let metadata = |event| match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(meta(object)),
        Event::Apply(object) => Event::Apply(meta(object)),
        Event::Delete(object) => Event::Delete(meta(object)),
    };
    watch.map(move |event| event.map(metadata)).boxed()
}

fn meta<K>(object: PartialObjectMeta<K>) -> ObjectMeta {
    object.metadata
}

/// The names of the objects of one kind: each is a Velero namespace.
pub(super) struct Members {
    watch: Everywhere,
    now: BTreeSet<String>,
    is_known: bool,
    /// While a list comes in: what it has named so far.
    listing: BTreeSet<String>,
}

impl Members {
    pub(super) const fn new(watch: Everywhere) -> Self {
        Self {
            watch,
            now: BTreeSet::new(),
            is_known: false,
            listing: BTreeSet::new(),
        }
    }

    /// Waits until there is another object, or a whole list.
    pub(super) async fn changed(&mut self) {
        let name = |object: ObjectMeta| object.name.unwrap_or_default();
        loop {
            // A watcher never ends.
            match self.watch.next().await {
                None => std::future::pending().await,
                Some(Ok(Event::Init)) => self.listing.clear(),
                Some(Ok(Event::InitApply(object))) => {
                    self.listing.insert(name(object));
                }
                Some(Ok(Event::InitDone)) => {
                    self.now = std::mem::take(&mut self.listing);
                    self.is_known = true;
                    return;
                }
                Some(Ok(Event::Apply(object))) => {
                    if self.now.insert(name(object)) {
                        return;
                    }
                }
                Some(Ok(Event::Delete(object))) => {
                    if self.now.remove(&name(object)) {
                        return;
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "cannot watch"),
            }
        }
    }

    /// Whether a whole list has come in.
    pub(super) const fn are_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.now.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test]
    async fn members_are_known_after_a_whole_list_only() {
        let named = |name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        let failed = watcher::Error::NoResourceVersion;
        let events = [
            Ok(Event::Init),
            Ok(Event::InitApply(named("a"))),
            Err(failed),
            Ok(Event::Apply(named("b"))),
            Ok(Event::Init),
            Ok(Event::InitApply(named("a"))),
            Ok(Event::InitDone),
        ];
        let mut members = Members::new(stream::iter(events).boxed());
        assert!(!members.are_known());
        members.changed().await;
        assert!(!members.are_known(), "{:?}", members.now);
        members.changed().await;
        assert!(members.are_known());
        assert_eq!(members.names().collect::<Vec<_>>(), ["a"]);
    }
}
