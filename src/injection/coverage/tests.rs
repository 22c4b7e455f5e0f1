use serde_json::{Value, json};

use super::{BundleSummary, PodCoverage, State};
use crate::names;
use crate::velero::pod::Pod;
use crate::velero::pod_status::Observed;

/// Time when the newest certificate was added, seconds since 1970.
const ADDED: i64 = 3600;

const BUNDLE: BundleSummary = BundleSummary {
    last_added: Some(ADDED),
    held: false,
};

const HELD: BundleSummary = BundleSummary {
    held: true,
    ..BUNDLE
};

/// Returns a Pod of Velero's server without the injection.
fn server() -> Value {
    json!({
        "metadata": {"name": "velero-1"},
        "spec": {"containers": [{
            "name": "velero",
            "command": ["/velero", "server"],
            "env": [{"name": "LD_LIBRARY_PATH", "value": "/plugins"}],
            "volumeMounts": [{"name": "plugins", "mountPath": "/plugins"}],
        }]},
        "status": {"phase": "Running", "startTime": "1970-01-01T02:00:00Z"},
    })
}

/// Returns the same Pod with the injection, started an hour after the newest certificate was added.
fn injected() -> Value {
    let mut pod = server();
    let container = &mut pod["spec"]["containers"][0];
    push(
        &mut container["env"],
        variable(names::AWS_CA_BUNDLE, names::AWS_CA_BUNDLE_VALUE),
    );
    push(
        &mut container["env"],
        variable(names::SSL_CERT_DIR, names::SSL_CERT_DIR_VALUE),
    );
    let mount = json!({"name": names::BUNDLE, "mountPath": names::MOUNT_PATH});
    push(&mut container["volumeMounts"], mount);
    pod["spec"]["volumes"] = json!([{"name": names::BUNDLE, "configMap": {"name": names::BUNDLE}}]);
    pod
}

fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().unwrap().push(value);
}

fn coverage(pod: &Value) -> Option<PodCoverage> {
    let text = pod.to_string();
    let view: Pod<'_> = serde_json::from_str(&text).unwrap();
    let observed: Observed<'_> = serde_json::from_str(&text).unwrap();
    PodCoverage::of("velero", &view, &observed.status)
}

fn state(pod: &Value, bundle: BundleSummary) -> State {
    coverage(pod).unwrap().state(bundle)
}

#[test]
fn a_pod_is_current_with_the_whole_injection_and_uninjected_without_a_part_of_it() {
    assert_eq!(state(&injected(), BUNDLE), State::Current);
    assert_eq!(state(&server(), BUNDLE), State::Uninjected);
    for list in ["env", "volumeMounts"] {
        let mut pod = injected();
        let list = pod["spec"]["containers"][0][list].as_array_mut().unwrap();
        list.pop();
        assert_eq!(state(&pod, BUNDLE), State::Uninjected, "{pod}");
    }
}

#[test]
fn while_held_a_pod_lacks_aws_ca_bundle_rightly_and_afterwards_not() {
    let mut pod = injected();
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.retain(|variable| variable["name"] != names::AWS_CA_BUNDLE);
    assert_eq!(state(&pod, HELD), State::Current);
    assert!(coverage(&pod).unwrap().why(HELD).starts_with("held"));
    assert_eq!(state(&pod, BUNDLE), State::Uninjected);
    // The other additions are missing whether the namespace is held or not.
    assert_eq!(state(&server(), HELD), State::Uninjected);
    // A container without any variable gets a new list with both variables.
    let mut bare = server();
    let container = bare["spec"]["containers"][0].as_object_mut().unwrap();
    container.remove("env");
    assert_eq!(state(&bare, HELD), State::Uninjected);
}

#[test]
fn what_the_template_sets_conflicts_whatever_else_is_lacking() {
    let mut pod = server();
    let own = variable(names::AWS_CA_BUNDLE, "/own/ca.crt");
    push(&mut pod["spec"]["containers"][0]["env"], own);
    assert_eq!(state(&pod, BUNDLE), State::Conflicting);
    let why = coverage(&pod).unwrap().why(BUNDLE);
    assert!(why.contains("[VT201]"), "{why}");

    let mut pod = injected();
    pod["spec"]["volumes"] = json!([{"name": names::BUNDLE, "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
    assert_eq!(state(&pod, BUNDLE), State::Conflicting);
    // An annotation with an unknown value is no conflict.
    let mut pod = injected();
    pod["metadata"]["annotations"] = json!({names::INJECT: "perhaps"});
    assert_eq!(state(&pod, BUNDLE), State::Current);
}

#[test]
fn opted_out_is_opted_out_by_label_and_by_annotation() {
    for place in ["labels", "annotations"] {
        let mut pod = server();
        pod["metadata"][place] = json!({names::INJECT: "false"});
        assert_eq!(state(&pod, BUNDLE), State::OptedOut, "{place}");
    }
}

#[test]
fn a_process_that_began_before_the_newest_certificate_is_stale() {
    let begun = |pod: &str, container: Option<&str>| {
        let mut object = injected();
        object["status"]["startTime"] = pod.into();
        if let Some(container) = container {
            object["status"]["containerStatuses"] = json!([
                {"name": "sidecar", "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}},
                {"name": "velero", "state": {"running": {"startedAt": container}}},
            ]);
        }
        state(&object, BUNDLE)
    };
    assert_eq!(begun("1970-01-01T00:59:59Z", None), State::Stale);
    assert_eq!(begun("1970-01-01T01:00:00Z", None), State::Current);
    // The start of the process counts, not that of the Pod or of a sidecar.
    let old = "1970-01-01T00:30:00Z";
    assert_eq!(begun(old, Some("1970-01-01T01:30:00Z")), State::Current);
    assert_eq!(begun(old, Some("1970-01-01T00:59:00Z")), State::Stale);
    // The process restarted before its kubelet updated the file.
    assert_eq!(begun(old, Some("1970-01-01T01:01:00Z")), State::Stale);
    let added_never = BundleSummary::default();
    assert_eq!(state(&injected(), added_never), State::Current);
}

#[test]
fn nothing_is_stale_that_has_not_begun_or_reads_no_ssl_cert_dir() {
    let old = "1970-01-01T00:00:00Z";
    let mut waiting = injected();
    waiting["status"] = json!({"startTime": old, "containerStatuses": [
        {"name": "velero", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
    assert_eq!(state(&waiting, BUNDLE), State::Current);
    let mut pending = injected();
    pending["status"] = json!({"phase": "Pending"});
    assert_eq!(state(&pending, BUNDLE), State::Current);
    let mut windows = injected();
    windows["spec"]["os"] = json!({"name": "windows"});
    windows["status"]["startTime"] = old.into();
    assert_eq!(state(&windows, BUNDLE), State::Current);
}

#[test]
fn counts_velero_and_who_asks_and_nobody_else() {
    let mut foreign = server();
    foreign["spec"]["containers"][0]["command"] = json!(["/bin/minio", "server"]);
    assert_eq!(coverage(&foreign), None);
    foreign["metadata"]["labels"] = json!({names::INJECT: "true"});
    let asks = coverage(&foreign).unwrap();
    assert_eq!((asks.kind, asks.state(BUNDLE)), (None, State::Uninjected));

    let mut mirror = server();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(coverage(&mirror), None);
    for phase in ["Succeeded", "Failed"] {
        let mut finished = server();
        finished["status"]["phase"] = phase.into();
        assert_eq!(coverage(&finished), None, "{phase}");
    }
}

#[test]
fn a_status_that_says_nothing_new_is_no_other_standing() {
    let mut pod = injected();
    let before = coverage(&pod);
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(coverage(&pod), before);
}

#[test]
fn a_template_conflicts_or_opts_out_as_its_pods_will() {
    let template = |pod: &Value| {
        let text = pod.to_string();
        let view: Pod<'_> = serde_json::from_str(&text).unwrap();
        PodCoverage::of_template("velero", &view).unwrap()
    };
    let plain = template(&server());
    assert!(plain.conflicts.is_empty() && !plain.opted_out);
    let mut pod = server();
    pod["metadata"]["labels"] = json!({names::INJECT: "false"});
    assert!(template(&pod).opted_out);
    let mut pod = server();
    let own = variable(names::SSL_CERT_DIR, "/own");
    push(&mut pod["spec"]["containers"][0]["env"], own);
    assert_eq!(template(&pod).conflicts[0].rule.id, "VT202");
}
