use super::*;
use crate::admission::webhook_state::{Effect, WebhookState};
use crate::cli::doctor::access::CLUSTER_RIGHTS;

/// Returns level and check of each diagnostic that is not ok after `change`, and all of them as text.
fn told(change: impl FnOnce(&mut ClusterSnapshot)) -> (Vec<(Level, &'static str)>, String) {
    let bad = problems_after(change);
    let text = format!("{bad:#?}");
    let told = bad.iter().map(|(level, check, _)| (*level, *check));
    (told.collect(), text)
}

/// A cluster with Velero, before velero-trust is installed.
fn before_installation(cluster: &mut ClusterSnapshot) {
    cluster.own_namespace = Ok(NamespaceState::Absent);
    cluster.deployment = Ok(None);
    cluster.certificate = Ok(None);
    cluster.webhooks = Ok(vec![]);
    let lacks = |right: &crate::cli::doctor::access::Right| format!("list {}", right.resource);
    cluster.missing_rights = Ok(CLUSTER_RIGHTS.iter().map(lacks).collect());
    let velero = first(cluster);
    velero.bundle = Ok(None);
    velero.report = Err("ConfigMap r is not there".to_owned());
    velero.missing_secret_rights = Ok(vec!["get secrets".to_owned()]);
    velero.missing_bundle_rights = Ok(vec!["get configmaps".to_owned()]);
}

fn without_replicas(cluster: &mut ClusterSnapshot) {
    let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
    deployment.status.as_mut().unwrap().available_replicas = None;
    let velero = first(cluster);
    velero.bundle = Ok(None);
    velero.report = Err("ConfigMap r is not there".to_owned());
}

#[test]
fn before_the_installation_only_that_is_told_and_what_it_would_meet() {
    use Level::{Fail, Skipped, Unknown, Warn};
    let (bad, text) = told(before_installation);
    assert_eq!(bad, [(Fail, "server"), (Skipped, "skipped")], "{text}");
    for words in [
        "there is no namespace velero-trust",
        "apply your kustomization of the manifests with namespace velero-trust (docs/install.md); \
         `velero-trust doctor --namespace velero-trust --wait 120` says when it is active",
        "not checked, because velero-trust is not installed in namespace velero-trust",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let mut cluster = healthy();
    before_installation(&mut cluster);
    let all = group(run_all(&cluster));
    let ok = all.iter().filter(|one| one.level == Level::Ok);
    let ok: Vec<_> = ok.map(|one| (one.check, &*one.message)).collect();
    for expected in [
        ("kubernetes", "version 1.34"),
        ("rights", "you may apply the manifests"),
        ("crds", "a BackupStorageLocation can have a caCertRef"),
        ("namespaces", "velero"),
        ("velero", "Velero 1.18"),
    ] {
        assert!(ok.contains(&expected), "{expected:?}: {ok:?}");
    }

    let (bad, text) = told(|cluster| {
        before_installation(cluster);
        cluster.missing_user_rights = Ok(vec!["create/patch namespaces".to_owned()]);
    });
    assert_eq!(
        bad,
        [(Fail, "server"), (Fail, "rights"), (Skipped, "skipped")]
    );
    assert!(
        text.contains("you may not create/patch namespaces"),
        "{text}"
    );
    let (bad, _) = told(|cluster| {
        before_installation(cluster);
        cluster.missing_user_rights = Err("no answer".to_owned());
    });
    assert_eq!(
        bad,
        [(Fail, "server"), (Unknown, "rights"), (Skipped, "skipped")]
    );

    let (bad, text) = told(|cluster| {
        before_installation(cluster);
        cluster.own_namespace = Ok(NamespaceState::Terminating);
        first(cluster).bundle = Ok(Some(bundle(VALID)));
    });
    assert_eq!(
        bad,
        [(Fail, "server"), (Warn, "leftovers"), (Skipped, "skipped")]
    );
    assert!(text.contains("is being deleted"), "{text}");
    assert!(
        text.contains("kubectl -n velero delete configmap velero-trust-ca"),
        "{text}"
    );
}

#[test]
fn webhooks_of_an_installation_that_is_gone_are_leftovers() {
    use Level::{Fail, Skipped, Warn};
    let with = |change: fn(&mut Webhook)| {
        move |cluster: &mut ClusterSnapshot| {
            let mut webhook = cluster.webhooks.as_ref().unwrap()[0].clone();
            before_installation(cluster);
            change(&mut webhook);
            cluster.webhooks = Ok(vec![webhook]);
        }
    };
    for (change, level, words) in [
        (
            (|_| ()) as fn(&mut Webhook),
            Fail,
            "is refused -> kubectl delete it",
        ),
        (|webhook| webhook.refuses_on_failure = false, Warn, "passes"),
        (|webhook| webhook.has_rules = false, Warn, "sent nothing"),
    ] {
        let (bad, text) = told(with(change));
        assert_eq!(
            bad,
            [(Fail, "server"), (level, "leftovers"), (Skipped, "skipped")]
        );
        assert!(text.contains(words), "{words}: {text}");
    }
    // A server outside the cluster, which has no Deployment.
    let (bad, _) = told(with(|webhook| {
        webhook.path = "https://host/validate".to_owned();
    }));
    assert_eq!(bad, [(Fail, "server"), (Skipped, "skipped")]);
}

#[test]
fn an_installation_in_another_namespace_is_the_only_thing_to_tell() {
    let (bad, text) = told(|cluster| {
        before_installation(cluster);
        cluster.other_installations = Ok(vec!["guards".to_owned()]);
    });
    assert_eq!(
        bad,
        [(Level::Fail, "server"), (Level::Skipped, "skipped")],
        "{text}"
    );
    assert!(
        text.contains("but in guards -> velero-trust doctor --namespace guards"),
        "{text}"
    );
}

#[test]
fn before_certs_install_the_missing_certificate_is_the_only_cause() {
    let (bad, text) = told(|cluster| {
        without_replicas(cluster);
        cluster.certificate = Ok(None);
        for webhook in cluster.webhooks.as_mut().unwrap() {
            webhook.has_rules = false;
            webhook.ca.clear();
        }
    });
    assert_eq!(
        bad,
        [(Level::Fail, "certificate"), (Level::Skipped, "skipped")],
        "{text}"
    );
    assert!(
        text.contains("velero-trust certs --install --namespace velero-trust"),
        "{text}"
    );
    assert!(
        text.contains("not checked, because there is no serving certificate"),
        "{text}"
    );
}

#[test]
fn a_missing_certificate_tells_what_is_refused_meanwhile() {
    // The Secret was deleted under webhooks that are active, and then the Pods ended.
    let (bad, text) = told(|cluster| {
        without_replicas(cluster);
        cluster.certificate = Ok(None);
    });
    assert_eq!(
        bad,
        [(Level::Fail, "certificate"), (Level::Skipped, "skipped")],
        "{text}"
    );
    for words in [
        "none of 2 replicas starts",
        "BSL changes and Restores are refused",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn without_a_replica_nothing_is_told_that_a_replica_would_do() {
    let (bad, text) = told(|cluster| {
        without_replicas(cluster);
        cluster.leader = Leader::default();
        cluster.states = vec![state("restores", WebhookState::NoEndpoint, Effect::Refused)];
    });
    assert_eq!(
        bad,
        [(Level::Fail, "server"), (Level::Skipped, "skipped")],
        "{text}"
    );
    assert!(
        text.contains("BSL changes and Restores are refused"),
        "{text}"
    );
    // The API server sends nothing to webhooks without rules, so that nothing is refused.
    let (_, text) = told(|cluster| {
        without_replicas(cluster);
        for webhook in cluster.webhooks.as_mut().unwrap() {
            webhook.has_rules = false;
        }
    });
    assert!(!text.contains("refused"), "{text}");
}

#[test]
fn webhooks_that_are_not_active_are_one_line_and_explain_pods_without_the_bundle() {
    let (bad, text) = told(|cluster| {
        for webhook in cluster.webhooks.as_mut().unwrap() {
            webhook.has_rules = false;
        }
    });
    assert_eq!(
        bad,
        [(Level::Fail, "webhooks"), (Level::Skipped, "skipped")],
        "{text}"
    );
    assert!(
        text.contains("does not ask velero-trust about Pods"),
        "{text}"
    );
}

#[test]
fn what_the_user_may_not_read_is_one_line() {
    let forbidden = |verb: &str, resource: &str| {
        format!(
            "{resource} is forbidden: User \"u\" cannot {verb} resource \"{resource}\" in API group \
             \"\" at the cluster scope"
        )
    };
    let (bad, text) = told(|cluster| {
        cluster.kubernetes = Err(forbidden("get", "version"));
        cluster.own_namespace = Err(forbidden("get", "namespaces"));
        cluster.crds = Err(forbidden("get", "customresourcedefinitions"));
        cluster.deployment = Err(forbidden("get", "deployments"));
        cluster.webhooks = Err(forbidden("list", "webhooks"));
        cluster.other_installations = Err(forbidden("list", "deployments"));
        cluster.certificate = Err(forbidden("get", "secrets"));
        cluster.missing_rights = Err(forbidden("create", "subjectaccessreviews"));
        cluster.labelled = Err(forbidden("list", "namespaces"));
        cluster.velero = Err(forbidden("list", "backupstoragelocations"));
        cluster.other_bundles = Err(forbidden("list", "configmaps"));
    });
    assert_eq!(bad, [(Level::Unknown, "access")], "{text}");
    assert!(
        text.contains("not checked, because you may not get deployments, get version"),
        "{text}"
    );
    assert!(text.contains("get customresourcedefinitions"), "{text}");
}

#[test]
fn the_crds_of_velero() {
    use Level::{Fail, Skipped, Warn};
    let (bad, text) = told(|cluster| {
        cluster.crds = Ok(VeleroCrds {
            missing: VeleroCrds::NAMES.to_vec(),
            has_ca_cert_ref: false,
        });
        cluster.velero = Ok(vec![]);
    });
    assert_eq!(bad, [(Warn, "crds"), (Skipped, "skipped")], "{text}");
    assert!(
        text.contains("because Velero is not installed in the cluster"),
        "{text}"
    );
    exactly(
        Fail,
        "crds",
        &["lacks restores.velero.io", "--crds-only"],
        |cluster| {
            cluster.crds.as_mut().unwrap().missing = vec!["restores.velero.io"];
        },
    );
    let old = |cluster: &mut ClusterSnapshot| {
        cluster.crds.as_mut().unwrap().has_ca_cert_ref = false;
    };
    let words = [
        "drops spec.objectStorage.caCertRef",
        "Velero before 1.18",
        "--crds-only",
    ];
    exactly(Fail, "crds", &words, old);
    // A server of the same version as its CRDs has no such field.
    assert_eq!(
        problems_after(|cluster| {
            old(cluster);
            let template = &mut first(cluster).workloads.as_mut().unwrap()[0].template;
            let spec = template.spec.as_mut().unwrap();
            spec.containers[0].image = Some("velero/velero:v1.17.2".to_owned());
        }),
        []
    );
    let (bad, text) = told(|cluster| {
        old(cluster);
        first(cluster).workloads = Ok(vec![]);
    });
    assert_eq!(bad, [(Warn, "crds"), (Warn, "velero")], "{text}");
    assert!(text.contains("velero-trust.io/ca-secret"), "{text}");
}
