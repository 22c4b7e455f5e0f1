//! News of objects in a namespace, without reading them.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};

use crate::names;

/// How often to look where watching is refused.
const POLL: Duration = Duration::from_secs(30);

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
    news::<Secret>(client, namespace, Config::default())
}

/// News of the bundle in `namespace`.
pub(super) fn of_bundle(client: Client, namespace: &str) -> Stream {
    // The right to watch is for this one name, and counts only with this selector.
    let only = format!("metadata.name={}", names::BUNDLE);
    news::<ConfigMap>(client, namespace, Config::default().fields(&only))
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
fn news<K>(client: Client, namespace: &str, config: Config) -> Stream
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Send + Sync + 'static,
{
    let objects = Api::<PartialObjectMeta<K>>::namespaced(client, namespace);
    let watch = watcher(objects, config).default_backoff();
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
                        if !is_refused(&error) {
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

/// Whether we have no right to watch.
fn is_refused(error: &Error) -> bool {
    let code = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status.code,
        _ => 0,
    };
    code == 403
}
