//! The injection of the merged CA bundle into Pods.
//!
//! The injection changes Pods when they are created, not their templates. Velero's data mover, pod
//! volume and maintenance Pods copy the template of the node agent or the server, never a running
//! Pod, so each of them is injected by the same webhook. No object that GitOps tools watch is
//! changed.

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
use crate::decision::{
    Facts, FieldPath, Finding, LookupError, LookupErrorKind, NoBundle, Report, Stop,
};
use crate::names::BUNDLE;
use crate::velero::metadata::MIRROR_ANNOTATION;
use crate::velero::pod::{Container, Pod};
use crate::velero::pod_kind;
use crate::velero::text::or_empty;

/// Fix for a missing bundle.
const RECREATE_LATER: &str = "make the pod again later";

/// Decides what to add to `pod` in `namespace`. Returns a patch that only adds, and a warning
/// wherever a setting of the user is kept. The patch is idempotent.
///
/// An unavailable bundle is a warning, too, neither a denial nor a retry: no failure of
/// velero-trust may keep Velero from starting.
pub fn decide(namespace: &str, pod: &Pod<'_>, facts: &Facts) -> Report {
    let mut report = Report::default();
    if is_excluded(pod) {
        return report;
    }
    let request = InjectionRequest::of(pod, &mut report.findings);
    if request == InjectionRequest::OptOut {
        return report;
    }
    if let Some(path) = pod.cut_list() {
        report.add_finding(too_large_finding(path));
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
            // No container gets anything, so the settings that containers keep are not reported.
            report.add_finding(finding);
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
                report.add_finding(held_finding(namespace));
            }
        }
        Ok(Some(_)) => report.patch = patch::build(&additions, volume),
        Ok(None) => {
            report.add_finding(no_bundle_finding(namespace, "is not there", RECREATE_LATER));
        }
        Err(need @ Stop::Need(_)) => report.record(Err(need)),
        Err(Stop::Unknown(_, reason)) if reason.kind == LookupErrorKind::Foreign => {
            report.add_finding(no_bundle_finding(
                namespace,
                "is not velero-trust's",
                DELETE_IT,
            ));
        }
        Err(Stop::Unknown(
            _,
            LookupError {
                kind: LookupErrorKind::NoBundle(why),
                ..
            },
        )) => report.add_finding(not_made_finding(namespace, why)),
        Err(Stop::Unknown(_, reason)) => {
            let what = format!("cannot be had ({})", reason.message);
            report.add_finding(no_bundle_finding(namespace, &what, RECREATE_LATER));
        }
    }
    report
}

/// Returns the containers of `pod` that the injection applies to, init containers last.
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

/// Whether the injection ignores `pod`, whatever it runs.
pub fn is_excluded(pod: &Pod<'_>) -> bool {
    pod.metadata.annotation(MIRROR_ANNOTATION).is_some()
}

/// Plans the additions to each container that the injection applies to.
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

/// Returns how to add our volume to `pod`, or a finding if another volume has its name.
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

fn too_large_finding(path: FieldPath) -> Finding {
    Finding::new(
        &rules::TOO_LARGE,
        path,
        "",
        "has more entries than are read; no CA bundle is added",
        "make the list shorter",
    )
    .softened()
}

/// Fix for a ConfigMap of somebody else. Short, because an API server cuts a warning at 120
/// characters.
const DELETE_IT: &str = "delete it (keep a copy)";

/// Returns the finding that no bundle is made in `namespace`.
fn not_made_finding(namespace: &str, why: NoBundle) -> Finding {
    let (why, fix) = match why {
        NoBundle::NotVelero => (
            "no BSL or Velero workload here",
            "label the namespace velero-trust.io/velero=true",
        ),
        NoBundle::NoNamespace => ("the namespace does not exist", "create it first"),
        NoBundle::OwnNamespace => (
            "the namespace is velero-trust's own",
            "run the pod in another one",
        ),
    };
    finding_without_bundle(namespace, format!("no CA bundle: {why}"), fix)
}

fn no_bundle_finding(namespace: &str, what: &str, fix: &str) -> Finding {
    let message = format!("ConfigMap {BUNDLE} {what}; no CA bundle is added");
    finding_without_bundle(namespace, message, fix)
}

fn finding_without_bundle(namespace: &str, message: String, fix: &str) -> Finding {
    Finding::new(
        &rules::NO_BUNDLE,
        FieldPath::of(&["spec", "volumes"]),
        format!("ConfigMap {namespace}/{BUNDLE}"),
        message,
        fix,
    )
    // Whatever severity the operator gave the rule: a failure of ours is no reason to stop Velero.
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
