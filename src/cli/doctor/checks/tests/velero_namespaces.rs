use serde_json::{Value, json};

use super::*;
use crate::cli::snapshot::NamespaceSnapshot;
use crate::kubernetes::workloads::{RunningPod, WorkloadTemplate};
use crate::velero::bsl::Bsl;

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

    let ours = |cluster: &mut ClusterSnapshot, env: Value| {
        let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
        let spec = &mut deployment.spec.as_mut().unwrap().template.spec;
        let container = &mut spec.as_mut().unwrap().containers[0];
        container.env = serde_json::from_value(env).unwrap();
    };
    let set = "kubectl -n velero set env deployment/velero NO_PROXY=.svc,s3.corp";
    exactly(Warn, "proxy", &[set], |cluster| {
        let env = json!([
            {"name": "https_proxy", "value": "http://proxy"},
            {"name": "NO_PROXY", "value": ".svc"},
        ]);
        variables(cluster, env.clone());
        ours(cluster, env);
    });
    let set = "set env deployment/velero-trust HTTPS_PROXY=URL NO_PROXY=HOSTS";
    let env = json!([
        {"name": "HTTPS_PROXY", "value": "http://proxy"},
        {"name": "no_proxy", "value": ".corp"},
    ]);
    exactly(Warn, "proxy", &["has HTTPS_PROXY", set], |cluster| {
        variables(cluster, env.clone());
    });
    let fine = [
        env,
        json!([{"name": "HTTP_PROXY", "value": "http://proxy"}]),
        json!([{"name": "HTTPS_PROXY", "value": ""}]),
    ];
    for env in fine {
        let problems = problems_after(|cluster| {
            ours(cluster, env.clone());
            variables(cluster, env);
        });
        assert_eq!(problems, []);
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
    let fix = "name it (this Velero has no caCertRef): `kubectl -n velero annotate backupstoragelocation \
               default velero-trust.io/ca-secret=SECRET/KEY`";
    assert!(bad.len() == 1 && bad[0].2.contains(fix), "{bad:?}");
    exactly(Fail, "location", &["NoSuchBucket"], |cluster| {
        status(
            cluster,
            json!({"phase": "Unavailable", "message": "NoSuchBucket"}),
        );
    });
    exactly(Unknown, "location", &[], |cluster| {
        status(cluster, json!({}));
    });
}

/// What Velero 1.18.3 with its AWS plugin reports of a store behind a private CA. The cause comes last.
#[test]
fn of_a_long_message_of_velero_the_cause_is_told() {
    let message = format!(
        "BackupStorageLocation \"default\" is unavailable: rpc error: code = Unknown desc = operation \
         error S3: ListObjectsV2, exceeded maximum number of attempts, 3, https response error \
         StatusCode: 0, RequestID: , HostID: , request send failed, Get \"https://{}.s3.corp:9000/\
         velero?delimiter=%2F&list-type=2&prefix=\": tls: failed to verify certificate: x509: \
         certificate signed by unknown authority",
        "a-long-bucket-name".repeat(20)
    );
    let words = [
        "BackupStorageLocation \"default\" is unavailable",
        "x509: certificate signed by unknown authority ->",
    ];
    exactly(Level::Fail, "location", &words, |cluster| {
        let status = json!({"status": {"phase": "Unavailable", "message": message}});
        first(cluster).locations[0].status = Bsl::from_value(&status).into_owned().status;
    });
}

#[test]
fn our_own_namespace_is_better_not_veleros() {
    exactly(Level::Warn, "namespaces", &["add CAs"], |cluster| {
        let all = cluster.velero.as_ref().unwrap();
        let namespace = all[0].namespace.clone();
        cluster.policies.as_mut().unwrap().accounts = vec![format!("{namespace}/guard")];
        cluster.namespace = namespace;
    });
}

#[test]
fn velero_in_kube_system_gets_nothing() {
    exactly(Level::Fail, "namespaces", &["kube-system"], |cluster| {
        first(cluster).is_excluded = true;
        // Nothing else about it needs to be right.
        first(cluster).bundle = Ok(None);
    });
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
    assert_eq!((*level, *check), (Level::Fail, "coverage"));
    for word in [
        "1 of 1 run without the bundle or with an old one, such as velero-1: made before",
        "velero-trust rollout --velero-namespace velero",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let [(level, _, text)] = &bad(server("", "AWS_CA_BUNDLE"))[..] else {
        panic!()
    };
    assert_eq!(*level, Level::Fail);
    assert!(
        text.contains("1 of 1 keep the bundle out, such as "),
        "{text}"
    );
    assert_eq!(bad(server("false", "OTHER")), []);
}

#[test]
fn a_template_that_keeps_the_bundle_out_is_told_before_there_is_a_pod() {
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "velero", "namespace": "velero", "uid": "u"},
        "spec": {"template": {"spec": {"containers": [{
            "name": "velero", "image": "velero/velero:v1.18.3",
            "command": ["/velero", "server"],
            "env": [{"name": "AWS_CA_BUNDLE", "value": "/mine"}],
        }]}}},
    });
    let template = WorkloadTemplate::from_json(&workload.to_string()).unwrap();
    let words = ["deployment/velero keeps the bundle out: ", "AWS_CA_BUNDLE"];
    exactly(Level::Fail, "coverage", &words, |cluster| {
        let velero = workloads::Workload {
            kind: Kind::Deployment,
            name: "velero".to_owned(),
        };
        first(cluster).snapshot = Ok(NamespaceSnapshot {
            templates: [(velero, template)].into(),
            ..NamespaceSnapshot::default()
        });
    });
}

#[test]
fn what_the_controllers_report_of_a_location_is_told() {
    let report = |cluster: &mut ClusterSnapshot| {
        let endpoint = report::Endpoint {
            url: "https://s3.corp:9000".to_owned(),
            state: EndpointState::Untrusted,
            message: "it was issued by x".to_owned(),
            fix: "put x into the Secret".to_owned(),
            ..report::Endpoint::default()
        };
        let location = report::Location {
            endpoints: vec![endpoint],
            ..report::Location::default()
        };
        let report = first(cluster).report.as_mut().unwrap();
        report.locations.insert("default".to_owned(), location);
    };
    let words = [
        "https://s3.corp:9000: it was issued by x",
        "put x into the Secret",
    ];
    exactly(Level::Fail, "location", &words, report);
}

#[test]
fn where_no_velero_runs_none_is_restarted() {
    for message in ["x509: unknown authority", "connection refused"] {
        let told = problems_after(|cluster| {
            let location = json!({
                "metadata": {"name": "default"},
                "spec": {"objectStorage": {"caCertRef": {"name": "ca", "key": "k"}}},
                "status": {"phase": "Unavailable", "message": message},
            });
            first(cluster).locations = vec![Bsl::from_value(&location).into_owned()];
            first(cluster).workloads = Ok(vec![]);
        });
        let [_, (_, "location", text)] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(text.ends_with("see `velero install --help`"), "{text}");
        assert!(!text.contains("deployment/velero"), "{text}");
    }
}

#[test]
fn a_namespace_of_which_nothing_is_read_is_no_good_result() {
    let with = |is_excluded| {
        let mut cluster = healthy();
        let velero = first(&mut cluster);
        velero.bundle = Err("no right".to_owned());
        velero.workloads = Err("no right".to_owned());
        velero.is_excluded = is_excluded;
        assert!(!cluster.has_unread_namespace());
        first(&mut cluster).snapshot = Err("no right".to_owned());
        cluster.has_unread_namespace()
    };
    assert!(with(false));
    assert!(!with(true));
}
