//! Whether the API server asks velero-trust, read with the permissions of the user.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};

use super::{ReadActivation, activation, issuer, read_activation, server_policy};
use crate::admission::webhook_state::{
    self, Backend, Installation, RegisteredWebhook, ServiceReference, WebhookStatus,
};
use crate::ca::serving_certificate::ServingCertificate;
use crate::clock;
use crate::kubernetes::registered_webhooks::{SERVICE_NAME_LABEL, backend, is_ready};
use crate::kubernetes::{published_certificate, webhook_configurations};

/// Reads what the leader of the installation in namespace `own` published of the activation, and the state of each
/// webhook by it and by the certificate that it published. What the user may not read is unknown.
pub(in crate::cli) async fn read_published(
    client: &Client,
    own: &str,
) -> (ReadActivation, Vec<WebhookStatus>) {
    let certificate = published_certificate::read(client, own).await;
    let certificate = certificate.ok().flatten();
    let reported = read_activation(client, own).await;
    let webhooks = read_webhooks(client, own, certificate.as_ref(), &reported).await;
    (reported, webhooks)
}

/// Returns the state of each webhook of the installation in namespace `own`, which presents this
/// `certificate`, if that is known, and whose leader `reported` this of the activation. What the user may
/// not read is unknown.
pub(in crate::cli) async fn read_webhooks(
    client: &Client,
    own: &str,
    certificate: Option<&ServingCertificate>,
    reported: &ReadActivation,
) -> Vec<WebhookStatus> {
    let configurations = match webhook_configurations::list(client).await {
        Ok(configurations) => configurations,
        Err(why) => return WebhookStatus::unknown(&format!("{why}: {}", why.reason())),
    };
    let registered: Vec<RegisteredWebhook> = configurations
        .iter()
        .flat_map(|configuration| {
            let name = configuration.to_string();
            let webhooks = configuration.webhooks();
            webhooks.map(move |webhook| RegisteredWebhook::read(&name, webhook))
        })
        .collect();
    let mut backends = BTreeMap::new();
    for service in registered.iter().filter_map(RegisteredWebhook::service) {
        let key = (service.namespace.clone(), service.name.clone());
        if let Entry::Vacant(entry) = backends.entry(key) {
            entry.insert(read_backend(client, service).await);
        }
    }
    let includes_kube_system = server_policy::includes_kube_system(client, own).await;
    let installation = Installation {
        namespace: own,
        certificate,
        includes_kube_system: includes_kube_system.unwrap_or_default(),
        activation: activation(reported),
        issuer: issuer(reported),
        now: clock::now(),
    };
    webhook_state::judge(installation, &registered, |service| {
        let key = (service.namespace.clone(), service.name.clone());
        backends.get(&key).copied().unwrap_or(Backend::Unknown)
    })
}

async fn read_backend(client: &Client, service: &ServiceReference) -> Backend {
    let namespaces = Api::<Namespace>::all(client.clone());
    if let Ok(None) = namespaces.get_metadata_opt(&service.namespace).await {
        return Backend::NoNamespace;
    }
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &service.namespace);
    let label = format!("{SERVICE_NAME_LABEL}={}", service.name);
    match slices.list(&ListParams::default().labels(&label)).await {
        Ok(slices) => backend(slices.items.iter().map(is_ready)),
        Err(_) => Backend::Unknown,
    }
}
