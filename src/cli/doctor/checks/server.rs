//! Checks our own Deployment, and the cluster that it runs in.

use k8s_openapi::api::apps::v1::Deployment;

use super::velero::velero_workloads;
use super::version::image_tag;
use super::{CheckSubject, Diagnostic, proxy};
use crate::admission::activation::OLDEST_KUBERNETES;
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::cli::snapshot::{Leader, LeaderState};
use crate::names;

/// Checks the version of the API server.
pub(super) fn check_kubernetes(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let subject = CheckSubject::new("kubernetes", "API server");
    vec![match &cluster.kubernetes {
        Err(why) => subject.unknown(why),
        Ok((major, minor)) if (*major, *minor) < OLDEST_KUBERNETES => subject.fail(
            format!("version {major}.{minor} drops `matchConditions` without a word"),
            format!(
                "upgrade it to {}.{} or newer",
                OLDEST_KUBERNETES.0, OLDEST_KUBERNETES.1
            ),
        ),
        Ok((major, minor)) => subject.ok(format!("version {major}.{minor}")),
    }]
}

fn subject(cluster: &ClusterSnapshot, check: &'static str) -> CheckSubject {
    CheckSubject::new(
        check,
        format!("Deployment {}/{}", cluster.namespace, names::APP),
    )
}

/// Checks that replicas run.
pub(super) fn check_replicas(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let Some((available, wanted)) = cluster.replicas() else {
        return Vec::new();
    };
    let subject = subject(cluster, "server");
    let message = format!("{available} of {wanted} replicas are available");
    let kubectl = format!("kubectl -n {}", cluster.namespace);
    let describe = format!(
        "{kubectl} describe pods -l app.kubernetes.io/name={}",
        names::APP
    );
    let scale = format!("{kubectl} scale deployment/{} --replicas=2", names::APP);
    let fix = if wanted == 0 { scale } else { describe };
    vec![if available > 0 && available >= wanted {
        subject.ok(message)
    } else if available > 0 {
        subject.warn(message, fix)
    } else {
        let effect = effect_without_replicas(cluster);
        subject.fail(format!("{message}{effect}"), fix)
    }]
}

/// Returns what becomes of requests while no replica is available, after a semicolon; empty if none
/// is sent here.
pub(super) fn effect_without_replicas(cluster: &ClusterSnapshot) -> &'static str {
    if cluster.refuses_without_replicas() {
        "; BSL changes and Restores are refused"
    } else {
        ""
    }
}

/// Checks that a replica runs the controllers.
pub(super) fn check_leader(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let name = format!("Lease {}/{}", cluster.namespace, names::APP);
    let subject = CheckSubject::new("leader", name);
    let logs = format!(
        "kubectl -n {} logs deployment/{}",
        cluster.namespace,
        names::APP
    );
    let Leader { state, message, .. } = &cluster.leader;
    vec![match (state, cluster.leader.problem()) {
        (LeaderState::Unknown, _) => subject.unknown(message.clone().unwrap_or_default()),
        (_, Some(problem)) => subject.fail(problem, logs),
        (_, None) => subject.ok("a replica renews it"),
    }]
}

/// Checks the image and the variables of our Deployment.
pub(super) fn check_template(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let Ok(Some(deployment)) = &cluster.deployment else {
        return Vec::new();
    };
    let mut diagnostics = vec![image(cluster, deployment, subject(cluster, "image"))];
    diagnostics.extend(proxies(cluster, deployment, subject(cluster, "proxy")));
    diagnostics
}

fn image(cluster: &ClusterSnapshot, deployment: &Deployment, subject: CheckSubject) -> Diagnostic {
    let ours = env!("CARGO_PKG_VERSION");
    let spec = deployment.spec.as_ref();
    let spec = spec.and_then(|spec| spec.template.spec.as_ref());
    let mut containers = spec.into_iter().flat_map(|spec| &spec.containers);
    let container = containers.find(|container| container.name == names::APP);
    let image = container.and_then(|container| container.image.as_deref());
    let Some(image) = image else {
        let message = format!("it has no container {} with an image", names::APP);
        return subject.unknown(message);
    };
    match image_tag(image).map(|tag| tag.strip_prefix('v').unwrap_or(tag)) {
        None => subject.unknown(format!("{image} has no tag that tells its version")),
        Some(tag) if tag == ours => subject.ok(format!("{image}, the version of this command")),
        Some(_) => subject.warn(
            format!("{image}, and this command is {ours}"),
            format!(
                "use the command of that version, or update the Deployment of namespace {}",
                cluster.namespace
            ),
        ),
    }
}

/// Warns where Velero has a proxy and velero-trust has none, so that it may not reach the same stores.
fn proxies(
    cluster: &ClusterSnapshot,
    deployment: &Deployment,
    subject: CheckSubject,
) -> Option<Diagnostic> {
    let template = &deployment.spec.as_ref()?.template;
    let own = proxy::set_variables(template);
    let namespaces = cluster.velero.iter().flatten();
    let mut others = namespaces.flat_map(|velero| {
        velero_workloads(velero).map(|(_, workload)| {
            let set = proxy::set_variables(&workload.template);
            (
                &velero.namespace,
                set.difference(&own).cloned().collect::<Vec<_>>(),
            )
        })
    });
    let (namespace, missing) = others.find(|(_, set)| !set.is_empty())?;
    let values = missing.iter().map(|name| format!("{name}=URL "));
    Some(subject.warn(
        format!(
            "Velero in namespace {namespace} has {}, and velero-trust has not: it may not reach the same stores",
            missing.join(" and ")
        ),
        format!(
            "kubectl -n {} set env deployment/{} {}NO_PROXY=HOSTS",
            cluster.namespace,
            names::APP,
            values.collect::<String>()
        ),
    ))
}
