//! Checks Velero's own Deployment and DaemonSets: versions, plugins and opt-outs.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

use super::version::{image_name, image_tag, image_version};
use super::{CheckSubject, Diagnostic};
use crate::cli::doctor::cluster_snapshot::{ClusterSnapshot, VeleroNamespace, Workload};
use crate::kubernetes::workloads;
use crate::names::INJECT;
use crate::velero::pod::Pod;
use crate::velero::pod_kind::{self, PodKind};

/// The first version of Velero with kopia. Before, only restic made file backups.
const FIRST_WITH_KOPIA: (u32, u32) = (1, 10);

/// The first version of Velero whose BSLs have a `caCertRef`.
pub(super) const FIRST_WITH_CA_CERT_REF: (u32, u32) = (1, 18);

/// The last version of the AWS plugin on version 1 of the SDK. If a BSL has a `caCert`, that SDK
/// trusts *only* the `caCert`.
const LAST_ON_OLD_SDK: (u32, u32) = (1, 8);

pub(super) fn check(_: &ClusterSnapshot, velero: &VeleroNamespace) -> Vec<Diagnostic> {
    let namespace = &velero.namespace;
    let subject = CheckSubject::new("velero", format!("namespace {namespace}"));
    let workloads: Vec<_> = match &velero.workloads {
        Err(why) => return vec![subject.unknown(why)],
        Ok(_) => velero_workloads(velero).collect(),
    };
    if workloads.is_empty() {
        let message = "no Deployment or DaemonSet here runs Velero";
        return vec![subject.warn(message, install_velero(namespace))];
    }
    let mut diagnostics = Vec::new();
    for (kind, workload) in workloads {
        if kind == PodKind::Server {
            diagnostics.push(server(namespace, workload));
            diagnostics.extend(plugins(namespace, workload));
        }
        diagnostics.extend(opted_out(namespace, workload));
    }
    diagnostics
}

/// Returns the workloads of `velero` that run Velero, with their kind.
pub(super) fn velero_workloads(
    velero: &VeleroNamespace,
) -> impl Iterator<Item = (PodKind, &Workload)> {
    let workloads = velero.workloads.iter().flatten();
    workloads.filter_map(|workload| Some((kind(&workload.template)?, workload)))
}

/// Returns the workload that runs Velero's server, as kubectl names it; `None` if none was found. If
/// the workloads could not be read, it is the one that Velero's own installer makes.
pub(super) fn server_workload(velero: &VeleroNamespace) -> Option<String> {
    if velero.workloads.is_err() {
        return Some("deployment/velero".to_owned());
    }
    let mut servers = velero_workloads(velero).filter(|(kind, _)| *kind == PodKind::Server);
    servers.next().map(|(_, workload)| workload.id.to_string())
}

/// Returns how to install Velero in `namespace`.
pub(super) fn install_velero(namespace: &str) -> String {
    format!("install Velero in {namespace} by its chart, or see `velero install --help`")
}

/// Returns the version of the server from the tag of its image.
pub(super) fn server_version(velero: &VeleroNamespace) -> Option<(u32, u32)> {
    let mut servers = velero_workloads(velero).filter(|(kind, _)| *kind == PodKind::Server);
    image_version(image(containers(&servers.next()?.1.template).next()?))
}

fn kind(template: &PodTemplateSpec) -> Option<PodKind> {
    let text = serde_json::to_string(template).ok()?;
    pod_kind::kind(&serde_json::from_str::<Pod<'_>>(&text).ok()?)
}

fn containers(template: &PodTemplateSpec) -> impl Iterator<Item = &Container> {
    template.spec.iter().flat_map(|spec| &spec.containers)
}

fn image(container: &Container) -> &str {
    container.image.as_deref().unwrap_or_default()
}

fn workload_name(namespace: &str, workload: &Workload) -> String {
    let workloads::Workload { kind, name } = &workload.id;
    format!("{} {namespace}/{name}", kind.as_str())
}

fn server(namespace: &str, workload: &Workload) -> Diagnostic {
    let subject = CheckSubject::new("velero", workload_name(namespace, workload));
    let image = containers(&workload.template).next().map_or("", image);
    match image_version(image) {
        None => subject.unknown(format!(
            "the image {image} does not tell the version of Velero"
        )),
        Some(version) if version < FIRST_WITH_KOPIA => subject.warn(
            format!(
                "Velero {}.{} is no longer maintained; its file backups are restic's",
                version.0, version.1
            ),
            "upgrade Velero",
        ),
        Some(version) if version < FIRST_WITH_CA_CERT_REF => subject.ok(format!(
            "Velero {}.{}; it has no caCertRef, so name CAs by the annotation {}",
            version.0,
            version.1,
            crate::names::CA_SECRET_ANNOTATION
        )),
        Some((major, minor)) => subject.ok(format!("Velero {major}.{minor}")),
    }
}

fn plugins(namespace: &str, workload: &Workload) -> Vec<Diagnostic> {
    let spec = workload.template.spec.iter();
    let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten());
    let aws_plugins =
        containers.filter(|container| image_name(image(container)) == "velero-plugin-for-aws");
    aws_plugins
        .map(|container| {
            let subject = CheckSubject::new("plugin", workload_name(namespace, workload));
            let image = image(container);
            match image_version(image) {
                None => subject.unknown(format!("{image} does not tell its version")),
                Some(version) if version <= LAST_ON_OLD_SDK => subject.warn(
                    format!("{image}: where a BSL has a caCert, this old plugin trusts only that"),
                    "use velero-plugin-for-aws 1.9 or newer, in the values of the chart or by \
                     `velero plugin add --help`",
                ),
                Some(_) => subject.ok(format!(
                    "velero-plugin-for-aws {}",
                    image_tag(image).unwrap_or_default()
                )),
            }
        })
        .collect()
}

/// Warns if the template opts out of the injection; its Pods do not get the bundle then.
fn opted_out(namespace: &str, workload: &Workload) -> Option<Diagnostic> {
    let metadata = workload.template.metadata.as_ref()?;
    let is_opted_out = |map: Option<&std::collections::BTreeMap<String, String>>| {
        map.and_then(|map| map.get(INJECT))
            .is_some_and(|value| value == "false")
    };
    let by_label = is_opted_out(metadata.labels.as_ref());
    if !by_label && !is_opted_out(metadata.annotations.as_ref()) {
        return None;
    }
    let (kind, field) = if by_label {
        ("label", "labels")
    } else {
        ("annotation", "annotations")
    };
    let subject = CheckSubject::new("injection", workload_name(namespace, workload));
    Some(subject.warn(
        format!("its template has the {kind} {INJECT}: \"false\", so its Pods get no bundle"),
        format!(
            "kubectl -n {namespace} patch {} --type=merge -p \
             '{{\"spec\":{{\"template\":{{\"metadata\":{{\"{field}\":{{\"{INJECT}\":null}}}}}}}}}}'",
            workload.id
        ),
    ))
}
