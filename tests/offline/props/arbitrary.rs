//! Strategies for arbitrary Pods, with names that collide with ours and lists that are absent,
//! empty or `null`.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Generates a list, no value, or `null`.
fn list(elements: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => vec(elements, 0..4).prop_map(|elements| Some(distinct(elements))),
    ]
    .boxed()
}

/// Returns the elements without duplicate names, which an API server refuses.
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
    /// Generates a Pod, often one of Velero's and often with something that conflicts with the
    /// injection.
    pub(super) fn pod()(
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
