use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use velero_trust_testing::pki::{Authority, EXPIRED, VALID};

use super::*;
use crate::admission::HANDLERS;
use crate::admission::webhook_state::{Effect, WebhookState, WebhookStatus};
use crate::ca::bundle::{merge, mozilla};
use crate::ca::bundle_issue::BundleIssue;
use crate::ca::certificate::Certificate;
use crate::cli::doctor::cluster_snapshot::{BundleUsers, OtherBundle, Webhook, Workload};
use crate::cli::doctor::diagnostic::Level;
use crate::cli::snapshot::NamespaceSnapshot;
use crate::kubernetes::workloads::{self, Kind, RunningPod};
use crate::velero::bsl::Bsl;

/// A time within the validity period of every certificate that [`Authority`] creates.
const NOW: i64 = 1_790_000_000;
const DAY: i64 = 24 * 60 * 60;

/// Returns a complete installation without problems.
fn healthy() -> ClusterSnapshot {
    let authority = Authority::new("serving").unwrap();
    let webhook = |(index, handler): (usize, &&crate::admission::Handler)| Webhook {
        configuration: format!("ValidatingWebhookConfiguration velero-trust-{index}"),
        retired: None,
        other_namespace: None,
        name: format!("hook-{index}"),
        path: handler.path.to_owned(),
        host: "localhost".to_owned(),
        has_rules: true,
        ca: authority.pem().into_bytes(),
    };
    ClusterSnapshot {
        now: NOW,
        namespace: "velero-trust".to_owned(),
        kubernetes: Ok((1, 34)),
        deployment: Ok(Some(
            serde_json::from_value(json!({
                "spec": {"replicas": 2, "selector": {}, "template": {"spec": {
                    "serviceAccountName": "guard",
                    "containers": [{
                        "name": "velero-trust",
                        "image": concat!("velero-trust:", env!("CARGO_PKG_VERSION")),
                    }],
                }}},
                "status": {"availableReplicas": 2},
            }))
            .unwrap(),
        )),
        webhooks: Ok(HANDLERS.iter().enumerate().map(webhook).collect()),
        states: Vec::new(),
        other_installations: Ok(Vec::new()),
        certificate: Ok(Some(authority.server("webhook").unwrap().certificate_pem)),
        missing_rights: Ok(vec![]),
        labelled: Ok(()),
        other_bundles: Ok(Vec::new()),
        velero: Ok(vec![velero()]),
    }
}

fn velero() -> VeleroNamespace {
    let server = json!({
        "metadata": {"labels": {"component": "velero"}},
        "spec": {
            "containers": [{
                "name": "velero",
                "image": "velero/velero:v1.18.3",
                "command": ["/velero", "server"],
            }],
            "initContainers": [{
                "name": "aws",
                "image": "velero/velero-plugin-for-aws:v1.14.3",
            }],
        },
    });
    let other = json!({
        "metadata": {"labels": {"velero-trust.io/inject": "false"}},
        "spec": {"containers": [{"name": "ui", "image": "ui"}]},
    });
    let workload = |name: &str, template: Value| Workload {
        id: workloads::Workload {
            kind: Kind::Deployment,
            name: name.to_owned(),
        },
        template: serde_json::from_value(template).unwrap(),
    };
    let location = json!({
        "metadata": {"name": "default"},
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": "ca", "key": "ca.crt"}},
            "config": {"s3Url": "https://s3.corp:9000"},
        },
        "status": {"phase": "Available"},
    });
    VeleroNamespace {
        namespace: "velero".to_owned(),
        missing_secret_rights: Ok(vec![]),
        missing_bundle_rights: Ok(vec![]),
        bundle: Ok(Some(bundle(VALID))),
        issues: Ok(vec![]),
        workloads: Ok(vec![workload("velero", server), workload("ui", other)]),
        snapshot: Ok(NamespaceSnapshot::default()),
        locations: vec![Bsl::from_value(&location).into_owned()],
    }
}

/// Returns a bundle with the public roots and a CA that is valid in these years.
fn bundle(years: velero_trust_testing::pki::Years) -> ConfigMap {
    let authority = Authority::valid("store", years).unwrap();
    let ca = Certificate::parse(authority.der()).unwrap();
    let bundle = merge(mozilla().iter().chain([&ca]));
    let map = json!({
        "metadata": {"annotations": {"velero-trust.io/bundle-hash": bundle.hash}},
        "data": {"ca-bundle.crt": bundle.text},
    });
    serde_json::from_value(map).unwrap()
}

/// Returns all diagnostics that are not ok after `change` to a healthy installation.
fn problems_after(change: impl FnOnce(&mut ClusterSnapshot)) -> Vec<(Level, &'static str, String)> {
    let mut cluster = healthy();
    change(&mut cluster);
    let diagnostics = run_all(&cluster).into_iter();
    let bad = diagnostics.filter(|diagnostic| diagnostic.level != Level::Ok);
    bad.map(|diagnostic| {
        let texts = [Some(diagnostic.message), diagnostic.fix]
            .into_iter()
            .flatten();
        let texts: Vec<_> = texts.collect();
        (diagnostic.level, diagnostic.check, texts.join(" -> "))
    })
    .collect()
}

/// Asserts that `change` leads to exactly one diagnostic, with this level and check and all
/// `words`.
#[track_caller]
fn exactly(level: Level, check: &str, words: &[&str], change: impl FnOnce(&mut ClusterSnapshot)) {
    let bad = problems_after(change);
    let [(actual_level, actual_check, text)] = &bad[..] else {
        panic!("{bad:?}");
    };
    assert_eq!((*actual_level, *actual_check), (level, check), "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

fn first(cluster: &mut ClusterSnapshot) -> &mut VeleroNamespace {
    &mut cluster.velero.as_mut().unwrap()[0]
}

fn server(cluster: &mut ClusterSnapshot) -> &mut k8s_openapi::api::core::v1::PodTemplateSpec {
    &mut first(cluster).workloads.as_mut().unwrap()[0].template
}

fn variables(cluster: &mut ClusterSnapshot, env: Value) {
    let spec = server(cluster).spec.as_mut().unwrap();
    spec.containers[0].env = serde_json::from_value(env).unwrap();
}

fn image(cluster: &mut ClusterSnapshot, image: &str) {
    let spec = server(cluster).spec.as_mut().unwrap();
    spec.containers[0].image = Some(image.to_owned());
}

#[test]
fn nothing_is_said_of_a_healthy_installation() {
    assert_eq!(problems_after(|_| ()), []);
    assert!(run_all(&healthy()).len() > 12);
}

#[test]
fn the_cluster_and_our_deployment() {
    use Level::{Fail, Unknown, Warn};
    exactly(Fail, "kubernetes", &["1.29", "1.30"], |cluster| {
        cluster.kubernetes = Ok((1, 29));
    });
    exactly(Fail, "server", &["kubectl apply -k manifests"], |cluster| {
        cluster.deployment = Ok(None);
    });
    let available = |cluster: &mut ClusterSnapshot, wanted, available| {
        let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
        deployment.spec.as_mut().unwrap().replicas = Some(wanted);
        deployment.status.as_mut().unwrap().available_replicas = available;
    };
    exactly(Fail, "server", &["0 of 2", "describe pods"], |cluster| {
        available(cluster, 2, None);
    });
    exactly(Warn, "server", &["1 of 2"], |cluster| {
        available(cluster, 2, Some(1));
    });
    exactly(
        Fail,
        "server",
        &["scale deployment/velero-trust"],
        |cluster| {
            available(cluster, 0, None);
        },
    );
    let container = |cluster: &mut ClusterSnapshot, image: &str, env: Value| {
        let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
        let spec = &mut deployment.spec.as_mut().unwrap().template.spec;
        let container = &mut spec.as_mut().unwrap().containers[0];
        container.image = Some(image.to_owned());
        container.env = serde_json::from_value(env).unwrap();
    };
    exactly(Warn, "image", &["velero-trust:0.0.1"], |cluster| {
        container(cluster, "velero-trust:0.0.1", json!([]));
    });
    exactly(Unknown, "image", &["no tag"], |cluster| {
        container(cluster, "velero-trust@sha256:00", json!([]));
    });
    let ours = concat!("velero-trust:v", env!("CARGO_PKG_VERSION"));
    let unset = "set env deployment/velero-trust HTTPS_PROXY-";
    exactly(Warn, "proxy", &[unset], |cluster| {
        container(
            cluster,
            ours,
            json!([{"name": "HTTPS_PROXY", "value": "http://p"}]),
        );
    });
}

/// `--namespace velero` is a common mistake, out of habit from kubectl.
#[test]
fn where_velero_trust_is_not_that_is_said_first_and_nothing_is_to_be_installed() {
    let mut cluster = healthy();
    cluster.namespace = "velero".to_owned();
    cluster.deployment = Ok(None);
    cluster.certificate = Ok(None);
    let diagnostics = run_all(&cluster);
    let expected = "it is not there: is velero-trust installed in namespace velero? --namespace is \
                velero-trust's own namespace";
    assert_eq!(
        (diagnostics[0].level, &*diagnostics[0].message),
        (Level::Fail, expected)
    );
    let advised = diagnostics
        .iter()
        .filter_map(|diagnostic| diagnostic.fix.as_deref());
    let installs: Vec<_> = advised.filter(|fix| fix.contains("--install")).collect();
    assert_eq!(installs, [""; 0]);
}

#[test]
fn a_webhook_that_was_left_behind_is_none_that_is_needed() {
    let mut cluster = healthy();
    let webhooks = cluster.webhooks.as_mut().unwrap();
    webhooks[0].retired = Some("kubectl delete it".to_owned());
    let found = webhooks::check(&cluster);
    let bad: Vec<_> = found.iter().filter(|found| found.fix.is_some()).collect();
    let [missing, left] = &bad[..] else {
        panic!("{bad:?}");
    };
    assert!(missing.message.contains("no webhook"), "{missing:?}");
    assert_eq!(left.fix.as_deref(), Some("kubectl delete it"), "{left:?}");
}

#[test]
fn a_second_installation_is_named() {
    exactly(
        Level::Warn,
        "installations",
        &["in namespace guards", "--namespace guards"],
        |cluster| {
            cluster.other_installations = Ok(vec!["guards".to_owned()]);
        },
    );
    // Its webhooks are none of ours, and their caBundle need not verify our certificate.
    exactly(
        Level::Warn,
        "webhooks",
        &["in namespace guards", "--namespace guards"],
        |cluster| {
            let webhooks = cluster.webhooks.as_mut().unwrap();
            webhooks.push(Webhook {
                other_namespace: Some("guards".to_owned()),
                ca: Authority::new("other").unwrap().pem().into_bytes(),
                ..webhooks[0].clone()
            });
        },
    );
    let taken = problems_after(|cluster| {
        let webhooks = cluster.webhooks.as_mut().unwrap();
        webhooks[0].other_namespace = Some("guards".to_owned());
    });
    let levels: Vec<_> = taken
        .iter()
        .map(|(level, check, _)| (*level, *check))
        .collect();
    assert_eq!(
        levels,
        [(Level::Fail, "webhooks"), (Level::Warn, "webhooks")],
        "{taken:?}"
    );
}

#[test]
fn the_webhooks_and_their_certificate() {
    use Level::{Fail, Warn};
    let install = "velero-trust certs --install --namespace velero-trust";
    exactly(Fail, "webhooks", &["no webhook", install], |cluster| {
        cluster.webhooks.as_mut().unwrap().pop();
    });
    exactly(Fail, "webhooks", &["no rules", install], |cluster| {
        cluster.webhooks.as_mut().unwrap()[0].has_rules = false;
    });
    for (has_rules, state) in [(true, "still sent requests"), (false, "sent nothing")] {
        exactly(Warn, "webhooks", &["earlier version", state], |cluster| {
            let webhooks = cluster.webhooks.as_mut().unwrap();
            webhooks.push(Webhook {
                retired: Some("kubectl delete it".to_owned()),
                has_rules,
                ..webhooks[0].clone()
            });
        });
    }
    exactly(Fail, "webhooks", &["no caBundle"], |cluster| {
        cluster.webhooks.as_mut().unwrap()[0].ca.clear();
    });
    let other = Authority::new("other").unwrap();
    exactly(
        Fail,
        "certificate",
        &["hook-1", "does not verify"],
        |cluster| {
            cluster.webhooks.as_mut().unwrap()[1].ca = other.pem().into_bytes();
        },
    );
    exactly(Fail, "certificate", &["does not verify"], |cluster| {
        cluster.webhooks.as_mut().unwrap()[1].host = "velero-trust.guards.svc".to_owned();
    });
    let narrowed = |state| WebhookStatus {
        webhook: "restores",
        state,
        requests: Effect::PartlyUnjudged,
        message: "has the matchCondition `x`".to_owned(),
        fix: "kubectl edit it".to_owned(),
    };
    for state in [WebhookState::Narrowed, WebhookState::OtherFailurePolicy] {
        let says = ["matchCondition `x`", "kubectl edit it"];
        exactly(Warn, "webhooks", &says, |cluster| {
            cluster.states = vec![narrowed(state), narrowed(WebhookState::NoEndpoint)];
        });
    }
    exactly(Fail, "certificate", &["no certificate"], |cluster| {
        cluster.certificate = Ok(None);
    });
    let end = |cluster: &ClusterSnapshot| {
        let text = cluster.certificate.as_ref().unwrap().as_ref().unwrap();
        crate::ca::pem::read(text.as_bytes()).certificates[0].not_after
    };
    let at = |cluster: &mut ClusterSnapshot, left: i64| {
        cluster.now = end(cluster) - left;
        // Only the certificate expires here.
        cluster.velero = Ok(vec![velero()]);
        first(cluster).bundle = Ok(Some(bundle((2020, 2300))));
    };
    exactly(
        Warn,
        "expiry",
        &["expires in 29 days", install],
        |cluster| {
            at(cluster, 30 * DAY - 1);
        },
    );
    exactly(Fail, "expiry", &["expired 1 days ago"], |cluster| {
        at(cluster, -DAY);
    });
}

#[test]
fn rights_and_bundle() {
    use Level::{Fail, Unknown, Warn};
    let bind = "kubectl -n velero create rolebinding velero-trust-secret-reader \
                --clusterrole=velero-trust-secret-reader --serviceaccount=velero-trust:guard";
    exactly(
        Fail,
        "rights",
        &["get secrets, list secrets", bind],
        |cluster| {
            first(cluster).missing_secret_rights =
                Ok(vec!["get secrets".to_owned(), "list secrets".to_owned()]);
        },
    );
    exactly(Warn, "rights", &["no BSL names one", bind], |cluster| {
        first(cluster).missing_secret_rights = Ok(vec!["get secrets".to_owned()]);
        first(cluster).locations[0].spec.object_storage = None;
    });
    exactly(Unknown, "rights", &["may not ask"], |cluster| {
        first(cluster).missing_secret_rights = Err("you may not ask".to_owned());
    });
    exactly(
        Fail,
        "rights",
        &["patch configmaps", "apply -k"],
        |cluster| {
            first(cluster).missing_bundle_rights = Ok(vec!["patch configmaps".to_owned()]);
        },
    );
    exactly(
        Fail,
        "rights",
        &["it may not patch leases", "apply -k"],
        |cluster| {
            cluster.missing_rights = Ok(vec!["patch leases".to_owned()]);
        },
    );
    exactly(Fail, "bundle", &["not there"], |cluster| {
        first(cluster).bundle = Ok(None);
    });
    let map = |change: fn(&mut ConfigMap)| {
        move |cluster: &mut ClusterSnapshot| {
            change(first(cluster).bundle.as_mut().unwrap().as_mut().unwrap());
        }
    };
    exactly(
        Fail,
        "bundle",
        &["not made by"],
        map(|map| map.metadata.annotations = None),
    );
    exactly(
        Fail,
        "bundle",
        &["edited"],
        map(|map| {
            map.data
                .as_mut()
                .unwrap()
                .get_mut("ca-bundle.crt")
                .unwrap()
                .push('#');
        }),
    );
    exactly(
        Warn,
        "hold",
        &["default is verified by the host only"],
        map(|map| {
            let why = "default is verified by the host only".to_owned();
            let annotations = map.metadata.annotations.as_mut().unwrap();
            annotations.insert("velero-trust.io/hold".to_owned(), why);
        }),
    );
    exactly(Warn, "expiry", &["store", "expired"], |cluster| {
        first(cluster).bundle = Ok(Some(bundle(EXPIRED)));
    });
}

#[test]
fn a_bundle_with_issues_is_not_ok() {
    use Level::{Unknown, Warn};
    let immutable = BundleIssue::Immutable.to_string();
    let with_issue = |issue: &BundleIssue| {
        let issues = Ok(vec![issue.clone().into()]);
        move |cluster: &mut ClusterSnapshot| first(cluster).issues = issues
    };
    exactly(
        Warn,
        "bundle",
        &[&immutable, "velero-trust status --velero-namespace velero"],
        with_issue(&BundleIssue::Immutable),
    );
    let mut cluster = healthy();
    with_issue(&BundleIssue::Immutable)(&mut cluster);
    let good = run_all(&cluster)
        .into_iter()
        .filter(|diagnostic| diagnostic.check == "bundle");
    let levels: Vec<_> = good.map(|diagnostic| diagnostic.level).collect();
    assert_eq!(levels, [Warn], "nor is it ok");
    exactly(Level::Fail, "bundle", &["not made by"], |cluster| {
        with_issue(&BundleIssue::NotOwned)(cluster);
        let map = first(cluster).bundle.as_mut().unwrap().as_mut().unwrap();
        map.metadata.annotations = None;
    });
    exactly(Unknown, "report", &["is not there"], |cluster| {
        first(cluster).issues = Err("ConfigMap r is not there".to_owned());
    });
}

#[test]
fn velero_its_plugins_and_its_locations() {
    use Level::{Fail, Unknown, Warn};
    exactly(Warn, "velero", &["1.9"], |cluster| {
        image(cluster, "velero/velero:v1.9.7");
    });
    exactly(Unknown, "velero", &["velero@sha256:00"], |cluster| {
        image(cluster, "velero@sha256:00");
    });
    exactly(Warn, "plugin", &["v1.8.2"], |cluster| {
        let spec = server(cluster).spec.as_mut().unwrap();
        let plugin = &mut spec.init_containers.as_mut().unwrap()[0];
        plugin.image = Some("velero/velero-plugin-for-aws:v1.8.2".to_owned());
    });
    let patch =
        r#"{"spec":{"template":{"metadata":{"annotations":{"velero-trust.io/inject":null}}}}}"#;
    exactly(Warn, "injection", &[patch], |cluster| {
        let out = [("velero-trust.io/inject".to_owned(), "false".to_owned())];
        server(cluster).metadata.as_mut().unwrap().annotations = Some(out.into());
    });
    exactly(Warn, "velero", &["no Deployment"], |cluster| {
        first(cluster).workloads = Ok(vec![]);
    });

    let set = "kubectl -n velero set env deployment/velero NO_PROXY=.svc,s3.corp";
    exactly(Warn, "proxy", &[set], |cluster| {
        variables(
            cluster,
            json!([
                {"name": "https_proxy", "value": "http://proxy"},
                {"name": "NO_PROXY", "value": ".svc"},
            ]),
        );
    });
    let fine = [
        json!([{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "no_proxy", "value": ".corp"}]),
        json!([{"name": "HTTP_PROXY", "value": "http://proxy"}]),
        json!([{"name": "HTTPS_PROXY", "value": ""}]),
    ];
    for env in fine {
        assert_eq!(problems_after(|cluster| variables(cluster, env)), []);
    }

    let status = |cluster: &mut ClusterSnapshot, status: Value| {
        let object = json!({"status": status});
        first(cluster).locations[0].status = Bsl::from_value(&object).into_owned().status;
    };
    let message = "x509: certificate signed by unknown authority";
    exactly(Fail, "location", &[message, "rollout restart"], |cluster| {
        status(cluster, json!({"phase": "Unavailable", "message": message}));
    });
    let bad = problems_after(|cluster| {
        status(cluster, json!({"phase": "Unavailable", "message": message}));
        first(cluster).locations[0].spec.object_storage = None;
        image(cluster, "velero/velero:v1.17.0");
    });
    let fix = "annotate backupstoragelocation default velero-trust.io/ca-secret=SECRET/KEY \
                (this Velero has no caCertRef)";
    assert!(bad.len() == 1 && bad[0].2.contains(fix), "{bad:?}");
    exactly(Warn, "location", &["NoSuchBucket"], |cluster| {
        status(
            cluster,
            json!({"phase": "Unavailable", "message": "NoSuchBucket"}),
        );
    });
    exactly(Unknown, "location", &[], |cluster| {
        status(cluster, json!({}));
    });
}

#[test]
fn our_own_namespace_is_better_not_veleros() {
    exactly(Level::Warn, "namespaces", &["add CAs"], |cluster| {
        let all = cluster.velero.as_ref().unwrap();
        let namespace = all[0].namespace.clone();
        cluster.namespace = namespace;
    });
}

#[test]
fn velero_in_kube_system_gets_nothing() {
    exactly(Level::Warn, "namespaces", &["kube-system"], |cluster| {
        first(cluster).namespace = "kube-system".to_owned();
    });
}

#[test]
fn what_may_not_be_looked_at_is_unknown_and_fails_nothing() {
    let forbidden = || "no right".to_owned();
    let bad = problems_after(|cluster| {
        cluster.kubernetes = Err(forbidden());
        cluster.deployment = Err(forbidden());
        cluster.webhooks = Err(forbidden());
        cluster.certificate = Err(forbidden());
        cluster.missing_rights = Err(forbidden());
        cluster.labelled = Err(forbidden());
        first(cluster).bundle = Err(forbidden());
        first(cluster).workloads = Err(forbidden());
    });
    assert!(
        bad.iter().all(|(level, ..)| *level == Level::Unknown),
        "{bad:?}"
    );
    assert_eq!(bad.len(), 8, "{bad:?}");
    exactly(Level::Unknown, "namespaces", &["no right"], |cluster| {
        cluster.velero = Err(forbidden());
    });
    exactly(
        Level::Warn,
        "namespaces",
        &["no BackupStorageLocation"],
        |cluster| {
            cluster.velero = Ok(vec![]);
        },
    );
}

#[test]
fn pods_without_the_bundle_are_to_be_rolled_out() {
    let server = |out: &str, variable: &str| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "velero-1", "namespace": "velero",
                "annotations": {"velero-trust.io/inject": out},
            },
            "spec": {"containers": [{
                "name": "velero", "image": "velero/velero:v1.18.3",
                "command": ["/velero", "server"],
                "env": [{"name": variable, "value": "/mine"}],
            }]},
        });
        RunningPod::read(&serde_json::from_value(pod).unwrap()).unwrap()
    };
    let bad = |pod: RunningPod| {
        problems_after(|cluster| {
            for velero in cluster.velero.as_mut().unwrap() {
                let pods = [("velero-1".to_owned(), pod.clone())].into();
                velero.snapshot = Ok(NamespaceSnapshot {
                    pods,
                    ..NamespaceSnapshot::default()
                });
            }
        })
    };
    let [(level, check, text)] = &bad(server("", "OTHER"))[..] else {
        panic!()
    };
    assert_eq!((*level, *check), (Level::Warn, "coverage"));
    for word in [
        "1 of 1 run without the bundle or with an old one, such as velero-1: made before",
        "velero-trust rollout --velero-namespace velero",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let [(level, _, text)] = &bad(server("", "AWS_CA_BUNDLE"))[..] else {
        panic!()
    };
    assert_eq!(*level, Level::Warn);
    assert!(
        text.contains("1 of 1 keep the bundle out, such as "),
        "{text}"
    );
    assert_eq!(bad(server("false", "OTHER")), []);
}

#[test]
fn a_bundle_that_nobody_needs_is_named_with_the_command_that_deletes_it() {
    let mut cluster = healthy();
    let other = |namespace: &str, users| OtherBundle {
        namespace: namespace.to_owned(),
        users,
    };
    cluster.other_bundles = Ok(vec![
        other("left", Ok(BundleUsers::None)),
        other("asks", Ok(BundleUsers::Others)),
        other("early", Ok(BundleUsers::Velero)),
        other("closed", Err("no".to_owned())),
    ]);
    let found = bundle::check_others(&cluster);
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.level, one.subject.as_str(), one.fix.as_deref()))
        .collect();
    let expected = [
        (
            Level::Warn,
            "ConfigMap left/velero-trust-ca",
            Some("kubectl -n left delete configmap velero-trust-ca"),
        ),
        (
            Level::Warn,
            "ConfigMap asks/velero-trust-ca",
            Some("kubectl label namespace asks velero-trust.io/velero=true"),
        ),
        (Level::Unknown, "ConfigMap closed/velero-trust-ca", None),
    ];
    assert_eq!(found, expected);
    cluster.other_bundles = Err("no".to_owned());
    let [unknown] = &bundle::check_others(&cluster)[..] else {
        panic!("not one")
    };
    assert_eq!(unknown.level, Level::Unknown);
}
