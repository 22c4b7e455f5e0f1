//! The injection of the merged CA bundle into a Pod.
//!
//! It happens on Pods, at their creation, and not on the templates: Velero's data movers, pod
//! volume and maintenance Pods copy the template of the node agent or the server, never a running
//! Pod, so each of them passes here too, and nothing that GitOps watches changes.

pub mod coverage;
mod patch;
mod place;
mod plan;
mod request;
mod rules;

pub use request::{is_asked_for, is_opted_out};
pub use rules::{is_conflict, rules};

use self::plan::{Additions, ContainerList, ContainerPosition};
use self::request::InjectionRequest;
use crate::decision::{Facts, FieldPath, Finding, LookupErrorKind, Report, Stop};
use crate::names::BUNDLE;
use crate::velero::pod::{Container, Pod};
use crate::velero::pod_kind;
use crate::velero::text::or_empty;

/// The annotation by which the kubelet marks what it runs without the API server; such a Pod must
/// stay as it is.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What mends a bundle that is not there.
const RECREATE_LATER: &str = "make the pod again later";

/// What is added to `pod` in `namespace`: an add-only patch, and warnings where something that
/// the user set is kept. Added twice it is added once.
///
/// A bundle that cannot be had is a warning too, neither a denial nor a retry: nothing that
/// happens to us may keep Velero from starting.
pub fn decide(namespace: &str, pod: &Pod<'_>, facts: &Facts) -> Report {
    let mut report = Report::default();
    if is_excluded(namespace, pod) {
        return report;
    }
    let request = InjectionRequest::of(pod, &mut report.findings);
    if request == InjectionRequest::OptOut {
        return report;
    }
    let mut kept = Vec::new();
    let additions = plan_additions(pod, request, &mut kept);
    if additions.is_empty() {
        report.findings.append(&mut kept);
        return report;
    }
    let volume = match volume_change(pod) {
        Ok(volume) => volume,
        Err(finding) => {
            // What the containers keep is of no interest here: none of them gets anything.
            report.find(finding);
            return report;
        }
    };
    report.findings.append(&mut kept);
    match facts.bundle(namespace) {
        Ok(Some(bundle)) if bundle.held => {
            let (additions, withheld) = plan::without_bundle_variable(additions);
            if !additions.is_empty() {
                report.patch = patch::build(&additions, volume);
            }
            if withheld {
                report.find(held_finding(namespace));
            }
        }
        Ok(Some(_)) => report.patch = patch::build(&additions, volume),
        Ok(None) => report.find(no_bundle_finding(namespace, "is not there", RECREATE_LATER)),
        Err(need @ Stop::Need(_)) => report.take(Err(need)),
        Err(Stop::Unknown(_, reason)) if reason.kind == LookupErrorKind::Foreign => {
            report.find(no_bundle_finding(
                namespace,
                "is not velero-trust's",
                DELETE_IT,
            ));
        }
        Err(Stop::Unknown(_, reason)) => {
            let what = format!("cannot be had ({})", reason.message);
            report.find(no_bundle_finding(namespace, &what, RECREATE_LATER));
        }
    }
    report
}

/// The containers that the injection is for, init containers last.
pub fn injected<'p>(pod: &'p Pod<'_>) -> impl Iterator<Item = &'p Container<'p>> {
    let all = is_asked_for(pod);
    let regular = pod.spec.containers.iter();
    let regular =
        regular.filter(move |container| all || pod_kind::of_container(pod, container).is_some());
    let init = pod.spec.init_containers.iter();
    let init =
        init.filter(move |container| all || pod_kind::of_init_container(pod, container).is_some());
    regular.chain(init)
}

/// Whether `pod` is nothing to us, whatever it runs.
pub fn is_excluded(namespace: &str, pod: &Pod<'_>) -> bool {
    namespace == "kube-system" || pod.metadata.annotation(MIRROR_ANNOTATION).is_some()
}

/// What the containers that are ours to inject lack.
fn plan_additions(
    pod: &Pod<'_>,
    request: InjectionRequest,
    findings: &mut Vec<Finding>,
) -> Vec<Additions> {
    type Detect = fn(&Pod<'_>, &Container<'_>) -> Option<pod_kind::PodKind>;
    let windows = pod.is_windows();
    let lists: [(ContainerList, &[Container<'_>], Detect); 2] = [
        (
            ContainerList::Regular,
            &pod.spec.containers,
            pod_kind::of_container,
        ),
        (
            ContainerList::Init,
            &pod.spec.init_containers,
            pod_kind::of_init_container,
        ),
    ];
    let mut additions = Vec::new();
    for (list, containers, detect) in lists {
        for (index, container) in containers.iter().enumerate() {
            if request == InjectionRequest::All || detect(pod, container).is_some() {
                let position = ContainerPosition { list, index };
                additions.extend(plan::additions(container, position, windows, findings));
            }
        }
    }
    additions
}

/// How our volume gets into the Pod, or that its name is taken by something else.
fn volume_change(pod: &Pod<'_>) -> Result<patch::VolumeChange, Finding> {
    let Some(volumes) = &pod.spec.volumes else {
        return Ok(patch::VolumeChange::CreateList);
    };
    let mut volumes = volumes.iter().enumerate();
    match volumes.find(|(_, volume)| or_empty(volume.name.as_ref()) == BUNDLE) {
        None => Ok(patch::VolumeChange::Append),
        Some((_, volume)) if plan::is_ours(volume) => Ok(patch::VolumeChange::AlreadyPresent),
        Some((index, _)) => Err(Finding::new(
            &rules::VOLUME_TAKEN,
            FieldPath::of(&["spec", "volumes"]).index(index),
            "",
            format!("{BUNDLE} is another volume; no CA bundle is added"),
            "rename it",
        )),
    }
}

/// Short, since an API server cuts a warning at 120 characters.
const DELETE_IT: &str = "delete it (keep a copy)";

fn no_bundle_finding(namespace: &str, what: &str, fix: &str) -> Finding {
    Finding::new(
        &rules::NO_BUNDLE,
        FieldPath::of(&["spec", "volumes"]),
        format!("ConfigMap {namespace}/{BUNDLE}"),
        format!("ConfigMap {BUNDLE} {what}; no CA bundle is added"),
        fix,
    )
    // Whatever severity the operator gave the rule: our trouble is no reason to stop Velero.
    .softened()
}

fn held_finding(namespace: &str) -> Finding {
    Finding::new(
        &rules::HELD,
        FieldPath::of(&["spec", "containers"]),
        format!("namespace {namespace}"),
        "AWS_CA_BUNDLE is withheld: a store may need other roots",
        "name its CA on the BSL",
    )
    .softened()
}

#[cfg(test)]
mod tests;
