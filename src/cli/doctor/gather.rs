//! Reads the snapshot of a cluster with the permissions of the user. Nothing is changed. A denied
//! request makes its result unknown, but does not end the command.

use std::collections::BTreeMap;

use anyhow::bail;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, Error, ResourceExt as _};
use serde_json::Value;

use super::access::{Account, BUNDLE_RIGHTS};
use super::cluster_snapshot::{
    self, BundleUsers, ClusterSnapshot, NamespaceState, OtherBundle, Read, VeleroNamespace,
    Webhook, Workload, named_secrets,
};
use super::{buckets, crds, identity, ledger, user_access};
use crate::ca::serving_certificate::ServingCertificate;
use crate::cli::install;
use crate::cli::snapshot::{self, NamespaceSnapshot};
use crate::clock;
use crate::kubernetes::bundle::{self, is_ours};
use crate::kubernetes::webhook_configurations::{
    self, WebhookConfiguration, has_rules, service_namespace,
};
use crate::kubernetes::workloads::{self, Kind};
use crate::kubernetes::{client, error, location, published_certificate};
use crate::names;

/// Most namespaces with a bundle of nobody that are read at a time.
const MAX_CONCURRENT_NAMESPACES: usize = 8;

/// Reads the snapshot.
///
/// # Errors
/// When the cluster cannot be reached, or does not authenticate the user.
pub(super) async fn gather(client: &Client, namespace: &str) -> anyhow::Result<ClusterSnapshot> {
    let kubernetes = match client::kubernetes_version(client).await {
        Err(Error::Api(status)) if status.code == 403 => Err(status.message.clone()),
        Err(error) => bail!("cannot look at the cluster: {}", message_of(&error)),
        Ok(version) => Ok(version),
    };
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let deployment = into_read(deployments.get_opt(names::APP).await);
    let ours = Account {
        namespace: namespace.to_owned(),
        name: cluster_snapshot::account(deployment.as_ref().ok().and_then(Option::as_ref))
            .to_owned(),
    };
    let (labelled, velero) = velero_namespaces(client, &ours).await;
    let other_bundles = match (&labelled, &velero) {
        (Ok(()), Ok(velero)) => other_bundles(client, velero).await,
        (Err(why), _) | (_, Err(why)) => Err(why.clone()),
    };
    let missing_user_rights = match &deployment {
        Ok(None) => user_access::missing_install_rights(client, namespace).await,
        _ => Ok(Vec::new()),
    };
    let certificate = certificate(client, namespace).await;
    let presented = published_certificate::read(client, namespace).await;
    let presented = presented.ok().flatten();
    let stored = certificate.as_ref().ok().and_then(Option::as_deref);
    let stored = stored.and_then(|text| ServingCertificate::from_pem(text.as_bytes()));
    let activation = snapshot::read_activation(client, namespace).await;
    let known = presented.as_ref().or(stored.as_ref());
    let states = snapshot::read_webhooks(client, namespace, known, &activation).await;
    Ok(ClusterSnapshot {
        now: clock::now(),
        namespace: namespace.to_owned(),
        kubernetes,
        own_namespace: namespace_state(client, namespace).await,
        missing_user_rights,
        crds: crds::read(client).await,
        ledger: ledger::read(client, namespace).await,
        deployment,
        identity: identity::read(client, &ours).await,
        webhooks: webhooks(client, namespace).await,
        activation,
        states,
        leader: snapshot::read_leader(client, namespace, Timestamp::now()).await,
        presented,
        policies: snapshot::read_policies(client).await,
        other_installations: snapshot::other_installations(client, namespace).await,
        certificate,
        missing_rights: ours.missing_installation_rights(client).await,
        labelled,
        velero,
        other_bundles,
    })
}

fn message_of(error: &Error) -> String {
    error::lookup_error(error).message
}

fn into_read<T>(result: kube::Result<T>) -> Read<T> {
    result.map_err(|error| message_of(&error))
}

async fn namespace_state(client: &Client, name: &str) -> Read<NamespaceState> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace = into_read(namespaces.get_metadata_opt(name).await)?;
    Ok(match namespace {
        None => NamespaceState::Absent,
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => {
            NamespaceState::Terminating
        }
        Some(_) => NamespaceState::Present,
    })
}

async fn webhooks(client: &Client, own: &str) -> Read<Vec<Webhook>> {
    let configurations = webhook_configurations::list(client).await;
    let configurations = configurations.map_err(|error| error.reason())?;
    let webhooks = configurations.iter().flat_map(|configuration| {
        let webhooks = configuration.webhooks();
        webhooks.map(move |object| webhook(own, configuration, object))
    });
    Ok(webhooks.collect())
}

fn webhook(own: &str, configuration: &WebhookConfiguration, object: &Value) -> Webhook {
    let text = |pointer| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    let url = text("/clientConfig/url");
    let host = match url.parse::<Uri>() {
        Ok(url) if url.host().is_some() => url.host().unwrap_or_default().to_owned(),
        _ => format!(
            "{}.{}.svc",
            text("/clientConfig/service/name"),
            text("/clientConfig/service/namespace")
        ),
    };
    let path = if url.is_empty() {
        text("/clientConfig/service/path")
    } else {
        url
    };
    let ca = STANDARD.decode(text("/clientConfig/caBundle"));
    Webhook {
        configuration: configuration.to_string(),
        delete: configuration.delete_command(),
        is_retired: !configuration.is_current(),
        refuses_on_failure: text("/failurePolicy") != "Ignore",
        other_namespace: service_namespace(object)
            .filter(|namespace| *namespace != own)
            .map(str::to_owned),
        name: text("/name").to_owned(),
        path: path.to_owned(),
        host,
        has_rules: has_rules(object),
        ca: ca.unwrap_or_default(),
    }
}

/// Returns the serving certificate. The private key in the same Secret is never used.
async fn certificate(client: &Client, namespace: &str) -> Read<Option<String>> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = into_read(secrets.get_opt(install::TLS_SECRET).await)?;
    let data = secret.and_then(|secret| secret.data);
    let certificate = data.and_then(|mut data| data.remove("tls.crt"));
    Ok(certificate.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()))
}

/// Reads the Velero namespaces. The first result says whether those with our label could be listed.
async fn velero_namespaces(
    client: &Client,
    ours: &Account,
) -> (Read<()>, Read<Vec<VeleroNamespace>>) {
    let label = format!("{}=true", names::VELERO_NAMESPACE_LABEL);
    let namespaces = Api::<Namespace>::all(client.clone());
    let labelled = into_read(namespaces.list(&ListParams::default().labels(&label)).await);
    let locations = location::everywhere(client.clone());
    let locations = match locations.list(&ListParams::default()).await {
        // Velero's CRDs are not installed.
        Err(Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return (labelled.map(drop), Err(message_of(&error))),
        Ok(list) => list.items,
    };
    let mut by_namespace = BTreeMap::<String, Vec<DynamicObject>>::new();
    for location in locations {
        let namespace = location.namespace().unwrap_or_default();
        by_namespace.entry(namespace).or_default().push(location);
    }
    for namespace in labelled.iter().flat_map(|list| &list.items) {
        by_namespace.entry(namespace.name_any()).or_default();
    }
    let snapshots = by_namespace
        .into_iter()
        .map(|(namespace, locations)| velero_namespace(client, ours, namespace, locations));
    (labelled.map(drop), Ok(join_all(snapshots).await))
}

async fn velero_namespace(
    client: &Client,
    ours: &Account,
    namespace: String,
    locations: Vec<DynamicObject>,
) -> VeleroNamespace {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let locations: Vec<_> = locations.iter().map(location::read).collect();
    let named = named_secrets(&namespace, &locations);
    let (missing_secret_rights, missing_bundle_rights, map, report, workloads, snapshot) = tokio::join!(
        ours.missing_secret_rights(client, &namespace, &named),
        ours.missing_rights(client, Some(&namespace), BUNDLE_RIGHTS),
        config_maps.get_opt(names::BUNDLE),
        snapshot::read_report(client, &ours.namespace, &namespace),
        list_workloads(client, &namespace),
        NamespaceSnapshot::read(client, &namespace),
    );
    let map = into_read(map);
    let text = map.as_ref().ok().and_then(Option::as_ref);
    let text = text.and_then(bundle::text);
    let no_report = report.as_ref().err();
    let (buckets, has_default_password, is_excluded) = tokio::join!(
        buckets::try_all(client, &namespace, &locations, text),
        buckets::has_default_password(client, &namespace),
        snapshot::is_excluded(client, &ours.namespace, &namespace, no_report),
    );
    VeleroNamespace {
        buckets,
        has_default_password,
        missing_secret_rights,
        missing_bundle_rights,
        bundle: map,
        is_excluded,
        report: report.map_err(|no_report| no_report.why),
        workloads: into_read(workloads),
        snapshot: snapshot.map_err(|error| format!("{error:#}")),
        locations,
        namespace,
    }
}

/// Reads the bundles of ours in namespaces that are not among those of `velero`.
async fn other_bundles(client: &Client, velero: &[VeleroNamespace]) -> Read<Vec<OtherBundle>> {
    let config_maps = Api::<ConfigMap>::all(client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={}", names::BUNDLE));
    let all = into_read(config_maps.list_metadata(&params).await)?;
    let ours = all.iter().filter(|map| is_ours(&map.metadata));
    let others = ours.filter_map(|map| {
        let namespace = map.namespace()?;
        let is_other = velero.iter().all(|velero| velero.namespace != namespace);
        is_other.then_some(namespace)
    });
    let others: Vec<_> = others.collect();
    let read = others.into_iter().map(|namespace| async {
        let snapshot = NamespaceSnapshot::read(client, &namespace).await;
        let users = snapshot.map_err(|error| format!("{error:#}"));
        OtherBundle {
            users: users.map(|snapshot| users_in(&snapshot)),
            namespace,
        }
    });
    let read = stream::iter(read).buffered(MAX_CONCURRENT_NAMESPACES);
    Ok(read.collect().await)
}

fn users_in(snapshot: &NamespaceSnapshot) -> BundleUsers {
    let pods = snapshot.pods.values().map(|pod| pod.coverage.kind);
    let templates = snapshot.templates.values();
    let templates = templates.map(|template| template.coverage.kind);
    let kinds: Vec<_> = pods.chain(templates).collect();
    if kinds.iter().any(Option::is_some) {
        BundleUsers::Velero
    } else if kinds.is_empty() {
        BundleUsers::None
    } else {
        BundleUsers::Others
    }
}

async fn list_workloads(client: &Client, namespace: &str) -> kube::Result<Vec<Workload>> {
    let params = ListParams::default();
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let daemon_sets = Api::<DaemonSet>::namespaced(client.clone(), namespace);
    let (deployments, daemon_sets) =
        tokio::try_join!(deployments.list(&params), daemon_sets.list(&params))?;
    let id = |kind, name| workloads::Workload { kind, name };
    let deployments = deployments.items.into_iter().map(|object| Workload {
        id: id(Kind::Deployment, object.name_any()),
        template: object.spec.unwrap_or_default().template,
    });
    let daemon_sets = daemon_sets.items.into_iter().map(|object| Workload {
        id: id(Kind::DaemonSet, object.name_any()),
        template: object.spec.unwrap_or_default().template,
    });
    Ok(deployments.chain(daemon_sets).collect())
}
