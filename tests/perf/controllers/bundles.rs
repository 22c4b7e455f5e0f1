//! The bundles of all namespaces, observed by a watch as a kubelet does.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use velero_trust::kubernetes::bundle;
use velero_trust::names::BUNDLE;

use super::objects::{NAMESPACES, namespace, namespaces};

/// Maximum wait for a bundle.
const PATIENCE: Duration = Duration::from_mins(2);

/// The text of each bundle, by namespace.
type Texts = BTreeMap<String, String>;

/// The observed bundles.
pub(super) struct Bundles(watch::Receiver<Texts>);

impl Bundles {
    /// Starts a watch that lasts as long as the runtime.
    pub(super) fn watch(client: &Client) -> Self {
        let only = Config::default().fields(&format!("metadata.name={BUNDLE}"));
        let watch = watcher(Api::<ConfigMap>::all(client.clone()), only);
        let (sender, receiver) = watch::channel(Texts::new());
        tokio::spawn(watch.for_each(move |event| {
            sender.send_modify(|texts| take(texts, event));
            future::ready(())
        }));
        Self(receiver)
    }

    /// Waits until the bundle of a namespace contains `mark`.
    pub(super) async fn has(&self, number: usize, mark: &str) -> Result<()> {
        let namespace = namespace(number);
        self.until(|texts| {
            texts
                .get(&namespace)
                .is_some_and(|text| text.contains(mark))
        })
        .await
    }

    /// Waits until any namespace has a bundle.
    pub(super) async fn any(&self) -> Result<()> {
        self.until(|texts| !texts.is_empty()).await
    }

    /// Waits until every namespace has a bundle.
    pub(super) async fn all(&self) -> Result<()> {
        self.until(|texts| texts.len() == NAMESPACES).await
    }

    async fn until(&self, holds: impl FnMut(&Texts) -> bool) -> Result<()> {
        let mut texts = self.0.clone();
        let held = tokio::time::timeout(PATIENCE, texts.wait_for(holds)).await;
        held.context("a bundle did not come")??;
        Ok(())
    }

    /// Deletes all bundles. No replica may run, because it would restore them.
    pub(super) async fn remove(&self, client: &Client) -> Result<()> {
        for namespace in namespaces() {
            let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
            if maps.get_metadata_opt(BUNDLE).await?.is_some() {
                maps.delete(BUNDLE, &DeleteParams::default()).await?;
            }
        }
        self.until(BTreeMap::is_empty).await
    }
}

fn take(texts: &mut Texts, event: Result<Event<ConfigMap>, kube::runtime::watcher::Error>) {
    let key = |map: &ConfigMap| map.namespace().unwrap_or_default();
    match event {
        Ok(Event::Init) => texts.clear(),
        Ok(Event::InitApply(map) | Event::Apply(map)) => {
            let text = bundle::text(&map).unwrap_or_default().to_owned();
            texts.insert(key(&map), text);
        }
        Ok(Event::Delete(map)) => {
            texts.remove(&key(&map));
        }
        Ok(Event::InitDone) | Err(_) => {}
    }
}
