use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;

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

fn bundle(held: bool) -> Heard {
    Heard::Bundle(ObservedBundle::There {
        version: None,
        ours: Some(Bundle {
            held,
            ..Bundle::default()
        }),
    })
}

/// An audit that has heard every list.
fn listed(pods: Vec<DynamicObject>, template: &Value) -> Audit {
    let mut audit = Audit::default();
    for pod in pods {
        audit.take(Heard::Pods(Event::InitApply(pod)));
    }
    audit.take(Heard::Pods(Event::InitDone));
    let deployments = |event| Heard::Workloads(Kind::Deployment, event);
    audit.take(deployments(Event::InitApply(deployment(template))));
    audit.take(deployments(Event::InitDone));
    audit.take(bundle(false));
    audit
}

#[test]
fn says_nothing_before_it_knows_pods_and_bundle() {
    let mut audit = Audit::default();
    audit.take(Heard::Pods(Event::InitApply(pod("a", &json!([]), "Ready"))));
    audit.take(Heard::Pods(Event::InitDone));
    assert_eq!(audit.tally(), None);
    assert!(audit.issues("velero").is_empty());
    // A list without a bundle is knowledge: there is none.
    audit.take(Heard::Bundle(ObservedBundle::Absent));
    assert_eq!(audit.tally().unwrap().count(State::Uninjected), 1);
    assert_eq!(audit.issues("velero").len(), 1);
    assert!(audit.take(Heard::Refused(What::Pods)));
    assert_eq!(audit.tally(), None);
}

#[test]
fn a_status_or_a_pod_of_others_is_no_change() {
    let mut audit = listed(vec![pod("a", &json!([]), "Ready")], &json!([]));
    let apply = |pod| Heard::Pods(Event::Apply(pod));
    assert!(!audit.take(apply(pod("a", &json!([]), "PodScheduled"))));
    let mut foreign = pod("b", &json!([]), "Ready");
    foreign.data["spec"]["containers"][0]["command"] = json!(["/bin/true"]);
    assert!(!audit.take(apply(foreign)));
    assert!(audit.take(apply(pod("c", &json!([]), "Ready"))));
    assert!(!audit.take(bundle(false)));
    assert!(audit.take(bundle(true)));
}

#[test]
fn names_the_pods_and_the_command_and_counts_the_rest() {
    let pods = ["a", "b", "c", "d", "e"].map(|name| pod(name, &json!([]), "Ready"));
    let audit = listed(pods.into(), &json!([]));
    let issues = audit.issues("velero");
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
fn a_template_that_conflicts_is_a_trouble_even_without_pods() {
    let own = json!([{"name": "AWS_CA_BUNDLE", "value": "/own"}]);
    let audit = listed(Vec::new(), &own);
    let issues = audit.issues("velero");
    let ((_, state), issue) = issues.first_key_value().unwrap();
    assert_eq!(*state, State::Conflicting);
    assert!(issue.note.contains("[VT201]"), "{}", issue.note);
    // With Pods it is the same trouble, not a second one.
    let audit = listed(vec![pod("a", &own, "Ready")], &own);
    assert_eq!(audit.issues("velero").len(), 1);
}
