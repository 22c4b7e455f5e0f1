//! What the activation follows in the cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::admission::activation::Configuration;
use crate::kubernetes::registered_webhooks::own_label;
use crate::kubernetes::watch::Watch;
use crate::kubernetes::webhook_configurations::WebhookConfiguration;
use crate::kubernetes::workloads::{Kind, is_rolled_out};
use crate::names;

/// What is watched.
pub(super) struct Watches {
    validating: Watch<WebhookConfiguration>,
    mutating: Watch<WebhookConfiguration>,
    /// Whether our Deployment is rolled out.
    deployment: Watch<bool>,
    /// The ConfigMap that forbids activation.
    off: Watch<()>,
}

/// The state of what is watched.
pub(super) struct Observed<'w> {
    pub(super) configurations: Vec<&'w WebhookConfiguration>,
    pub(super) is_rolled_out: bool,
    pub(super) is_off: bool,
}

impl Watches {
    pub(super) fn new(client: &Client, own: &str) -> Self {
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        let config_maps = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client.clone(), own);
        let deployments = Kind::Deployment.api(client.clone(), own);
        Self {
            validating: configurations::<ValidatingWebhookConfiguration>(client),
            mutating: configurations::<MutatingWebhookConfiguration>(client),
            deployment: Watch::of_text(
                deployments,
                named(names::APP),
                format!("Deployment {own}/{}", names::APP),
                |text| Some(is_rolled_out(&serde_json::from_str(text).ok()?)),
            ),
            off: Watch::new(
                config_maps,
                named(names::OFF),
                format!("ConfigMap {own}/{}", names::OFF),
                |_| Some(()),
            ),
        }
    }

    /// Waits until something changes.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            _ = self.validating.changed() => {}
            _ = self.mutating.changed() => {}
            _ = self.deployment.changed() => {}
            _ = self.off.changed() => {}
        }
    }

    /// Returns the state; `None` while it is not known.
    pub(super) fn known(&self) -> Option<Observed<'_>> {
        let (validating, mutating) = (self.validating.last_known()?, self.mutating.last_known()?);
        let (deployment, off) = (self.deployment.last_known()?, self.off.last_known()?);
        let all = validating.values().chain(mutating.values());
        Some(Observed {
            configurations: all.filter(|one| one.is_current()).collect(),
            is_rolled_out: deployment.values().any(|is_rolled_out| *is_rolled_out),
            is_off: !off.is_empty(),
        })
    }
}

impl Observed<'_> {
    /// Returns the configurations as the decision reads them. Those in `active` were active before.
    pub(super) fn views(&self, active: &BTreeSet<String>) -> Vec<Configuration> {
        let views = self.configurations.iter().map(|one| {
            let name = one.to_string();
            Configuration {
                was_active: active.contains(&name),
                metadata: one.metadata(),
                webhooks: one.webhooks().cloned().collect(),
                name,
            }
        });
        views.collect()
    }
}

fn configurations<K>(client: &Client) -> Watch<WebhookConfiguration>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + Sync + 'static,
{
    let subject = format!("{}s of velero-trust", K::kind(&()));
    let config = Config::default().labels(&own_label());
    let api = Api::<K>::all(client.clone());
    Watch::of_text(api, config, subject, |text| {
        WebhookConfiguration::read::<K>(text)
    })
}
