//! Reads how Pods, and the Pod templates of workloads, use the bundle.

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Workload;
use crate::injection;
use crate::injection::coverage::PodCoverage;
use crate::velero::image;
use crate::velero::pod::{Container, Pod as View};
use crate::velero::pod_status::Observed;

/// The annotation that `kubectl rollout restart` sets
/// (`pkg/polymorphichelpers/objectrestarter.go`). kube's own `Api::restart` sets another, which no
/// other tool knows.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

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
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let (labels, annotations) = (&pod.metadata.labels, &pod.metadata.annotations);
        let metadata = json!({"labels": labels, "annotations": annotations});
        let (coverage, version) = coverage(pod, &metadata, pod.data.get("spec"))?;
        Some(Self {
            workload: Workload::of(pod),
            coverage,
            version,
            restarted_at: pod.annotations().get(RESTARTED_AT).cloned(),
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
        let field = |pointer| workload.data.pointer(pointer);
        let metadata = field("/spec/template/metadata").unwrap_or(&Value::Null);
        let (coverage, version) = coverage(workload, metadata, field("/spec/template/spec"))?;
        Some(Self {
            uid: workload.uid().unwrap_or_default(),
            coverage,
            version,
            paused: field("/spec/paused").is_some_and(|paused| paused == true),
            on_delete: field("/spec/updateStrategy/type").is_some_and(|kind| kind == "OnDelete"),
        })
    }
}

/// Returns how a Pod with this `metadata` and `spec` uses the bundle, and the version of Velero in
/// it. `object` is the Pod itself or the workload with its template.
fn coverage(
    object: &DynamicObject,
    metadata: &Value,
    spec: Option<&Value>,
) -> Option<(PodCoverage, Option<String>)> {
    let spec = spec.unwrap_or(&Value::Null);
    // A Pod that cannot be read is not Velero's: the API server would not have stored it.
    let view = View {
        metadata: Option::deserialize(metadata).ok()?.unwrap_or_default(),
        spec: Option::deserialize(spec).ok()?.unwrap_or_default(),
    };
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let is_pod = object.data.pointer("/spec/template").is_none();
    let observed = is_pod.then(|| Observed::deserialize(&object.data).ok());
    let status = observed.flatten().unwrap_or_default().status;
    let coverage = PodCoverage::of(namespace, &view, &status)?;
    let first = injection::injected(&view).next().map(Container::name);
    let containers = spec.get("containers").and_then(Value::as_array);
    let image = containers
        .into_iter()
        .flatten()
        .find(|container| container.get("name").and_then(Value::as_str) == first)
        .and_then(|container| container.get("image")?.as_str());
    let version = coverage.kind.and(image).map(image::version);
    Some((coverage, version))
}

#[cfg(test)]
mod tests {
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
