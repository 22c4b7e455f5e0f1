use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::controllers::observed_bundle::BundleMetadata;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, env: &Value, condition: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "velero", "labels": {"pod-template-hash": "7c9d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "r",
                "name": "velero-7c9d", "controller": true}]},
        "spec": spec(env),
        "status": {"phase": "Running", "conditions": [{"type": condition, "status": "True"}]},
    }))
}

fn spec(env: &Value) -> Value {
    json!({"containers": [{"name": "velero", "command": ["/velero", "server"], "env": env}]})
}

fn deployment(env: &Value) -> DynamicObject {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "velero", "namespace": "velero", "uid": "d"},
        "spec": {"template": {"spec": spec(env)}},
    }))
}

/// The entries of complete lists of Pods and Deployments.
struct Listed {
    pods: BTreeMap<Key, RunningPod>,
    deployments: BTreeMap<Key, WorkloadTemplate>,
}

impl Listed {
    fn new(pods: &[DynamicObject], template: &Value) -> Self {
        let pods = pods.iter().filter_map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap();
            Some((Key::new("velero", name), RunningPod::read(pod)?))
        });
        let template = WorkloadTemplate::read(&deployment(template)).unwrap();
        Self {
            pods: pods.collect(),
            deployments: [(Key::new("velero", "velero"), template)].into(),
        }
    }

    /// The audit against an empty bundle of velero-trust.
    fn audit(&self) -> Audit<'_> {
        Audit {
            bundle: Some(BundleSummary::default()),
            pods: Some(&self.pods),
            deployments: Some(&self.deployments),
            daemon_sets: None,
        }
    }
}

#[test]
fn says_nothing_before_it_knows_pods_and_bundle() {
    let listed = Listed::new(&[pod("a", &json!([]), "Ready")], &json!([]));
    for unknown in [
        Audit {
            bundle: None,
            ..listed.audit()
        },
        Audit {
            pods: None,
            ..listed.audit()
        },
    ] {
        assert_eq!(unknown.tally(), None);
        assert_eq!(unknown.issues("velero"), None);
    }
    assert_eq!(listed.audit().tally().unwrap().count(State::Uninjected), 1);
    assert_eq!(listed.audit().issues("velero").unwrap().len(), 1);
}

#[test]
fn a_list_without_a_bundle_is_known_and_no_list_is_not() {
    assert_eq!(bundle_summary(&ObservedBundle::Unknown), None);
    assert_eq!(
        bundle_summary(&ObservedBundle::Absent),
        Some(BundleSummary::default())
    );
    let held = BundleSummary {
        held: true,
        ..BundleSummary::default()
    };
    let observed = |ours| {
        let version = None;
        ObservedBundle::Present(BundleMetadata {
            version,
            ours,
            is_published: true,
        })
    };
    assert_eq!(bundle_summary(&observed(Some(held))), Some(held));
    assert_eq!(
        bundle_summary(&observed(None)),
        Some(BundleSummary::default())
    );
}

#[test]
fn a_status_is_no_change() {
    let read = |condition| RunningPod::read(&pod("a", &json!([]), condition));
    assert_eq!(read("Ready"), read("PodScheduled"));
}

#[test]
fn names_the_pods_and_the_command_and_counts_the_rest() {
    let pods = ["a", "b", "c", "d", "e"].map(|name| pod(name, &json!([]), "Ready"));
    let listed = Listed::new(&pods, &json!([]));
    let issues = listed.audit().issues("velero").unwrap();
    let ((workload, state), issue) = issues.first_key_value().unwrap();
    assert_eq!(
        (workload.to_string().as_str(), *state, issue.uid.as_deref()),
        ("deployment/velero", State::Uninjected, Some("d"))
    );
    assert_eq!(
        issue.note,
        "Pods without the CA bundle: a, b, c and 2 more; made before velero-trust was there, or \
         while it was down: kubectl -n velero rollout restart deployment/velero"
    );
}

#[test]
fn counts_nothing_where_all_pods_are_named() {
    let pods = ["a", "b", "c"].map(|name| pod(name, &json!([]), "Ready"));
    let listed = Listed::new(&pods, &json!([]));
    let issues = listed.audit().issues("velero").unwrap();
    let note = &issues.first_key_value().unwrap().1.note;
    assert!(
        note.starts_with("Pods without the CA bundle: a, b, c; "),
        "{note}"
    );
}

#[test]
fn knows_the_uid_of_a_workload_that_exists() {
    let listed = Listed::new(&[], &json!([]));
    let workload = |kind| Workload {
        kind,
        name: "velero".to_owned(),
    };
    let audit = listed.audit();
    assert_eq!(audit.uid(&workload(Kind::Deployment)), Some("d"));
    assert_eq!(audit.uid(&workload(Kind::DaemonSet)), None);
}

#[test]
fn a_template_that_conflicts_is_an_issue_even_without_pods() {
    let own = json!([{"name": "AWS_CA_BUNDLE", "value": "/own"}]);
    let listed = Listed::new(&[], &own);
    let issues = listed.audit().issues("velero").unwrap();
    let ((_, state), issue) = issues.first_key_value().unwrap();
    assert_eq!(*state, State::Conflicting);
    assert!(issue.note.contains("[VT201]"), "{}", issue.note);
    // With Pods it is the same issue, not a second one.
    let listed = Listed::new(&[pod("a", &own, "Ready")], &own);
    assert_eq!(listed.audit().issues("velero").unwrap().len(), 1);
}
