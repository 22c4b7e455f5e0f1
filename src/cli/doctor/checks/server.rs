//! Our own Deployment, and the cluster that it runs in.

use k8s_openapi::api::apps::v1::Deployment;

use super::version::tag;
use super::{CheckSubject, Diagnostic, proxy};
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::cli::install::OLDEST_KUBERNETES;
use crate::names;

const MANIFESTS: &str = "kubectl apply -k manifests";

pub(super) fn check(cluster: &ClusterSnapshot) -> Vec<Diagnostic> {
    let kubernetes = kubernetes(cluster);
    let subject = format!("Deployment {}/{}", cluster.namespace, names::APP);
    let of = |check| CheckSubject::new(check, subject.clone());
    let mut diagnostics = Vec::new();
    match &cluster.deployment {
        Err(why) => diagnostics.extend([kubernetes, of("server").unknown(why)]),
        // First: nothing else that is said of a wrong namespace is of use.
        Ok(None) => diagnostics.extend([
            of("server").fail(
                format!(
                    "it is not there: is {0} installed in namespace {1}? --namespace is {0}'s own \
                     namespace",
                    names::APP,
                    cluster.namespace
                ),
                format!("{MANIFESTS}, or name its namespace with --namespace"),
            ),
            kubernetes,
        ]),
        Ok(Some(deployment)) => {
            diagnostics.push(kubernetes);
            diagnostics.push(replicas(cluster, deployment, of("server")));
            diagnostics.push(image(cluster, deployment, of("image")));
            diagnostics.extend(proxies(cluster, deployment, of("proxy")));
        }
    }
    diagnostics
}

fn kubernetes(cluster: &ClusterSnapshot) -> Diagnostic {
    let of = CheckSubject::new("kubernetes", "API server");
    match &cluster.kubernetes {
        Err(why) => of.unknown(why),
        Ok((major, minor)) if (*major, *minor) < OLDEST_KUBERNETES => of.fail(
            format!("version {major}.{minor} drops `matchConditions` without a word"),
            format!(
                "upgrade it to {}.{} or newer",
                OLDEST_KUBERNETES.0, OLDEST_KUBERNETES.1
            ),
        ),
        Ok((major, minor)) => of.ok(format!("version {major}.{minor}")),
    }
}

fn replicas(cluster: &ClusterSnapshot, deployment: &Deployment, of: CheckSubject) -> Diagnostic {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = wanted.unwrap_or(1);
    let status = deployment.status.as_ref();
    let available = status.and_then(|status| status.available_replicas);
    let available = available.unwrap_or_default();
    let said = format!("{available} of {wanted} replicas are available");
    let kubectl = format!("kubectl -n {}", cluster.namespace);
    let look = format!(
        "{kubectl} describe pods -l app.kubernetes.io/name={}",
        names::APP
    );
    if wanted == 0 {
        let scale = format!("{kubectl} scale deployment/{} --replicas=2", names::APP);
        of.fail(
            format!("{said}; BSL changes and Restores are refused"),
            scale,
        )
    } else if available == 0 {
        of.fail(
            format!("{said}; BSL changes and Restores are refused"),
            look,
        )
    } else if available < wanted {
        of.warn(said, look)
    } else {
        of.ok(said)
    }
}

fn image(cluster: &ClusterSnapshot, deployment: &Deployment, of: CheckSubject) -> Diagnostic {
    let ours = env!("CARGO_PKG_VERSION");
    let spec = deployment.spec.as_ref();
    let spec = spec.and_then(|spec| spec.template.spec.as_ref());
    let mut containers = spec.into_iter().flat_map(|spec| &spec.containers);
    let container = containers.find(|container| container.name == names::APP);
    let image = container.and_then(|container| container.image.as_deref());
    let Some(image) = image else {
        let why = format!("it has no container {} with an image", names::APP);
        return of.unknown(why);
    };
    match tag(image).map(|tag| tag.strip_prefix('v').unwrap_or(tag)) {
        None => of.unknown(format!("{image} has no tag that tells its version")),
        Some(tag) if tag == ours => of.ok(format!("{image}, the version of this command")),
        Some(_) => of.warn(
            format!("{image}, and this command is {ours}"),
            format!(
                "use the command of that version, or update the Deployment of namespace {}",
                cluster.namespace
            ),
        ),
    }
}

/// A proxy is of no use to us: the API server is inside, and the client of a Pod takes no notice of
/// these variables.
fn proxies(
    cluster: &ClusterSnapshot,
    deployment: &Deployment,
    of: CheckSubject,
) -> Option<Diagnostic> {
    let template = &deployment.spec.as_ref()?.template;
    let set: Vec<_> = proxy::variables(template)
        .into_iter()
        .filter(|(name, _)| proxy::is_proxy(name))
        .map(|(name, _)| name)
        .collect();
    let unset = set.join("- ");
    (!set.is_empty()).then(|| {
        of.warn(
            format!("{} set; velero-trust uses no proxy", set.join(" and ")),
            format!(
                "kubectl -n {} set env deployment/{} {unset}-",
                cluster.namespace,
                names::APP
            ),
        )
    })
}
