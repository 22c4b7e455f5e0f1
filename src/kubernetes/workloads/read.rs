//! Reads how Pods, and the Pod templates of workloads, use the bundle.

use kube::api::DynamicObject;
use serde_json::value::RawValue;

use super::Workload;
use super::object::{Images, Object, Template, WorkloadObject};
use crate::injection;
use crate::injection::coverage::PodCoverage;
use crate::velero::image;
use crate::velero::metadata::Metadata;
use crate::velero::pod::{Container, Pod as View};
use crate::velero::pod_status::Status;
use crate::velero::text::{Text, or_empty};

/// The annotation that `kubectl rollout restart` sets
/// (`pkg/polymorphichelpers/objectrestarter.go`). kube's own `Api::restart` sets another, which no
/// other tool knows.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Most characters of a version or a time that are kept. A tag of an image has at most 128.
const MAX_TEXT_CHARS: usize = 128;

/// A Pod that the injection applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningPod {
    /// The workload that created the Pod.
    pub workload: Option<Workload>,
    /// How the Pod uses the bundle.
    pub coverage: PodCoverage,
    /// The version of Velero.
    pub version: Option<String>,
    /// The [`RESTARTED_AT`] annotation, which the restart that created the Pod set.
    pub restarted_at: Option<String>,
}

impl RunningPod {
    /// Reads a Pod. Returns `None` if the injection does not apply to it, or if it is finished or
    /// being deleted.
    pub fn read(pod: &DynamicObject) -> Option<Self> {
        Self::from_json(&serde_json::to_string(pod).ok()?)
    }

    /// As [`read`](Self::read), from the JSON of the Pod. What is not needed of it is not kept, not
    /// even for a moment.
    pub fn from_json(pod: &str) -> Option<Self> {
        let object: Object<'_> = serde_json::from_str(pod).ok()?;
        let metadata = &object.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let annotations = metadata.annotations.as_ref();
        let restarted_at = annotations.and_then(|all| all.get(&Text::from(RESTARTED_AT)));
        let restarted_at = restarted_at.map(|time| short(time));
        let workload = metadata.workload();
        let status = object.status.unwrap_or_default();
        let template = Template {
            metadata: Metadata {
                labels: object.metadata.labels,
                annotations: object.metadata.annotations,
                ..Metadata::default()
            },
            spec: object.spec,
        };
        let namespace = or_empty(object.metadata.namespace.as_ref());
        let (coverage, version) = coverage(namespace, template, &status)?;
        Some(Self {
            workload,
            coverage,
            version,
            restarted_at,
        })
    }
}

/// The Pod template of a Deployment or DaemonSet whose Pods the injection applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadTemplate {
    /// The uid of the workload.
    pub uid: String,
    /// How the template uses the bundle. A template itself is never injected.
    pub coverage: PodCoverage,
    /// The version of Velero.
    pub version: Option<String>,
    /// Whether the Deployment is paused, so that a restart would wait until somebody resumes it.
    pub paused: bool,
    /// Whether the DaemonSet never replaces a Pod by itself (`OnDelete`).
    pub on_delete: bool,
}

impl WorkloadTemplate {
    /// Reads a workload. Returns `None` if the injection does not apply to its Pods.
    pub fn read(workload: &DynamicObject) -> Option<Self> {
        Self::from_json(&serde_json::to_string(workload).ok()?)
    }

    /// As [`read`](Self::read), from the JSON of the workload.
    pub fn from_json(workload: &str) -> Option<Self> {
        let WorkloadObject { metadata, spec } = serde_json::from_str(workload).ok()?;
        let namespace = or_empty(metadata.namespace.as_ref());
        let (coverage, version) = coverage(namespace, spec.template, &Status::default())?;
        Some(Self {
            uid: or_empty(metadata.uid.as_ref()).to_owned(),
            coverage,
            version,
            paused: spec.paused,
            on_delete: or_empty(spec.update_strategy.kind.as_ref()) == "OnDelete",
        })
    }
}

/// Returns how a Pod of this template in `namespace` uses the bundle, and the version of Velero in
/// it. `status` is that of the Pod, or the default for the template of a workload.
fn coverage(
    namespace: &str,
    template: Template<'_>,
    status: &Status<'_>,
) -> Option<(PodCoverage, Option<String>)> {
    let spec = template.spec.map_or("null", RawValue::get);
    let view = View {
        metadata: template.metadata,
        // A Pod that cannot be read is not Velero's: the API server would not have stored it.
        spec: serde_json::from_str::<Option<_>>(spec)
            .ok()?
            .unwrap_or_default(),
    };
    let coverage = PodCoverage::of(namespace, &view, status)?;
    let first = injection::injected(&view).next().map(Container::name);
    let images: Option<Images<'_>> = serde_json::from_str(spec).ok()?;
    let containers = images.unwrap_or_default().containers.into_iter();
    let mut containers = containers.filter(|one| one.name.as_deref() == first);
    let image = containers.next().and_then(|container| container.image);
    let version = coverage
        .kind
        .and(image)
        .map(|image| short(&image::version(&image)));
    Some((coverage, version))
}

/// Returns the first characters of `text`: enough for every tag of an image and every time.
fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(metadata: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [
                {"name": "sidecar", "image": "proxy:1"},
                {"name": "velero", "image": "velero/velero:v1.18.2", "command": ["/velero", "server"]},
            ]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    fn owned(kind: &str, name: &str) -> Value {
        json!({
            "name": "p", "namespace": "velero",
            "labels": {"pod-template-hash": "7c9d"},
            "ownerReferences": [{"apiVersion": "x", "uid": "u", "kind": kind, "name": name,
                "controller": true}],
        })
    }

    #[test]
    fn finds_the_workload_behind_a_pod() {
        let of = |kind: &str, name: &str| {
            let running = RunningPod::read(&pod(&owned(kind, name))).unwrap();
            running.workload.map(|workload| workload.to_string())
        };
        let deployment = Some("deployment/velero-a".to_owned());
        assert_eq!(of("ReplicaSet", "velero-a-7c9d"), deployment);
        assert_eq!(
            of("DaemonSet", "node-agent").as_deref(),
            Some("daemonset/node-agent")
        );
        assert_eq!(of("ReplicaSet", "somebody-elses"), None);
        assert_eq!(of("Job", "maintenance-7c9d"), None);
    }

    #[test]
    fn takes_the_version_from_the_container_that_runs_velero() {
        let running = RunningPod::read(&pod(&json!({"name": "p", "namespace": "velero"}))).unwrap();
        assert_eq!(running.version.as_deref(), Some("v1.18.2"));
    }

    #[test]
    fn leaves_out_what_is_going_or_gone() {
        let mut going = pod(&owned("DaemonSet", "node-agent"));
        assert!(RunningPod::read(&going).is_some());
        going.data["status"]["phase"] = "Succeeded".into();
        assert!(RunningPod::read(&going).is_none());
        let mut metadata = owned("DaemonSet", "node-agent");
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(RunningPod::read(&pod(&metadata)).is_none());
    }

    #[test]
    fn reads_a_template_and_what_keeps_a_restart_from_working() {
        let workload = |spec: Value| {
            let template = pod(&json!({})).data;
            let mut object = json!({
                "apiVersion": "apps/v1", "kind": "DaemonSet",
                "metadata": {"name": "node-agent", "namespace": "velero", "uid": "u"},
                "spec": spec,
            });
            object["spec"]["template"] = json!({"spec": template["spec"]});
            WorkloadTemplate::read(&serde_json::from_value(object).unwrap()).unwrap()
        };
        let plain = workload(json!({}));
        assert_eq!((plain.uid.as_str(), plain.paused), ("u", false));
        assert_eq!(plain.version.as_deref(), Some("v1.18.2"));
        assert!(workload(json!({"paused": true})).paused);
        assert!(workload(json!({"updateStrategy": {"type": "OnDelete"}})).on_delete);
    }
}
