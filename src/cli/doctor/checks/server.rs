//! Checks our own Deployment, and the cluster that it runs in.

use k8s_openapi::api::apps::v1::Deployment;

use super::version::image_tag;
use super::{CheckSubject, Diagnostic, proxy};
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::cli::install::OLDEST_KUBERNETES;
use crate::names;

const APPLY_MANIFESTS: &str = "kubectl apply -k manifests";

pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let kubernetes = kubernetes(cluster);
    let name = format!("Deployment {}/{}", cluster.namespace, names::APP);
    let subject = |check| CheckSubject::new(check, name.clone());
    let mut diagnostics = Vec::new();
    match &cluster.deployment {
        Err(why) => diagnostics.extend([kubernetes, subject("server").unknown(why)]),
        // This comes first: if the namespace is wrong, no other result is useful.
        Ok(None) => diagnostics.extend([
            subject("server").fail(
                format!(
                    "it is not there: is {0} installed in namespace {1}? --namespace is {0}'s own \
                     namespace",
                    names::APP,
                    cluster.namespace
                ),
                format!("{APPLY_MANIFESTS}, or name its namespace with --namespace"),
            ),
            kubernetes,
        ]),
        Ok(Some(deployment)) => {
            diagnostics.push(kubernetes);
            diagnostics.push(replicas(cluster, deployment, subject("server")));
            diagnostics.push(image(cluster, deployment, subject("image")));
            diagnostics.extend(proxies(cluster, deployment, subject("proxy")));
        }
    }
    diagnostics
}

fn kubernetes(cluster: &ClusterSnapshot) -> Diagnostic {
    let subject = CheckSubject::new("kubernetes", "API server");
    match &cluster.kubernetes {
        Err(why) => subject.unknown(why),
        Ok((major, minor)) if (*major, *minor) < OLDEST_KUBERNETES => subject.fail(
            format!("version {major}.{minor} drops `matchConditions` without a word"),
            format!(
                "upgrade it to {}.{} or newer",
                OLDEST_KUBERNETES.0, OLDEST_KUBERNETES.1
            ),
        ),
        Ok((major, minor)) => subject.ok(format!("version {major}.{minor}")),
    }
}

fn replicas(
    cluster: &ClusterSnapshot,
    deployment: &Deployment,
    subject: CheckSubject,
) -> Diagnostic {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = wanted.unwrap_or(1);
    let status = deployment.status.as_ref();
    let available = status.and_then(|status| status.available_replicas);
    let available = available.unwrap_or_default();
    let message = format!("{available} of {wanted} replicas are available");
    let kubectl = format!("kubectl -n {}", cluster.namespace);
    let describe = format!(
        "{kubectl} describe pods -l app.kubernetes.io/name={}",
        names::APP
    );
    if wanted == 0 {
        let scale = format!("{kubectl} scale deployment/{} --replicas=2", names::APP);
        subject.fail(
            format!("{message}; BSL changes and Restores are refused"),
            scale,
        )
    } else if available == 0 {
        subject.fail(
            format!("{message}; BSL changes and Restores are refused"),
            describe,
        )
    } else if available < wanted {
        subject.warn(message, describe)
    } else {
        subject.ok(message)
    }
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

/// Warns about proxy variables on our own Deployment. They have no effect: the API server is inside
/// the cluster, and the client in a Pod ignores these variables.
fn proxies(
    cluster: &ClusterSnapshot,
    deployment: &Deployment,
    subject: CheckSubject,
) -> Option<Diagnostic> {
    let template = &deployment.spec.as_ref()?.template;
    let set: Vec<_> = proxy::variables(template)
        .into_iter()
        .filter(|(name, _)| proxy::is_proxy(name))
        .map(|(name, _)| name)
        .collect();
    let unset = set.join("- ");
    (!set.is_empty()).then(|| {
        subject.warn(
            format!("{} set; velero-trust uses no proxy", set.join(" and ")),
            format!(
                "kubectl -n {} set env deployment/{} {unset}-",
                cluster.namespace,
                names::APP
            ),
        )
    })
}
