//! How a Pod, and the template of a workload's Pods, stand to the bundle.

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

/// The annotation that `kubectl rollout restart` sets (`pkg/polymorphichelpers/objectrestarter.go`).
/// kube's own `Api::restart` sets another, which no other tool knows.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A Pod that the injection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningPod {
    /// What made it.
    pub workload: Option<Workload>,
    /// How it stands to the bundle.
    pub coverage: PodCoverage,
    /// The version of Velero in it.
    pub version: Option<String>,
    /// Its [`RESTARTED_AT`]: of the restart that made it.
    pub restarted_at: Option<String>,
}

impl RunningPod {
    /// What matters of a Pod; none of one that is nothing to us, is finished or is being deleted.
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

/// A Deployment or DaemonSet whose Pods the injection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadTemplate {
    /// Of the workload.
    pub uid: String,
    /// How the template of its Pods stands to the bundle; a template is never injected.
    pub coverage: PodCoverage,
    /// The version of Velero in it.
    pub version: Option<String>,
    /// The Deployment is paused: a restart would wait for somebody to resume it.
    pub paused: bool,
    /// The DaemonSet replaces no Pod by itself (`OnDelete`).
    pub on_delete: bool,
}

impl WorkloadTemplate {
    /// What matters of a workload; none of one that is nothing to us.
    pub fn read(workload: &DynamicObject) -> Option<Self> {
        let of = |pointer| workload.data.pointer(pointer);
        let metadata = of("/spec/template/metadata").unwrap_or(&Value::Null);
        let (coverage, version) = coverage(workload, metadata, of("/spec/template/spec"))?;
        Some(Self {
            uid: workload.uid().unwrap_or_default(),
            coverage,
            version,
            paused: of("/spec/paused").is_some_and(|paused| paused == true),
            on_delete: of("/spec/updateStrategy/type").is_some_and(|kind| kind == "OnDelete"),
        })
    }
}

/// How the Pod with this `metadata` and `spec` stands, and Velero's version in it. `object` is the
/// Pod itself, or what holds its template.
fn coverage(
    object: &DynamicObject,
    metadata: &Value,
    spec: Option<&Value>,
) -> Option<(PodCoverage, Option<String>)> {
    let spec = spec.unwrap_or(&Value::Null);
    // What cannot be read is no Pod of ours: the API server would not have stored it.
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
