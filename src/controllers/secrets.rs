//! News of the Secrets in a namespace, without reading them.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

/// How often to look where watching is refused.
const POLL: Duration = Duration::from_secs(30);

/// What was heard of the Secrets in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The Secret of this name was made, changed or removed.
    Changed(String),
    /// Anything may have changed: a new list came, or we may not watch and should look.
    Unsure,
}

/// News of the Secrets in `namespace`. Only metadata is watched; where even that is refused, the
/// news is to look again, every 30 seconds.
pub(super) fn news(client: Client, namespace: &str) -> impl Stream<Item = News> + use<> {
    let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(client, namespace);
    let watch = watcher(secrets, Config::default()).default_backoff();
    let namespace = namespace.to_owned();
    watch
        .filter_map(move |event| {
            let namespace = namespace.clone();
            async move {
                match event {
                    Ok(Event::Apply(secret) | Event::Delete(secret)) => {
                        Some(News::Changed(secret.name_any()))
                    }
                    Ok(Event::InitDone) => Some(News::Unsure),
                    Ok(Event::Init | Event::InitApply(_)) => None,
                    Err(error) => {
                        tracing::debug!(%namespace, %error, "cannot watch Secrets");
                        tokio::time::sleep(POLL).await;
                        Some(News::Unsure)
                    }
                }
            }
        })
        .boxed()
}
