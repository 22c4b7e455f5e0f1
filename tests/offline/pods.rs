//! Every Pod of `tests/pods`: its kind, and the containers that get the bundle.

use serde_json::Value;
use velero_trust::decision::{Bundle, Fact, Facts, Lookup, Outcome};
use velero_trust::injection;
use velero_trust::velero::pod::Pod;
use velero_trust::velero::pod_kind;
use velero_trust_testing::pods::{Fixture, fixtures as read};

fn fixtures() -> Vec<Fixture> {
    read().unwrap()
}

/// Returns the Pod after one pass.
fn inject(pod: &Value) -> Value {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap();
    let mut facts = Facts::default();
    let bundle = Outcome::Found(Fact::Bundle(Bundle::default()));
    facts.insert(Lookup::Bundle(namespace.to_owned()), bundle);
    let text = pod.to_string();
    let view: Pod<'_> = serde_json::from_str(&text).unwrap();
    let report = injection::decide(namespace, &view, &facts);
    let mut after = pod.clone();
    json_patch::patch(&mut after, &report.patch).unwrap();
    after
}

/// Returns the names of the containers that differ.
fn changed(before: &Value, after: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for list in ["containers", "initContainers"] {
        let containers = |pod: &Value| pod["spec"][list].as_array().cloned().unwrap_or_default();
        for (before, after) in containers(before).iter().zip(containers(after)) {
            if *before != after {
                names.push(after["name"].as_str().unwrap().to_owned());
            }
        }
    }
    names
}

#[test]
fn every_pod_is_taken_for_what_it_is() {
    for fixture in fixtures() {
        let text = fixture.pod.to_string();
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        let kind = pod_kind::kind(&pod).map_or("foreign", pod_kind::PodKind::as_str);
        assert_eq!(kind, fixture.kind, "{}", fixture.name);
    }
}

#[test]
fn exactly_the_containers_that_the_header_names_are_injected_and_only_once() {
    for fixture in fixtures() {
        let after = inject(&fixture.pod);
        assert_eq!(
            changed(&fixture.pod, &after),
            fixture.injected,
            "{}",
            fixture.name
        );
        assert_eq!(inject(&after), after, "{}", fixture.name);
        let windows = fixture.pod["spec"]["os"]["name"] == "windows";
        let ssl = after.to_string().contains("SSL_CERT_DIR");
        assert!(!(windows && ssl), "{}", fixture.name);
    }
}

#[test]
fn whatever_is_injected_is_sent_to_us() {
    let fixtures = fixtures();
    for fixture in &fixtures {
        assert!(
            fixture.sent || fixture.injected.is_empty(),
            "{}",
            fixture.name
        );
    }
    let kinds = |kind: &str| {
        fixtures
            .iter()
            .filter(|fixture| fixture.kind == kind)
            .count()
    };
    assert!(kinds("foreign") >= 8);
    for kind in [
        "server",
        "node-agent",
        "node-agent-windows",
        "restic",
        "data-mover-backup",
        "data-mover-restore",
        "pod-volume-backup",
        "pod-volume-restore",
        "maintenance",
    ] {
        assert!(kinds(kind) > 0, "no fixture of a {kind}");
    }
}
