use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::cli::snapshot::OngoingRollout;
use crate::injection::coverage;
use crate::kubernetes::workloads::{Kind, WorkloadTemplate};
use crate::names;

fn object(kind: &str, name: &str, rest: &Value) -> DynamicObject {
    let mut object = json!({"apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "namespace": "velero"}});
    json_patch::merge(&mut object, rest);
    serde_json::from_value(object).unwrap()
}

fn spec(command: &[&str], env: &Value) -> Value {
    json!({"containers": [{"name": "c", "command": command, "env": env}]})
}

fn pod(snapshot: &mut NamespaceSnapshot, name: &str, owner: &str, command: &[&str]) {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner, "uid": "u",
        "controller": !owner.is_empty()}]);
    let rest = json!({"metadata": {"ownerReferences": owner}, "spec": spec(command, &json!([]))});
    let running = RunningPod::read(&object("Pod", name, &rest)).unwrap();
    snapshot.pods.insert(name.to_owned(), running);
}

fn template(snapshot: &mut NamespaceSnapshot, name: &str, env: &Value, rest: &Value) {
    let mut of = json!({"spec": {"template": {"spec": spec(AGENT, env)}}});
    json_patch::merge(&mut of, rest);
    let kind = Kind::DaemonSet;
    let name = name.to_owned();
    let template = WorkloadTemplate::read(&object("DaemonSet", &name, &of)).unwrap();
    snapshot.templates.insert(Workload { kind, name }, template);
}

const AGENT: &[&str] = &["/velero", "node-agent", "server"];
const MOVER: &[&str] = &["/velero", "data-mover", "backup"];

fn snapshot() -> NamespaceSnapshot {
    NamespaceSnapshot {
        namespace: "velero".to_owned(),
        ..NamespaceSnapshot::default()
    }
}

#[test]
fn restarts_what_a_restart_mends_and_says_why() {
    let mut snapshot = snapshot();
    for name in ["agent-1", "agent-2"] {
        pod(&mut snapshot, name, "agent", AGENT);
    }
    template(&mut snapshot, "agent", &json!([]), &json!({}));
    let plan = Plan::of(&snapshot, vec!["Backup nightly (InProgress)".to_owned()]);
    let want = "\
# WARNING: Backup nightly (InProgress) in velero is at work; a restart may make it fail
# agent-1, agent-2: made before velero-trust was there, or while it was down
kubectl -n velero rollout restart daemonset/agent
";
    assert_eq!(plan.text(), want);
    assert!(plan.needs_attention(false));
    assert!(!plan.needs_attention(true));
}

/// Adds a Pod of `agent` that started at second 10 of 1970, created by the restart `restarted_at`.
fn began(snapshot: &mut NamespaceSnapshot, name: &str, restarted_at: Option<&str>, injected: bool) {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u",
        "controller": true}]);
    let mut rest = json!({
        "metadata": {"ownerReferences": owner,
            "annotations": {"kubectl.kubernetes.io/restartedAt": restarted_at}},
        "spec": spec(AGENT, &json!([])),
        "status": {"startTime": "1970-01-01T00:00:10Z"},
    });
    if injected {
        let volume = json!({"name": names::BUNDLE, "configMap": {"name": names::BUNDLE}});
        rest["spec"]["volumes"] = json!([volume]);
        let container = &mut rest["spec"]["containers"][0];
        container["env"] = json!([
            {"name": names::AWS_CA_BUNDLE, "value": names::AWS_CA_BUNDLE_VALUE},
            {"name": names::SSL_CERT_DIR, "value": names::SSL_CERT_DIR_VALUE},
        ]);
        container["volumeMounts"] =
            json!([{"name": names::BUNDLE, "mountPath": names::MOUNT_PATH}]);
    }
    let running = RunningPod::read(&object("Pod", name, &rest)).unwrap();
    snapshot.pods.insert(name.to_owned(), running);
}

#[test]
fn restarts_nothing_whose_restart_is_under_way() {
    let at = "1970-01-01T00:01:00Z";
    let mut snapshot = snapshot();
    began(&mut snapshot, "agent-1", None, false);
    template(&mut snapshot, "agent", &json!([]), &json!({}));
    let workload = snapshot.templates.keys().next().unwrap().clone();
    let restarted_at = at.to_owned();
    snapshot
        .ongoing
        .insert(workload.clone(), OngoingRollout { restarted_at });
    let plan = Plan::of(&snapshot, Vec::new());
    let want = "# velero: rollout under way: daemonset/agent, restarted at 1970-01-01T00:01:00Z, \
                still replaces agent-1; `kubectl -n velero rollout status daemonset/agent` waits \
                for it\n";
    assert_eq!(plan.text(), want);
    assert_eq!(plan.ongoing, [workload]);
    assert!(!plan.needs_attention(false));
    // A Pod that this restart created lacks the bundle too, as if velero-trust had been down.
    began(&mut snapshot, "agent-2", Some(at), false);
    let plan = Plan::of(&snapshot, Vec::new());
    assert_eq!(plan.restarts.len(), 1, "{plan:?}");
    assert!(plan.ongoing.is_empty() && plan.remaining.is_empty());
}

#[test]
fn a_restart_before_the_newest_certificate_mends_no_stale_pod() {
    let mut snapshot = snapshot();
    began(&mut snapshot, "agent-1", None, true);
    let stale = &snapshot.pods["agent-1"];
    let added = |second| coverage::BundleSummary {
        last_added: Some(second),
        held: false,
    };
    assert_eq!(stale.coverage.state(added(60)), State::Stale);
    let restarted_at = "1970-01-01T00:01:00Z".to_owned();
    let ongoing = OngoingRollout { restarted_at };
    assert!(ongoing.resolves(stale, added(60)));
    assert!(!ongoing.resolves(stale, added(61)));
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
        let mut snapshot = snapshot();
        pod(&mut snapshot, "pod", name, AGENT);
        template(&mut snapshot, name, env, rest);
        let plan = Plan::of(&snapshot, Vec::new());
        assert!(plan.restarts.is_empty(), "{name}: {plan:?}");
        assert!(plan.text().contains(says), "{name}: {}", plan.text());
        assert_eq!(plan.needs_attention(false), needs, "{name}");
    }
}

#[test]
fn leaves_alone_what_ends_by_itself_and_what_nothing_makes_again() {
    let mut snapshot = snapshot();
    pod(&mut snapshot, "mover", "", MOVER);
    let plan = Plan::of(&snapshot, Vec::new());
    assert!(!plan.needs_attention(false), "{plan:?}");
    pod(&mut snapshot, "by-hand", "", AGENT);
    pod(&mut snapshot, "orphan", "gone", AGENT);
    let plan = Plan::of(&snapshot, vec!["Backup b (InProgress)".to_owned()]);
    let want = "\
# velero: by-hand was made by nothing that can be restarted; make it again
# velero: mover was made by Velero for one task and ends by itself
# velero: daemonset/gone, which made orphan, is gone
";
    assert_eq!(plan.text(), want);
    assert_eq!(
        Plan::of(&self::snapshot(), Vec::new()).text(),
        "# velero: nothing to restart\n"
    );
}

#[test]
fn new_pods_that_lack_the_bundle_as_well_are_found() {
    let mut before = snapshot();
    pod(&mut before, "old", "node-agent", AGENT);
    template(&mut before, "node-agent", &json!([]), &json!({}));
    let before = Plan::of(&before, Vec::new());
    assert_eq!(before.restarts.len(), 1);
    let mut after = snapshot();
    template(&mut after, "node-agent", &json!([]), &json!({}));
    // One that nobody restarted is not waited for.
    pod(&mut after, "other", "other", AGENT);
    template(&mut after, "other", &json!([]), &json!({}));
    assert_eq!(before.still_lacking(&Plan::of(&after, Vec::new())), None);
    pod(&mut after, "new", "node-agent", AGENT);
    let lacking = before.still_lacking(&Plan::of(&after, Vec::new()));
    assert_eq!(
        lacking.map(ToString::to_string).as_deref(),
        Some("daemonset/node-agent")
    );
}
