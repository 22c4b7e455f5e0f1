//! Installing the serving certificate into a cluster, and making the webhook active.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::conditions::is_deployment_completed;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::admission::HANDLERS;
use crate::names;
use crate::serving::certificates::issue::Issued;

/// Name of the Secret with the serving certificate, as the Deployment mounts it.
const TLS_SECRET: &str = "velero-trust-tls";

/// Where to install.
pub(super) struct Install<'a> {
    /// The cluster.
    pub(super) client: Client,
    /// The namespace of velero-trust.
    pub(super) namespace: &'a str,
    /// Longest wait for the Deployment.
    pub(super) wait: Duration,
}

/// Installs `issued`, telling each step to `out`. The order keeps every moment safe: while nobody
/// answers, the configurations match nothing.
pub(super) async fn run(
    install: &Install<'_>,
    issued: &Issued,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Install {
        client,
        namespace,
        wait,
    } = install;
    let configurations = configurations(client).await?;
    if configurations.is_empty() {
        bail!(
            "the cluster has no webhook configuration labelled app.kubernetes.io/name={}; apply \
             the manifests first (`kubectl apply -k manifests`)",
            names::APP
        );
    }

    write_secret(client, namespace, issued).await?;
    writeln!(out, "Secret {namespace}/{TLS_SECRET} written")?;

    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let answers = await_condition(deployments, names::APP, answers());
    match tokio::time::timeout(*wait, answers).await {
        Ok(done) => done.map(drop).context("cannot watch the Deployment")?,
        Err(_) => bail!(
            "Deployment {namespace}/{} is not available after {} s, so nothing was made active; \
             see `kubectl -n {namespace} get pods`, then run this again",
            names::APP,
            wait.as_secs()
        ),
    }
    writeln!(out, "Deployment {namespace}/{} is available", names::APP)?;

    for (resource, configuration) in &configurations {
        activate(client, resource, configuration, issued).await?;
        writeln!(
            out,
            "{} {} is active",
            resource.kind,
            configuration.name_any()
        )?;
    }
    Ok(())
}

/// The Deployment is rolled out, and one of its Pods is there to answer. A rollout that was
/// completed once stays so when all its Pods fail later.
fn answers() -> impl Condition<Deployment> {
    is_deployment_completed().and(|deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.and_then(|status| status.available_replicas) > Some(0)
    })
}

/// The webhook configurations of velero-trust. Found by label: kustomize may rename them.
async fn configurations(client: &Client) -> anyhow::Result<Vec<(ApiResource, DynamicObject)>> {
    let params = ListParams::default().labels(&format!("app.kubernetes.io/name={}", names::APP));
    let mut found = Vec::new();
    for kind in [
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ] {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk(&kind);
        let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let list = all.list(&params).await;
        let list = list.with_context(|| format!("cannot list {}", resource.plural))?;
        found.extend(
            list.items
                .into_iter()
                .map(|object| (resource.clone(), object)),
        );
    }
    Ok(found)
}

async fn write_secret(client: &Client, namespace: &str, issued: &Issued) -> anyhow::Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": TLS_SECRET,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": names::APP,
                "velero.io/exclude-from-backup": "true",
            },
        },
        "type": "kubernetes.io/tls",
        "stringData": {
            "ca.crt": issued.ca,
            "tls.crt": issued.certificate,
            "tls.key": issued.key,
        },
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    Api::<Secret>::namespaced(client.clone(), namespace)
        .patch(TLS_SECRET, &params, &Patch::Apply(secret))
        .await
        .with_context(|| format!("cannot write Secret {namespace}/{TLS_SECRET}"))?;
    Ok(())
}

/// Sets caBundle and rules of every webhook in a configuration, and nothing else of it.
async fn activate(
    client: &Client,
    resource: &ApiResource,
    configuration: &DynamicObject,
    issued: &Issued,
) -> anyhow::Result<()> {
    let name = configuration.name_any();
    let webhooks = configuration.data.get("webhooks").and_then(Value::as_array);
    let webhooks = webhooks
        .into_iter()
        .flatten()
        .map(|webhook| active(webhook, issued))
        .collect::<anyhow::Result<Vec<_>>>()
        .with_context(|| format!("{} {name}", resource.kind))?;
    let apply = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "webhooks": webhooks,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    Api::<DynamicObject>::all_with(client.clone(), resource)
        .patch(&name, &params, &Patch::Apply(apply))
        .await
        .with_context(|| format!("cannot change {} {name}", resource.kind))?;
    Ok(())
}

/// The part of a webhook that makes it active: what it is sent, and whom it trusts.
fn active(webhook: &Value, issued: &Issued) -> anyhow::Result<Value> {
    let text = |pointer| webhook.pointer(pointer).and_then(Value::as_str);
    let name = text("/name").unwrap_or_default();
    let path = text("/clientConfig/service/path")
        .or_else(|| text("/clientConfig/url"))
        .unwrap_or_default();
    let handler = HANDLERS
        .iter()
        .find(|handler| path.ends_with(handler.path))
        .with_context(|| format!("webhook {name}: this version does not serve `{path}`"))?;
    let old = text("/clientConfig/caBundle").unwrap_or_default();
    let operations = handler
        .operations
        .iter()
        .map(|operation| operation.as_str());
    Ok(json!({
        "name": name,
        "clientConfig": {"caBundle": STANDARD.encode(ca_bundle(&issued.ca, old)?)},
        "rules": [{
            "apiGroups": [handler.group],
            "apiVersions": ["v1"],
            "resources": [handler.resource],
            "operations": operations.collect::<Vec<_>>(),
            "scope": "Namespaced",
        }],
    }))
}

/// The new CA and the newest of the `old` bundle: servers show the certificate of the old one
/// until they see the new Secret.
fn ca_bundle(new: &str, old: &str) -> anyhow::Result<String> {
    const END: &str = "-----END CERTIFICATE-----\n";

    let old = String::from_utf8(STANDARD.decode(old)?)?;
    let newest = old
        .find(END)
        .and_then(|end| old.get(..end + END.len()))
        .unwrap_or_default();
    Ok(if newest == new {
        new.to_owned()
    } else {
        format!("{new}{newest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_the_old_cas_stays_and_no_more() {
        let ca = |name: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
        };
        let first = ca_bundle(&ca("a"), "").unwrap();
        assert_eq!(first, ca("a"));
        let second = ca_bundle(&ca("b"), &STANDARD.encode(first)).unwrap();
        assert_eq!(second, ca("b") + &ca("a"));
        let third = ca_bundle(&ca("c"), &STANDARD.encode(second)).unwrap();
        assert_eq!(third, ca("c") + &ca("b"));
    }
}
