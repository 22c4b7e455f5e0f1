//! Tests of the injection, one Pod at a time. The `json-patch` crate applies every patch.

use serde_json::{Value, json};

use super::decide;
use crate::decision::{
    Bundle, Fact, Facts, Judged, Lookup, LookupError, LookupErrorKind, NoBundle, Outcome, Policy,
    Report, Severity, Verdict,
};
use crate::velero::pod::Pod;
use crate::velero::pod_limits::{MAX_CONTAINERS, MAX_VARIABLE_SOURCES};

fn with(outcome: Outcome) -> Facts {
    let mut facts = Facts::default();
    facts.insert(Lookup::Bundle("velero".into()), outcome);
    facts
}

fn bundle() -> Facts {
    with(Outcome::Found(Fact::Bundle(Bundle::default())))
}

fn held() -> Facts {
    with(Outcome::Found(Fact::Bundle(Bundle { held: true })))
}

fn report(pod: &Value, facts: &Facts) -> Report {
    let text = pod.to_string();
    let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
    decide("velero", &pod, facts)
}

fn ids(report: &Report) -> Vec<&'static str> {
    let findings = report.findings.iter();
    findings.map(|finding| finding.rule.id).collect()
}

/// Returns the patched Pod and the ids of the rules with findings.
fn injected(pod: &Value) -> (Value, Vec<&'static str>) {
    let report = report(pod, &bundle());
    let mut after = pod.clone();
    json_patch::patch(&mut after, &report.patch).unwrap();
    (after, ids(&report))
}

/// Asserts that a Pod is not changed, gets no warning and needs no look-up.
fn assert_left_alone(pod: &Value) {
    assert_eq!(report(pod, &Facts::default()), Report::default(), "{pod}");
}

/// Returns a Pod with one container, which runs Velero's server and has the fields in `more`.
fn server(more: &Value) -> Value {
    let mut container = json!({"name": "velero", "command": ["/velero"], "args": ["server"]});
    let members = container.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    json!({"spec": {"containers": [container]}})
}

fn aws() -> Value {
    json!({"name": "AWS_CA_BUNDLE", "value": "/certs/ca-bundle.crt"})
}

fn ssl() -> Value {
    json!({"name": "SSL_CERT_DIR", "value": "/certs:/etc/ssl/certs:/etc/pki/tls/certs"})
}

fn mount() -> Value {
    json!({"name": "velero-trust-ca", "mountPath": "/certs", "readOnly": true})
}

fn volume() -> Value {
    json!({"name": "velero-trust-ca",
           "configMap": {"name": "velero-trust-ca", "defaultMode": 0o444}})
}

fn with_volume(mut pod: Value) -> Value {
    pod["spec"]["volumes"] = json!([volume()]);
    pod
}

#[test]
fn makes_the_lists_that_are_missing() {
    let want = with_volume(server(
        &json!({"env": [aws(), ssl()], "volumeMounts": [mount()]}),
    ));
    for bare in [
        server(&json!({})),
        server(&json!({"env": null, "volumeMounts": null})),
    ] {
        assert_eq!(injected(&bare), (want.clone(), vec![]));
    }
    let mut null = server(&json!({}));
    null["spec"]["volumes"] = Value::Null;
    assert_eq!(injected(&null).0, want);
}

#[test]
fn appends_to_the_lists_that_are_there() {
    let env = json!({"name": "A", "value": "b"});
    let scratch = json!({"name": "scratch", "mountPath": "/scratch"});
    let mut pod = server(&json!({"env": [env], "volumeMounts": [scratch]}));
    pod["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    let mut want = server(&json!({"env": [env, aws(), ssl()], "volumeMounts": [scratch, mount()]}));
    want["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}, volume()]);
    assert_eq!(injected(&pod), (want, vec![]));

    let empty = server(&json!({"env": [], "volumeMounts": []}));
    let (after, _) = injected(&empty);
    assert_eq!(after["spec"]["containers"][0]["env"], json!([aws(), ssl()]));
}

#[test]
fn adds_only_what_is_lacking_and_nothing_the_second_time() {
    let half = with_volume(server(&json!({"env": [ssl()]})));
    let want = with_volume(server(
        &json!({"env": [ssl(), aws()], "volumeMounts": [mount()]}),
    ));
    assert_eq!(report(&half, &bundle()).patch.len(), 2);
    assert_eq!(injected(&half), (want.clone(), vec![]));
    assert_left_alone(&want);
}

#[test]
fn needs_the_bundle_only_for_a_pod_that_gets_something() {
    let needs = |pod: &Value| report(pod, &Facts::default()).needs;
    assert_eq!(
        needs(&server(&json!({}))),
        [Lookup::Bundle("velero".into())]
    );
    assert_left_alone(&json!({}));
    assert_left_alone(&json!({"spec": {"containers": [{"name": "app", "command": ["/app"]}]}}));
}

#[test]
fn a_bundle_that_cannot_be_had_is_a_warning_never_a_denial_or_a_retry() {
    let down = LookupError {
        kind: LookupErrorKind::Timeout,
        message: "no answer in 2 s".into(),
    };
    let mut strict = Policy::default();
    strict
        .set("VT207=deny", super::rules().collect::<Vec<_>>().iter())
        .unwrap();
    for outcome in [Outcome::Absent, Outcome::Unavailable(down)] {
        let report = report(&server(&json!({})), &with(outcome));
        assert_eq!(
            Judged::apply_policy(&report, &strict).verdict,
            Verdict::Allow
        );
        assert_eq!(ids(&report), ["VT207"]);
        assert_eq!((report.patch, report.needs), (vec![], vec![]));
        assert_eq!(report.unknowns, []);
    }
    assert!(super::rules().all(|rule| rule.severity == Severity::Warn));
}

#[test]
fn a_bundle_that_is_not_ours_is_called_so() {
    let foreign = LookupError {
        kind: LookupErrorKind::Foreign,
        message: "not ours".into(),
    };
    let report = report(&server(&json!({})), &with(Outcome::Unavailable(foreign)));
    let [finding] = &report.findings[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        finding.message,
        "ConfigMap velero-trust-ca is not velero-trust's; no CA bundle is added"
    );
    assert_eq!(
        (finding.fix.as_str(), report.patch.len()),
        ("delete it (keep a copy)", 0)
    );
}

#[test]
fn says_in_one_warning_why_no_bundle_is_made_and_what_to_do() {
    for (why, message, fix) in [
        (
            NoBundle::NotVelero,
            "no CA bundle: no BSL or Velero workload here",
            "label the namespace velero-trust.io/velero=true",
        ),
        (
            NoBundle::NoNamespace,
            "no CA bundle: the namespace does not exist",
            "create it first",
        ),
        (
            NoBundle::OwnNamespace,
            "no CA bundle: the namespace is velero-trust's own",
            "run the pod in another one",
        ),
    ] {
        let refused = LookupError {
            kind: LookupErrorKind::NoBundle(why),
            message: String::new(),
        };
        let report = report(&server(&json!({})), &with(Outcome::Unavailable(refused)));
        let [finding] = &report.findings[..] else {
            panic!("{report:?}")
        };
        let actual = (finding.rule.id, &*finding.message, &*finding.fix);
        assert_eq!(actual, ("VT207", message, fix));
        assert_eq!(report.patch.len(), 0);
        // The point is in the length that the API server recommends.
        let warning = format!("[VT207] {message}");
        assert!(warning.len() <= 120, "{warning}");
    }
}

#[test]
fn keeps_the_variables_that_the_user_set() {
    let own = json!({"name": "AWS_CA_BUNDLE", "value": "/own/ca.crt"});
    let (after, ids) = injected(&server(&json!({"env": [own]})));
    assert_eq!(after["spec"]["containers"][0]["env"], json!([own, ssl()]));
    assert_eq!(ids, ["VT201"]);

    let from = json!({"name": "SSL_CERT_DIR", "valueFrom": {"configMapKeyRef": {}}});
    let (after, ids) = injected(&server(&json!({"env": [from]})));
    assert_eq!(after["spec"]["containers"][0]["env"], json!([from, aws()]));
    assert_eq!(ids, ["VT202"]);

    let with_ours = json!({"name": "SSL_CERT_DIR", "value": "/own:/certs/"});
    let (after, ids) = injected(&server(&json!({"env": [with_ours]})));
    assert_eq!(
        after["spec"]["containers"][0]["env"],
        json!([with_ours, aws()])
    );
    assert_eq!(ids, [] as [&str; 0]);
}

#[test]
fn sets_no_variable_that_env_from_may_set_already() {
    let from = json!([{"secretRef": {"name": "cloud"}}]);
    let (after, ids) = injected(&server(&json!({"envFrom": from})));
    let container = &after["spec"]["containers"][0];
    assert_eq!(container.get("env"), None);
    assert_eq!(container["volumeMounts"], json!([mount()]));
    assert_eq!(ids, ["VT203"]);

    let prefixed = json!([{"prefix": "MY_", "secretRef": {"name": "cloud"}}]);
    let (after, ids) = injected(&server(&json!({"envFrom": prefixed})));
    assert_eq!(after["spec"]["containers"][0]["env"], json!([aws(), ssl()]));
    assert_eq!(ids, [] as [&str; 0]);

    // Setting only one of the variables would be harder to understand than setting none.
    let one = json!([{"prefix": "AWS_", "secretRef": {"name": "cloud"}}]);
    let (after, ids) = injected(&server(&json!({"envFrom": one})));
    assert_eq!(after["spec"]["containers"][0].get("env"), None);
    assert_eq!(ids, ["VT203"]);

    let explicit = server(&json!({"envFrom": from, "env": [aws(), ssl()]}));
    assert_eq!(injected(&explicit).1, [] as [&str; 0]);
}

#[test]
fn leaves_a_container_alone_whose_certs_is_taken() {
    let mount = |path| json!({"volumeMounts": [{"name": "own", "mountPath": path}]});
    let device = json!({"volumeDevices": [{"name": "own", "devicePath": "/certs"}]});
    for more in [
        mount("/certs"),
        mount("/certs/"),
        mount("/certs/own"),
        device,
    ] {
        let pod = server(&more);
        assert_eq!(injected(&pod), (pod.clone(), vec!["VT204"]), "{more}");
    }
    assert_eq!(injected(&server(&mount("/certs2"))).1, [] as [&str; 0]);
}

#[test]
fn leaves_a_container_alone_that_mounts_the_bundle_another_way() {
    for mount in [
        json!({"name": "velero-trust-ca", "mountPath": "/own"}),
        json!({"name": "velero-trust-ca", "mountPath": "/certs", "subPath": "ca-bundle.crt"}),
        json!({"name": "velero-trust-ca", "mountPath": "/certs", "subPathExpr": "$(A)"}),
        json!({"name": "velero-trust-ca", "mountPath": "/certs/a"}),
    ] {
        let pod = with_volume(server(&json!({"volumeMounts": [mount]})));
        assert_eq!(injected(&pod), (pod.clone(), vec!["VT206"]), "{mount}");
    }
}

#[test]
fn leaves_the_pod_alone_whose_volume_of_our_name_is_something_else() {
    let item = |key, path| {
        json!({"name": "velero-trust-ca",
            "configMap": {"name": "velero-trust-ca", "items": [{"key": key, "path": path}]}})
    };
    for other in [
        json!({"name": "velero-trust-ca", "emptyDir": {}}),
        json!({"name": "velero-trust-ca", "configMap": {"name": "own"}}),
        item("other", "ca-bundle.crt"),
        item("ca-bundle.crt", "other"),
    ] {
        let mut pod = server(&json!({"env": [{"name": "AWS_CA_BUNDLE", "value": "x"}]}));
        pod["spec"]["volumes"] = json!([{"name": "a"}, other]);
        pod["metadata"] = json!({"labels": {"velero-trust.io/inject": "yes"}});
        let report = report(&pod, &Facts::default());
        assert_eq!(ids(&report), ["VT208", "VT205"], "{other}");
        assert_eq!(report.findings[1].path.to_string(), "spec.volumes[1]");
        assert_eq!((report.patch, report.needs), (vec![], vec![]));
    }
    let mut pod = server(&json!({}));
    pod["spec"]["volumes"] = json!([item("ca-bundle.crt", "ca-bundle.crt")]);
    assert_eq!(injected(&pod).1, [] as [&str; 0]);
}

#[test]
fn sets_no_ssl_variable_on_windows() {
    let mut pod = server(&json!({}));
    pod["spec"]["os"] = json!({"name": "windows"});
    let (after, ids) = injected(&pod);
    let container = &after["spec"]["containers"][0];
    assert_eq!(container["env"], json!([aws()]));
    assert_eq!(container["volumeMounts"], json!([mount()]));
    assert_eq!(ids, [] as [&str; 0]);
    assert_left_alone(&after);
}

#[test]
fn touches_only_the_containers_that_run_velero() {
    let mut pod = server(&json!({}));
    let sidecar = json!({"name": "istio-proxy", "args": ["proxy"]});
    let plugin = json!({"name": "velero-plugin-for-aws", "image": "velero/velero-plugin-for-aws"});
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .insert(0, sidecar.clone());
    pod["spec"]["initContainers"] = json!([
        plugin,
        {"name": "early", "command": ["/velero", "repo-maintenance"]},
    ]);
    let (after, _) = injected(&pod);
    assert_eq!(after["spec"]["containers"][0], sidecar);
    assert_eq!(after["spec"]["containers"][1]["env"], json!([aws(), ssl()]));
    assert_eq!(after["spec"]["initContainers"][0], plugin);
    assert_eq!(
        after["spec"]["initContainers"][1]["env"],
        json!([aws(), ssl()])
    );
    assert_eq!(after["spec"]["volumes"], json!([volume()]));
}

#[test]
fn all_containers_share_one_volume_and_their_patch_is_never_large() {
    let of = |count: usize| {
        let container = json!({"name": "c", "command": ["/velero", "server"], "env": []});
        let containers = vec![container; count];
        json!({"spec": {"containers": containers, "initContainers": containers}})
    };
    let pod = of(MAX_CONTAINERS);
    let patch = report(&pod, &bundle()).patch;
    assert_eq!(patch.len(), 1 + 2 * MAX_CONTAINERS * 3);
    let bytes = serde_json::to_vec(&patch).unwrap().len();
    assert!(bytes < 64 << 10, "{bytes}");
    let (after, _) = injected(&pod);
    assert_eq!(after["spec"]["volumes"], json!([volume()]));
    assert_left_alone(&after);

    let pod = of(MAX_CONTAINERS + 1);
    assert_eq!(injected(&pod), (pod, vec!["VT210"]));
}

#[test]
fn never_touches_an_ephemeral_container() {
    let debugger = json!([{"name": "debug", "command": ["/velero", "server"]}]);
    let mut pod = server(&json!({}));
    pod["metadata"] = json!({"labels": {"velero-trust.io/inject": "true"}});
    pod["spec"]["ephemeralContainers"] = debugger.clone();
    let (after, _) = injected(&pod);
    assert_eq!(after["spec"]["ephemeralContainers"], debugger);
}

#[test]
fn false_keeps_us_out_by_label_and_by_annotation() {
    for metadata in [
        json!({"labels": {"velero-trust.io/inject": "false"}}),
        json!({"annotations": {"velero-trust.io/inject": "false"}}),
        json!({"labels": {"velero-trust.io/inject": "true"},
               "annotations": {"velero-trust.io/inject": "false"}}),
        json!({"annotations": {"kubernetes.io/config.mirror": "hash"}}),
    ] {
        let mut pod = server(&json!({}));
        pod["metadata"] = metadata;
        assert_left_alone(&pod);
    }
}

#[test]
fn the_label_true_asks_for_every_container_of_any_pod() {
    let pod = json!({"metadata": {"labels": {"velero-trust.io/inject": "true"}},
        "spec": {"containers": [{"name": "app"}, {"name": "sidecar"}],
                 "initContainers": [{"name": "init"}]}});
    let (after, ids) = injected(&pod);
    for container in [
        &after["spec"]["containers"][0],
        &after["spec"]["containers"][1],
        &after["spec"]["initContainers"][0],
    ] {
        assert_eq!(container["env"], json!([aws(), ssl()]));
        assert_eq!(container["volumeMounts"], json!([mount()]));
    }
    assert_eq!(ids, [] as [&str; 0]);
}

#[test]
fn a_wish_without_meaning_counts_as_none_and_is_said() {
    let foreign = json!({"spec": {"containers": [{"name": "app"}]}});
    for (mut pod, metadata, patched) in [
        (
            server(&json!({})),
            json!({"labels": {"velero-trust.io/inject": "no"}}),
            true,
        ),
        (
            foreign.clone(),
            json!({"labels": {"velero-trust.io/inject": "yes"}}),
            false,
        ),
        (
            foreign,
            json!({"annotations": {"velero-trust.io/inject": "true"}}),
            false,
        ),
    ] {
        pod["metadata"] = metadata;
        let (after, ids) = injected(&pod);
        assert_eq!(ids, ["VT208"], "{pod}");
        assert_eq!(after != pod, patched, "{pod}");
    }
}

#[test]
fn a_held_namespace_gets_what_adds_and_not_what_replaces() {
    let pod = server(&json!({}));
    let report = report(&pod, &held());
    let mut after = pod;
    json_patch::patch(&mut after, &report.patch).unwrap();
    let container = &after["spec"]["containers"][0];
    assert_eq!(container["env"], json!([ssl()]));
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/certs");
    assert_eq!(ids(&report), ["VT209"]);

    // If nothing else is missing, nothing is added, not even the volume.
    let mut whole = server(&json!({"env": [ssl()], "volumeMounts": [mount()]}));
    whole["spec"]["volumes"] = json!([]);
    let report = super::tests::report(&whole, &held());
    assert_eq!((report.patch.len(), ids(&report)), (0, vec!["VT209"]));
}

#[test]
fn every_warning_is_short_enough_to_be_shown_whole() {
    let own = json!([{"name": "AWS_CA_BUNDLE"}, {"name": "SSL_CERT_DIR"}]);
    let mut volume_taken = server(&json!({}));
    volume_taken["spec"]["volumes"] = json!([{"name": "velero-trust-ca"}]);
    let mut unclear = server(&json!({}));
    unclear["metadata"] = json!({"annotations": {"velero-trust.io/inject": "x".repeat(200)}});
    let mut seen = Vec::new();
    for pod in [
        server(&json!({"env": own})),
        server(&json!({"envFrom": [{}]})),
        server(&json!({"volumeMounts": [{"name": "own", "mountPath": "/certs/some/where"}]})),
        server(&json!({"volumeMounts": [{"name": "velero-trust-ca", "mountPath": "/own"}]})),
        server(&json!({"envFrom": vec![json!({}); MAX_VARIABLE_SOURCES + 1]})),
        volume_taken,
        unclear,
    ] {
        let absent = report(&pod, &with(Outcome::Absent));
        let held = report(&pod, &held());
        for finding in [absent, held].into_iter().flat_map(|of| of.findings) {
            // In a warning the id stands before the line instead of after it.
            let line = finding.to_string();
            assert!(line.chars().count() <= 119, "{line}");
            seen.push(finding.rule.id);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    let mut all: Vec<_> = super::rules().map(|rule| rule.id).collect();
    all.sort_unstable();
    assert_eq!(seen, all);
}
