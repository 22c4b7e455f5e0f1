use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::workloads::{Kind, Template};

fn object(kind: &str, name: &str, rest: &Value) -> DynamicObject {
    let mut object = json!({"apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "namespace": "velero"}});
    json_patch::merge(&mut object, rest);
    serde_json::from_value(object).unwrap()
}

fn spec(command: &[&str], env: &Value) -> Value {
    json!({"containers": [{"name": "c", "command": command, "env": env}]})
}

fn pod(live: &mut Live, name: &str, owner: &str, command: &[&str]) {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner, "uid": "u",
        "controller": !owner.is_empty()}]);
    let rest = json!({"metadata": {"ownerReferences": owner}, "spec": spec(command, &json!([]))});
    let running = Running::read(&object("Pod", name, &rest)).unwrap();
    live.pods.insert(name.to_owned(), running);
}

fn template(live: &mut Live, name: &str, env: &Value, rest: &Value) {
    let mut of = json!({"spec": {"template": {"spec": spec(AGENT, env)}}});
    json_patch::merge(&mut of, rest);
    let kind = Kind::DaemonSet;
    let name = name.to_owned();
    let template = Template::read(&object("DaemonSet", &name, &of)).unwrap();
    live.templates.insert(Workload { kind, name }, template);
}

const AGENT: &[&str] = &["/velero", "node-agent", "server"];
const MOVER: &[&str] = &["/velero", "data-mover", "backup"];

fn live() -> Live {
    Live {
        namespace: "velero".to_owned(),
        ..Live::default()
    }
}

#[test]
fn restarts_what_a_restart_mends_and_says_why() {
    let mut live = live();
    for name in ["agent-1", "agent-2"] {
        pod(&mut live, name, "agent", AGENT);
    }
    template(&mut live, "agent", &json!([]), &json!({}));
    let plan = Plan::of(&live, vec!["Backup nightly (InProgress)".to_owned()]);
    let want = "\
# WARNING: Backup nightly (InProgress) in velero is at work; a restart may make it fail
# agent-1, agent-2: made before velero-trust was there, or while it was down
kubectl -n velero rollout restart daemonset/agent
";
    assert_eq!(plan.text(), want);
    assert!(plan.needs_a_person(false));
    assert!(!plan.needs_a_person(true));
}

#[test]
fn never_restarts_for_nothing() {
    let own = json!([{"name": "AWS_CA_BUNDLE", "value": "/own"}]);
    let out = json!({"spec": {"template": {"metadata": {"labels":
        {"velero-trust.io/inject": "false"}}}}});
    for (name, env, rest, says, needs) in [
        ("conflict", &own, &json!({}), "[VT201]", true),
        (
            "out",
            &json!([]),
            &out,
            "needs a change of the template first, opted-out",
            false,
        ),
        (
            "paused",
            &json!([]),
            &json!({"spec": {"paused": true}}),
            "paused",
            true,
        ),
        (
            "by-hand",
            &json!([]),
            &json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
            "delete pod",
            true,
        ),
    ] {
        let mut live = live();
        pod(&mut live, "pod", name, AGENT);
        template(&mut live, name, env, rest);
        let plan = Plan::of(&live, Vec::new());
        assert!(plan.restarts.is_empty(), "{name}: {plan:?}");
        assert!(plan.text().contains(says), "{name}: {}", plan.text());
        assert_eq!(plan.needs_a_person(false), needs, "{name}");
    }
}

#[test]
fn leaves_alone_what_ends_by_itself_and_what_nothing_makes_again() {
    let mut live = live();
    pod(&mut live, "mover", "", MOVER);
    let plan = Plan::of(&live, Vec::new());
    assert!(!plan.needs_a_person(false), "{plan:?}");
    pod(&mut live, "by-hand", "", AGENT);
    pod(&mut live, "orphan", "gone", AGENT);
    let plan = Plan::of(&live, vec!["Backup b (InProgress)".to_owned()]);
    let want = "\
# velero: by-hand was made by nothing that can be restarted; make it again
# velero: mover was made by Velero for one task and ends by itself
# velero: daemonset/gone, which made orphan, is gone
";
    assert_eq!(plan.text(), want);
    assert_eq!(
        Plan::of(&self::live(), Vec::new()).text(),
        "# velero: nothing to restart\n"
    );
}
