//! What holds for any Pod and any bytes.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use velero_trust::admission::{Envelope, HANDLERS, Opened};
use velero_trust::ca::inject;
use velero_trust::decision::{Bundle, Context, Fact, Facts, Lookup, Outcome, Policy, Report};
use velero_trust::velero::pod::Pod;

fn facts() -> Facts {
    let mut facts = Facts::default();
    let bundle = Outcome::Found(Fact::Bundle(Bundle::default()));
    facts.insert(Lookup::Bundle("velero".into()), bundle);
    facts
}

fn decide(pod: &Value) -> Report {
    let text = pod.to_string();
    let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
    inject::decide("velero", &pod, &facts())
}

/// A list, nothing, or `null`.
fn list(elements: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => vec(elements, 0..4).prop_map(|elements| Some(distinct(elements))),
    ]
    .boxed()
}

/// Without two of one name, which no API server lets through.
fn distinct(mut elements: Vec<Value>) -> Value {
    let mut seen: Vec<Value> = Vec::new();
    elements.retain(|element| {
        let key = element
            .get("mountPath")
            .or_else(|| element.get("name"))
            .cloned()
            .unwrap_or_default();
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
    Value::Array(elements)
}

fn env() -> BoxedStrategy<Value> {
    let names = select(vec![
        "AWS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "A",
        "B",
    ]);
    let values = select(vec![
        json!({}),
        json!({"value": ""}),
        json!({"value": "/certs/ca-bundle.crt"}),
        json!({"value": "/certs:/etc/ssl/certs:/etc/pki/tls/certs"}),
        json!({"value": "x"}),
        json!({"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    ]);
    (names, values)
        .prop_map(|(name, value)| named(name, value))
        .boxed()
}

fn mount() -> BoxedStrategy<Value> {
    let names = select(vec!["velero-trust-ca", "scratch", "plugins"]);
    let paths = select(vec![
        "/certs", "/certs/", "/certs/a", "/scratch", "/plugins", "/a",
    ]);
    (names, paths, option::weighted(0.2, Just("sub")))
        .prop_map(|(name, path, sub)| {
            let mut mount = json!({"name": name, "mountPath": path});
            if let Some(sub) = sub {
                mount["subPath"] = json!(sub);
            }
            mount
        })
        .boxed()
}

fn volume() -> BoxedStrategy<Value> {
    let names = select(vec!["velero-trust-ca", "scratch", "plugins", "other"]);
    let sources = select(vec![
        json!({"emptyDir": {}}),
        json!({"configMap": {"name": "velero-trust-ca"}}),
        json!({"configMap": {"name": "velero-trust-ca", "items": [{"key": "a", "path": "b"}]}}),
        json!({"configMap": {"name": "other"}}),
    ]);
    (names, sources)
        .prop_map(|(name, source)| named(name, source))
        .boxed()
}

fn named(name: &str, mut value: Value) -> Value {
    value["name"] = json!(name);
    value
}

fn container() -> BoxedStrategy<Value> {
    let command = select(vec![
        json!(["/velero", "server"]),
        json!(["/velero", "data-mover", "backup"]),
        json!(["/velero", "install"]),
        json!(["/app"]),
        Value::Null,
        json!([]),
    ]);
    let args = option::of(select(vec![json!(["server"]), json!([]), Value::Null]));
    let env_from = option::weighted(
        0.3,
        select(vec![
            Value::Null,
            json!([{}]),
            json!([{"prefix": "X_"}]),
            json!([{"prefix": "AWS_"}]),
        ]),
    );
    let devices = option::weighted(
        0.2,
        select(vec![
            Value::Null,
            json!([{"name": "d", "devicePath": "/dev/x"}]),
            json!([{"name": "d", "devicePath": "/certs"}]),
        ]),
    );
    (
        select(vec!["velero", "node-agent", "app"]),
        command,
        args,
        list(env()),
        env_from,
        list(mount()),
        devices,
    )
        .prop_map(|(name, command, args, env, env_from, mounts, devices)| {
            let mut container = json!({"name": name, "command": command, "image": "i"});
            let fields = [
                ("args", args),
                ("env", env),
                ("envFrom", env_from),
                ("volumeMounts", mounts),
                ("volumeDevices", devices),
            ];
            set(container.as_object_mut().unwrap(), fields);
            container
        })
        .boxed()
}

fn set<const N: usize>(object: &mut Map<String, Value>, fields: [(&str, Option<Value>); N]) {
    for (name, value) in fields {
        if let Some(value) = value {
            object.insert(name.into(), value);
        }
    }
}

prop_compose! {
    fn pod()(
        labels in option::of(select(vec![
            Value::Null,
            json!({"component": "velero", "deploy": "velero"}),
            json!({"name": "node-agent", "role": "node-agent"}),
            json!({"velero-trust.io/inject": "true"}),
            json!({"velero-trust.io/inject": "no"}),
        ])),
        containers in vec(container(), 0..4),
        init in list(container()),
        volumes in list(volume()),
        os in option::weighted(0.2, select(vec!["linux", "windows"])),
    ) -> Value {
        let mut pod = json!({"metadata": {}, "spec": {"containers": containers}});
        set(pod["metadata"].as_object_mut().unwrap(), [("labels", labels)]);
        let os = os.map(|name| json!({"name": name}));
        let spec = pod["spec"].as_object_mut().unwrap();
        set(spec, [("initContainers", init), ("volumes", volumes), ("os", os)]);
        pod
    }
}

/// Whether all that is in `before` is in `after` at the same place. A list may have grown at its
/// end, and `null` may have become a list.
fn is_kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, Value::Null | Value::Array(_)) => true,
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .all(|(key, value)| after.get(key).is_some_and(|after| is_kept(value, after))),
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before
                    .iter()
                    .zip(after)
                    .all(|(before, after)| is_kept(before, after))
        }
        _ => before == after,
    }
}

/// Whether no two elements of a list have the same `key`.
fn are_distinct(list: &Value, key: &str) -> bool {
    let elements = list.as_array().into_iter().flatten();
    let mut keys: Vec<_> = elements
        .filter_map(|element| element[key].as_str())
        .collect();
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_patch_applies_to_any_pod_only_adds_and_is_complete(before in pod()) {
        let report = decide(&before);
        prop_assert!(report.needs.is_empty() && report.unknowns.is_empty());
        let mut after = before.clone();
        json_patch::patch(&mut after, &report.patch).unwrap();
        prop_assert!(is_kept(&before, &after), "{before}\n{after}");

        let again = decide(&after);
        prop_assert_eq!(&again.patch, &vec![], "{} {}", before, after);
        prop_assert_eq!(again.findings.len(), report.findings.len());

        prop_assert!(are_distinct(&after["spec"]["volumes"], "name"), "{after}");
        for list in ["containers", "initContainers"] {
            let before = before["spec"][list].as_array().into_iter().flatten();
            let containers = after["spec"][list].as_array().into_iter().flatten();
            prop_assert_eq!(before.count(), containers.clone().count());
            for container in containers {
                prop_assert!(are_distinct(&container["env"], "name"), "{container}");
                prop_assert!(are_distinct(&container["volumeMounts"], "mountPath"), "{container}");
            }
        }
    }

    #[test]
    fn a_variable_of_ours_never_points_where_no_bundle_is(before in pod()) {
        let patch = decide(&before).patch;
        let mut after = before.clone();
        json_patch::patch(&mut after, &patch).unwrap();
        for list in ["containers", "initContainers"] {
            let olds = before["spec"][list].as_array().into_iter().flatten();
            let news = after["spec"][list].as_array().into_iter().flatten();
            for (old, new) in olds.zip(news) {
                if old["env"] != new["env"] {
                    let mut mounts = new["volumeMounts"].as_array().unwrap().iter();
                    prop_assert!(mounts.any(|mount| mount["name"] == "velero-trust-ca"
                        && mount["mountPath"].as_str().unwrap().trim_end_matches('/') == "/certs"
                        && mount.get("subPath").is_none()), "{new}");
                    let mut volumes = after["spec"]["volumes"].as_array().unwrap().iter();
                    prop_assert!(volumes.any(|volume| volume["name"] == "velero-trust-ca"
                        && volume["configMap"]["name"] == "velero-trust-ca"), "{after}");
                }
            }
        }
    }
}

/// Reads bytes as every handler would, up to a first decision.
fn review(body: &[u8]) {
    let Ok(envelope) = Envelope::decode(body) else {
        return;
    };
    let Ok(request) = envelope.request() else {
        return;
    };
    let policy = Policy::default();
    let context = Context {
        policy: &policy,
        now: 0,
    };
    for handler in HANDLERS {
        if let Opened::Subject(subject) = handler.open(&request) {
            let _ = subject.decide(&Facts::default(), context);
            let _ = subject.decide(&facts(), context);
        }
    }
}

fn a_review(group: &str, resource: &str, object: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": group, "version": "v1", "kind": "X"},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "name": "x", "namespace": "velero", "operation": "CREATE", "dryRun": false,
        "userInfo": {"username": "admin"}, "object": object, "oldObject": null,
    }})
    .to_string()
}

fn reviews() -> BoxedStrategy<String> {
    let bsl = json!({"metadata": {"annotations": {"velero-trust.io/ca-secret": "a/b"}},
        "spec": {"provider": "aws", "config": {"region": "x"},
                 "objectStorage": {"bucket": "b", "caCert": "LS0tLS0="}}});
    let restore = json!({"metadata": {"name": "r"}, "spec": {"backupName": "b"}});
    prop_oneof![
        pod().prop_map(|pod| a_review("", "pods", &pod)),
        Just(a_review("velero.io", "backupstoragelocations", &bsl)),
        Just(a_review("velero.io", "restores", &restore)),
    ]
    .boxed()
}

/// One way to spoil a text.
fn spoil() -> BoxedStrategy<Spoil> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Cut(from, to)),
        (
            any::<Index>(),
            select(vec!["null", "{}", "[]", "\"\\u0000\"", "1e999", "true"])
        )
            .prop_map(|(at, value)| Spoil::Value(at, value)),
    ]
    .boxed()
}

#[derive(Clone, Debug)]
enum Spoil {
    /// Another byte.
    Byte(Index, u8),
    /// A piece taken out.
    Cut(Index, Index),
    /// Another value after some colon, which often leaves valid JSON.
    Value(Index, &'static str),
}

impl Spoil {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Byte(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Self::Cut(from, to) => {
                let (from, to) = (from.index(body.len()), to.index(body.len()));
                body.drain(from.min(to)..from.max(to));
            }
            Self::Value(at, value) => {
                let colons: Vec<_> = (0..body.len()).filter(|at| body[*at] == b':').collect();
                let Some(colon) = colons.get(at.index(colons.len().max(1))) else {
                    return;
                };
                let start = colon + 1;
                let end = body[start..]
                    .iter()
                    .position(|byte| b",}]".contains(byte))
                    .map_or(body.len(), |length| start + length);
                body.splice(start..end, value.bytes());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_any_bytes_never_panics(body in vec(any::<u8>(), 0..512)) {
        review(&body);
    }

    #[test]
    fn reading_a_spoilt_review_never_panics(text in reviews(), spoils in vec(spoil(), 0..4)) {
        let mut body = text.into_bytes();
        for spoil in spoils {
            spoil.apply(&mut body);
        }
        review(&body);
    }
}
