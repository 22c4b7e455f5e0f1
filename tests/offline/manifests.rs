//! The manifests match the table of handlers: the API server sends exactly what is served.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use velero_trust::admission::activation::canary;
use velero_trust::admission::{HANDLERS, Mode};
use velero_trust::decision::Verb;
use velero_trust::names;
use velero_trust_testing::installer;

fn read(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(installer::manifests().join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn of_kind(file: &str, kind: &str, name: &str) -> Value {
    let mut objects = read(file).into_iter();
    let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

/// Returns the webhooks of the manifests by path. Each is the only one of its configuration: where
/// several are in one list, server-side apply cannot remove one of them.
fn webhooks(file: &str) -> BTreeMap<String, Value> {
    let configurations = read(file).into_iter();
    let webhooks = configurations.map(|configuration| {
        let [webhook] = &configuration["webhooks"].as_array().unwrap()[..] else {
            panic!("{file}: not one webhook: {configuration}");
        };
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        let resource = path.rsplit('/').next().unwrap();
        let metadata = &configuration["metadata"];
        assert_eq!(metadata["name"], format!("{}-{resource}", names::APP));
        assert_eq!(metadata["labels"][names::WEBHOOK_LABEL], resource);
        (path.to_owned(), webhook.clone())
    });
    webhooks.collect()
}

#[test]
fn every_handler_has_its_webhook_and_every_webhook_its_handler() {
    for (file, validates) in [("validating.yaml", true), ("mutating.yaml", false)] {
        let served = HANDLERS.iter();
        let served = served.filter(|handler| (handler.mode == Mode::Validate) == validates);
        let mut served: Vec<_> = served.map(|handler| handler.path).collect();
        served.sort_unstable();
        let webhooks = webhooks(file);
        assert_eq!(webhooks.keys().collect::<Vec<_>>(), served, "{file}");
        for (path, webhook) in webhooks {
            let resource = path.rsplit('/').next().unwrap();
            let name = format!("{resource}.{}", names::PREFIX.trim_end_matches('/'));
            assert_eq!(webhook["name"], name, "{path}");
            // The leader adds the rules and the CA once the API server reaches it.
            assert!(webhook["rules"].is_null(), "{path} would be active at once");
            assert!(webhook["clientConfig"]["caBundle"].is_null(), "{path}");
        }
    }
}

/// Whatever becomes of velero-trust, nobody's object is refused by the canary.
#[test]
fn the_canary_matches_nothing_but_itself() {
    let configuration = of_kind(
        "canary.yaml",
        "ValidatingWebhookConfiguration",
        names::CANARY,
    );
    assert_eq!(
        configuration["metadata"]["labels"][names::WEBHOOK_LABEL],
        canary::LABEL
    );
    let [webhook] = &configuration["webhooks"].as_array().unwrap()[..] else {
        panic!("not one webhook: {configuration}");
    };
    assert_eq!(webhook["name"], canary::WEBHOOK);
    let path = &webhook["clientConfig"]["service"]["path"];
    assert_eq!(path, canary::HANDLER.path);
    assert!(webhook["rules"].is_null(), "it would be active at once");
    let labels = json!({names::CANARY_LABEL: "true"});
    assert_eq!(webhook["objectSelector"]["matchLabels"], labels);
    let condition = &webhook["matchConditions"][0]["expression"];
    let only = format!("request.name == '{}'", names::CANARY);
    assert_eq!(condition, only.as_str());
    assert_eq!(webhook["failurePolicy"], "Fail");
}

#[test]
fn nothing_that_velero_does_for_a_backup_waits_for_us() {
    for (file, path, policy, seconds) in [
        (
            "validating.yaml",
            "/validate/backupstoragelocations",
            "Fail",
            5,
        ),
        ("validating.yaml", "/validate/restores", "Fail", 10),
        ("mutating.yaml", "/mutate/pods", "Ignore", 3),
        ("mutating.yaml", "/mutate/backups", "Ignore", 3),
        ("mutating.yaml", "/mutate/restores", "Fail", 5),
    ] {
        let webhook = &webhooks(file)[path];
        assert_eq!(webhook["failurePolicy"], policy, "{path}");
        assert_eq!(webhook["timeoutSeconds"], seconds, "{path}");
        assert_eq!(webhook["matchPolicy"], "Equivalent", "{path}");
        assert_eq!(
            webhook["admissionReviewVersions"],
            serde_json::json!(["v1"]),
            "{path}"
        );
    }
    // Only the Pod webhook has selectors, so that a broken location cannot be created in any
    // namespace.
    for webhook in webhooks("validating.yaml").values() {
        assert!(webhook["namespaceSelector"].is_null(), "{webhook}");
        assert!(webhook["objectSelector"].is_null(), "{webhook}");
    }
}

#[test]
fn the_rights_are_those_that_are_needed_and_no_more() {
    let role = of_kind("rbac.yaml", "ClusterRole", names::APP);
    // What may be written in the whole cluster.
    let bundle = json!([names::BUNDLE]);
    let needed = [
        ("events", Value::Null, vec!["create"]),
        (
            "configmaps",
            bundle,
            vec!["get", "list", "watch", "create", "patch"],
        ),
        (
            "backups",
            Value::Null,
            vec!["get", "list", "watch", "patch"],
        ),
        // The annotation at which Velero tries a Restore again.
        (
            "restores",
            Value::Null,
            vec!["get", "list", "watch", "patch"],
        ),
        (
            "backuprecords",
            Value::Null,
            vec!["get", "list", "watch", "create", "patch", "delete"],
        ),
        ("backuprecords/status", Value::Null, vec!["patch"]),
        (
            "trustedkeys",
            Value::Null,
            vec!["get", "list", "watch", "create"],
        ),
        // A URL for the tarball of a backup.
        (
            "downloadrequests",
            Value::Null,
            vec!["get", "create", "delete"],
        ),
        // To make the webhooks active.
        (
            "validatingwebhookconfigurations",
            json!([
                "velero-trust-backupstoragelocations",
                "velero-trust-restores",
                "velero-trust-canary"
            ]),
            vec!["patch"],
        ),
        (
            "mutatingwebhookconfigurations",
            json!([
                "velero-trust-pods",
                "velero-trust-backups",
                "velero-trust-restores"
            ]),
            vec!["patch"],
        ),
        // A review stores nothing.
        ("subjectaccessreviews", Value::Null, vec!["create"]),
    ];
    for rule in role["rules"].as_array().unwrap() {
        let resources = rule["resources"].to_string();
        let verbs = rule["verbs"].to_string();
        assert!(
            !resources.contains("secrets"),
            "Secrets cluster-wide: {rule}"
        );
        assert!(!format!("{resources}{verbs}").contains('*'), "{rule}");
        let writes = ["create", "patch", "update", "delete"]
            .iter()
            .any(|verb| verbs.contains(verb));
        if writes {
            let right = (
                &rule["resources"][0],
                &rule["resourceNames"],
                &rule["verbs"],
            );
            let is_needed = needed
                .iter()
                .any(|(resource, names, verbs)| right == (&json!(resource), names, &json!(verbs)));
            assert!(is_needed && rule["resources"][1].is_null(), "{rule}");
        }
    }
    let reader = of_kind("rbac.yaml", "ClusterRole", names::SECRET_READER_ROLE);
    assert_eq!(
        reader["rules"][0]["verbs"],
        serde_json::json!(["get", "list", "watch"])
    );
    // The role is bound by hand in Velero's namespaces. A binding in the base would grant it
    // everywhere.
    for object in read("rbac.yaml") {
        let bound = object["roleRef"]["name"] == names::SECRET_READER_ROLE;
        assert!(!bound, "{object}");
    }
}

#[test]
fn what_people_may_accept_is_bound_to_nobody() {
    let roles = [
        (names::ATTEST_ROLE, vec!["get", "list", "patch", "attest"]),
        (
            names::RESTORE_UNVERIFIED_ROLE,
            vec![Verb::RestoreUnverified.as_str()],
        ),
        (
            names::RESTORE_TAMPERED_ROLE,
            vec![
                Verb::RestoreUnverified.as_str(),
                Verb::RestoreTampered.as_str(),
            ],
        ),
    ];
    for (name, verbs) in &roles {
        let granted = of_kind("roles.yaml", "ClusterRole", name);
        let rule = json!({"apiGroups": ["velero.io"], "resources": ["backups"], "verbs": verbs});
        assert_eq!(granted["rules"][0], rule, "{name}");
        assert!(granted["aggregationRule"].is_null(), "{name}");
        // `admin` and `edit` would have it through this label.
        assert!(granted["metadata"]["labels"].is_null(), "{name}");
    }
    let kustomization = read("kustomization.yaml").remove(0);
    let resources = kustomization["resources"].as_array().unwrap().iter();
    let resources = resources.map(|resource| resource.as_str().unwrap());
    // The folder `crds` has kinds only.
    for file in resources.filter(|resource| *resource != "crds") {
        for object in read(file) {
            let bound = object["roleRef"]["name"].as_str().unwrap_or_default();
            let is_bound = roles.iter().any(|(name, _)| *name == bound);
            assert!(!is_bound, "{object}");
        }
    }
}

#[test]
fn the_readme_binds_as_the_component_does() {
    let root = installer::manifests().join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let readme = readme
        .replace("\\\n", " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let command = format!(
        "$ kubectl -n backups create rolebinding {0} --clusterrole={0} --serviceaccount={1}:{1}",
        names::SECRET_READER_ROLE,
        names::APP
    );
    assert!(
        readme.contains(&command),
        "the README does not say `{command}`"
    );
    let binding = read("components/secret-reader/rolebinding.yaml").remove(0);
    assert_eq!(binding["metadata"]["name"], names::SECRET_READER_ROLE);
    assert_eq!(binding["metadata"]["namespace"], "velero");
    assert_eq!(binding["roleRef"]["name"], names::SECRET_READER_ROLE);
    assert_eq!(binding["subjects"][0]["name"], names::APP);
    assert_eq!(binding["subjects"][0]["namespace"], names::APP);
}

/// Returns the Pod template of the Deployment.
pub(crate) fn pod_template() -> Value {
    of_kind("deployment.yaml", "Deployment", names::APP)["spec"]["template"].clone()
}

#[test]
fn a_busy_node_takes_no_replica_out_and_an_unready_one_blocks_no_drain() {
    let template = pod_template();
    let spec = &template["spec"];
    assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux");
    let container = &spec["containers"][0];
    for (probe, path, failures) in [
        ("readinessProbe", "/readyz", 3),
        ("livenessProbe", "/healthz", 6),
    ] {
        let probe = &container[probe];
        assert_eq!(probe["httpGet"]["path"], path);
        assert_eq!(probe["timeoutSeconds"], 5, "{path}");
        assert_eq!(probe["failureThreshold"], failures, "{path}");
    }
    let budget = of_kind("deployment.yaml", "PodDisruptionBudget", names::APP);
    assert_eq!(
        budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow",
        "{budget}"
    );
}

/// A zone, or a node, that is lost takes one replica. Nobody but the Pods needs the token of the account.
#[test]
fn replicas_are_spread_and_have_the_only_token() {
    let spec = pod_template()["spec"].clone();
    let constraints = spec["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<_> = constraints
        .iter()
        .map(|constraint| constraint["topologyKey"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    );
    let labels = &pod_template()["metadata"]["labels"];
    for constraint in constraints {
        assert_eq!(&constraint["labelSelector"]["matchLabels"], labels);
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
    }
    let account = of_kind("rbac.yaml", "ServiceAccount", names::APP);
    assert_eq!(account["automountServiceAccountToken"], false);
    assert_eq!(spec["automountServiceAccountToken"], true);
}

#[test]
fn the_network_policies_select_our_pods_and_name_their_ports() {
    let folder = "components/network-policy";
    let kustomization = read(&format!("{folder}/kustomization.yaml")).remove(0);
    assert_eq!(
        kustomization["resources"],
        serde_json::json!(["networkpolicy.yaml"])
    );
    let file = format!("{folder}/networkpolicy.yaml");
    let template = pod_template();
    let labels = template["metadata"]["labels"].as_object().unwrap();
    for (name, kind) in [("ingress", "Ingress"), ("egress", "Egress")] {
        let policy = of_kind(&file, "NetworkPolicy", &format!("{}-{name}", names::APP));
        assert_eq!(policy["metadata"]["namespace"], names::APP);
        let spec = &policy["spec"];
        assert_eq!(spec["policyTypes"], serde_json::json!([kind]), "{policy}");
        let selected = spec["podSelector"]["matchLabels"].as_object().unwrap();
        assert_eq!(selected, labels, "{policy}");
        let rules = spec[name].as_array().unwrap();
        // A rule without peers would admit everybody.
        let peers = if name == "ingress" { "from" } else { "to" };
        for rule in rules {
            assert!(
                rule[peers]
                    .as_array()
                    .is_some_and(|peers| !peers.is_empty())
            );
            assert!(rule["ports"].is_array(), "{rule}");
        }
    }
    let policy = of_kind(&file, "NetworkPolicy", "velero-trust-ingress");
    let named = |port: &Value| port["name"].clone();
    let ports = template["spec"]["containers"][0]["ports"]
        .as_array()
        .unwrap();
    let rules = policy["spec"]["ingress"].as_array().unwrap().iter();
    let admitted: Vec<_> = rules.map(|rule| rule["ports"][0]["port"].clone()).collect();
    assert_eq!(admitted, ports.iter().map(named).collect::<Vec<_>>());
}
