use k8s_openapi::api::core::v1::ConfigMap;
use velero_trust_testing::pki::EXPIRED;

use super::*;
use crate::ca::bundle_issue::BundleIssue;
use crate::cli::doctor::cluster_snapshot::{BundleUsers, OtherBundle};

#[test]
fn in_kube_system_the_right_to_each_secret_with_a_ca_is_asked_for() {
    use Level::Fail;
    let role = "kubectl -n kube-system create role velero-trust-ca-reader-ca --verb=get --resource=secrets \
                --resource-name=ca && kubectl -n kube-system create rolebinding \
                velero-trust-ca-reader-ca --role=velero-trust-ca-reader-ca \
                --serviceaccount=velero-trust:guard";
    exactly(
        Fail,
        "rights",
        &["may not get secrets/ca", role],
        |cluster| {
            let velero = first(cluster);
            velero.namespace = "kube-system".to_owned();
            velero.missing_secret_rights = Ok(vec!["get secrets/ca".to_owned()]);
            let allowed = json!({
                "metadata": {
                    "name": "second",
                    "annotations": {"velero-trust.io/ca-secret": "allowed/ca.crt"},
                },
                "spec": {"provider": "aws", "objectStorage": {"bucket": "b"}},
                "status": {"phase": "Available"},
            });
            let allowed = Bsl::from_value(&allowed).into_owned();
            velero.locations.push(allowed);
        },
    );
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
        &["patch configmaps", "kubectl apply -f manifests/rbac.yaml"],
        |cluster| {
            first(cluster).missing_bundle_rights = Ok(vec!["patch configmaps".to_owned()]);
        },
    );
    exactly(
        Fail,
        "rights",
        &[
            "it may not patch leases",
            "kubectl apply -f manifests/rbac.yaml",
        ],
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
        Fail,
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
    use Level::{Fail, Unknown};
    let immutable = BundleIssue::Immutable.to_string();
    let with_issue = |issue: &BundleIssue| {
        let report = NamespaceReport {
            issues: vec![issue.clone().into()],
            ..NamespaceReport::default()
        };
        move |cluster: &mut ClusterSnapshot| first(cluster).report = Ok(report)
    };
    exactly(
        Fail,
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
    assert_eq!(levels, [Fail], "nor is it ok");
    exactly(Fail, "bundle", &["not made by"], |cluster| {
        with_issue(&BundleIssue::NotOwned)(cluster);
        let map = first(cluster).bundle.as_mut().unwrap().as_mut().unwrap();
        map.metadata.annotations = None;
    });
    exactly(Unknown, "report", &["is not there", "logs"], |cluster| {
        first(cluster).report = Err("ConfigMap r is not there".to_owned());
    });
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
            Some("kubectl label --overwrite namespace asks velero-trust.io/velero=true"),
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
