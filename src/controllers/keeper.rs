//! Keeps the merged CA bundle of one namespace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::locations::Locations;
use super::secrets::{self, News};
use crate::ca::bundle::{Contribution, contribution, merge, mozilla};
use crate::ca::certificate::Certificate;
use crate::decision::Facts;
use crate::kubernetes::bundle::config_map;
use crate::names;
use crate::sources::{Limits, Source};
use crate::velero::bsl::Bsl;

/// How long changes are gathered before a bundle is made: a GitOps tool applies many at once.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Longest wait for the Secrets of a namespace.
const LOOKUP: Duration = Duration::from_secs(10);

/// First and longest pause after a bundle could not be published.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Keeps the bundle of one namespace.
pub(super) struct Keeper {
    client: Client,
    source: Arc<dyn Source>,
    namespace: String,
    /// The certificates of each location when its CA was last readable and good, so that a Secret
    /// that becomes bad or unreadable takes no good CA away.
    last_good: BTreeMap<String, Vec<Certificate>>,
}

/// Why a bundle was not published.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error("cannot write ConfigMap {0}: {1}")]
    Apply(&'static str, kube::Error),
    #[error("cannot read ConfigMap {0}: {1}")]
    Read(&'static str, kube::Error),
    #[error("the CA of BackupStorageLocation {location} is not known yet: {why}")]
    Unknown { location: String, why: String },
}

impl Keeper {
    pub(super) fn new(client: Client, source: Arc<dyn Source>, namespace: String) -> Self {
        Self {
            client,
            source,
            namespace,
            last_good: BTreeMap::new(),
        }
    }

    /// Publishes now and whenever something changes; ends when the sender of `locations` is gone.
    pub(super) async fn run(mut self, mut locations: watch::Receiver<Locations>) {
        let mut news = secrets::news(self.client.clone(), &self.namespace);
        let mut pause = RETRY.0;
        loop {
            let now = locations.borrow_and_update().clone();
            let published = self.publish(&now).await;
            let retry = match &published {
                Ok(()) => {
                    pause = RETRY.0;
                    None
                }
                Err(error) => {
                    tracing::warn!(namespace = self.namespace, %error, "bundle not published");
                    let wait = pause;
                    pause = (pause * 2).min(RETRY.1);
                    Some(wait)
                }
            };
            let again = async {
                match retry {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(again);
            loop {
                tokio::select! {
                    changed = locations.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    heard = news.next() => match heard {
                        Some(News::Changed(name)) if !mentions(&now, &name) => {}
                        Some(_) => break,
                        None => return,
                    },
                    () = &mut again => break,
                }
            }
            sleep(DEBOUNCE).await;
        }
    }

    async fn publish(&mut self, locations: &Locations) -> Result<(), NotPublished> {
        let (certificates, unknown) = self.gather(locations).await;
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let live = maps.get_opt(names::BUNDLE).await;
        let live = live.map_err(|error| NotPublished::Read(names::BUNDLE, error))?;
        if let (Some(_), Some(unknown)) = (&live, unknown) {
            // The bundle that is there may hold what we cannot read now: it is not made smaller.
            return Err(unknown);
        }
        let bundle = merge(mozilla().iter().chain(&certificates));
        let wanted = config_map(&self.namespace, &bundle);
        let same = live.is_some_and(|live| {
            live.data == wanted.data
                && wanted
                    .metadata
                    .annotations
                    .iter()
                    .flatten()
                    .all(|(key, value)| {
                        live.metadata
                            .annotations
                            .as_ref()
                            .and_then(|known| known.get(key))
                            == Some(value)
                    })
        });
        if same {
            return Ok(());
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        maps.patch(names::BUNDLE, &params, &Patch::Apply(&wanted))
            .await
            .map_err(|error| NotPublished::Apply(names::BUNDLE, error))?;
        tracing::info!(
            namespace = self.namespace,
            certificates = bundle.count,
            hash = bundle.hash,
            "bundle published"
        );
        Ok(())
    }

    /// The certificates of all locations, and the first that is not known at all.
    async fn gather(&mut self, locations: &Locations) -> (Vec<Certificate>, Option<NotPublished>) {
        let mut certificates = Vec::new();
        let mut unknown = None;
        for (location, text) in locations.iter() {
            let Contribution {
                certificates: found,
                left_out,
                report,
            } = self.contribution(text).await;
            certificates.extend(found.iter().cloned());
            if left_out.is_empty() && report.unknowns.is_empty() {
                self.last_good.insert(location.clone(), found);
                continue;
            }
            for path in left_out {
                tracing::warn!(namespace = self.namespace, location, %path, "CA left out");
            }
            if let Some(good) = self.last_good.get(location) {
                certificates.extend(good.iter().cloned());
            } else if let Some((_, reason)) = report.unknowns.into_iter().next() {
                let (location, why) = (location.clone(), reason.message);
                unknown.get_or_insert(NotPublished::Unknown { location, why });
            }
        }
        self.last_good
            .retain(|name, _| locations.contains_key(name));
        (certificates, unknown)
    }

    /// What one location adds to the bundle, with its Secrets read live.
    async fn contribution(&self, text: &str) -> Contribution {
        let bsl: Bsl<'_> = serde_json::from_str(text).unwrap_or_default();
        let mut facts = Facts::default();
        let plan = contribution(&self.namespace, &bsl, &facts);
        if plan.report.needs.is_empty() {
            return plan;
        }
        let limits = Limits {
            deadline: Instant::now() + LOOKUP,
            dry_run: false,
        };
        facts.extend(self.source.resolve(&plan.report.needs, limits).await);
        contribution(&self.namespace, &bsl, &facts)
    }
}

/// Whether any of the locations could mean the Secret `name`; a false alarm costs one look.
fn mentions(locations: &Locations, name: &str) -> bool {
    locations.values().any(|text| text.contains(name))
}
