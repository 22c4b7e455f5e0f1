//! Tests of the checks on changes to a healthy installation, one file per theme.

mod bundles;
mod causes;
mod identity;
mod installation;
mod ledger;
mod registrations;
mod velero_namespaces;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use velero_trust_testing::pki::{Authority, VALID};

use super::*;
use crate::admission::HANDLERS;
use crate::admission::webhook_state::{Effect, WebhookState, WebhookStatus};
use crate::ca::bundle::{merge, mozilla};
use crate::ca::certificate::Certificate;
use crate::cli::advice::tests::assert_can_be_typed;
use crate::cli::doctor::cluster_snapshot::{NamespaceState, VeleroCrds, Webhook, Workload};
use crate::cli::doctor::diagnostic::Level;
use crate::cli::doctor::grouping::group;
use crate::cli::doctor::identity::CloudIdentity;
use crate::cli::snapshot::{Leader, LeaderState, NamespaceSnapshot, Policies};
use crate::kubernetes::published_activation::{ActivationReport, CanaryReport};
use crate::kubernetes::report::{self, EndpointState, NamespaceReport};
use crate::kubernetes::workloads::{self, Kind};
use crate::velero::bsl::Bsl;

/// A time within the validity period of every certificate that [`Authority`] creates.
const NOW: i64 = 1_790_000_000;
const DAY: i64 = 24 * 60 * 60;

/// Returns a complete installation without problems.
fn healthy() -> ClusterSnapshot {
    let authority = Authority::new("serving").unwrap();
    let webhook = |(index, handler): (usize, &&crate::admission::Handler)| Webhook {
        configuration: format!("ValidatingWebhookConfiguration velero-trust-{index}"),
        delete: "kubectl delete it".to_owned(),
        is_retired: false,
        refuses_on_failure: true,
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
        own_namespace: Ok(NamespaceState::Present),
        missing_user_rights: Ok(vec![]),
        crds: Ok(VeleroCrds {
            missing: vec![],
            has_ca_cert_ref: true,
        }),
        kubernetes: Ok((1, 34)),
        ledger: ledger::healthy(),
        deployment: Ok(Some(
            serde_json::from_value(json!({
                "spec": {"replicas": 2, "selector": {}, "template": {"spec": {
                    "serviceAccountName": "guard",
                    "containers": [{
                        "name": "velero-trust",
                        "image": concat!("velero-trust:", env!("CARGO_PKG_VERSION")),
                    }],
                    "volumes": [{"name": "tls", "secret": {"secretName": "velero-trust-tls"}}],
                }}},
                "status": {"availableReplicas": 2},
            }))
            .unwrap(),
        )),
        identity: Ok(CloudIdentity::default()),
        webhooks: Ok(HANDLERS.iter().enumerate().map(webhook).collect()),
        activation: Ok(Some(ActivationReport {
            by_leader: true,
            canary: Some(CanaryReport {
                result: "answered".to_owned(),
                ..CanaryReport::default()
            }),
            ..ActivationReport::default()
        })),
        states: Vec::new(),
        leader: Leader {
            state: LeaderState::Leading,
            ..Leader::default()
        },
        presented: None,
        policies: Ok(Policies {
            not_as_shipped: Vec::new(),
            shipped: 12,
            accounts: vec!["velero-trust/guard".to_owned()],
        }),
        other_installations: Ok(Vec::new()),
        certificate: Ok(Some(authority.server("webhook").unwrap().certificate_pem)),
        missing_rights: Ok(vec![]),
        labelled: Ok(()),
        other_bundles: Ok(Vec::new()),
        velero: Ok(vec![velero()]),
    }
}

/// Returns what `status` would say of the webhook that judges this resource.
fn state(webhook: &'static str, state: WebhookState, requests: Effect) -> WebhookStatus {
    WebhookStatus {
        webhook,
        state,
        requests,
        message: format!("{webhook} are {}", state.as_str()),
        fix: "kubectl edit it".to_owned(),
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
        is_excluded: false,
        missing_secret_rights: Ok(vec![]),
        missing_bundle_rights: Ok(vec![]),
        bundle: Ok(Some(bundle(VALID))),
        report: Ok(NamespaceReport::default()),
        workloads: Ok(vec![workload("velero", server), workload("ui", other)]),
        snapshot: Ok(NamespaceSnapshot::default()),
        locations: vec![Bsl::from_value(&location).into_owned()],
        buckets: vec![("default".to_owned(), ledger::may_all())],
        has_default_password: Ok(false),
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

/// Returns all diagnostics that are not ok after `change` to a healthy installation. Asserts that the
/// commands of their fixes can be typed, also for an installation in another namespace.
fn problems_after(change: impl FnOnce(&mut ClusterSnapshot)) -> Vec<(Level, &'static str, String)> {
    let mut cluster = healthy();
    change(&mut cluster);
    let elsewhere = ClusterSnapshot {
        namespace: "guards".to_owned(),
        ..cluster.clone()
    };
    for fix in run_all(&elsewhere)
        .iter()
        .filter_map(|one| one.fix.as_ref())
    {
        assert_can_be_typed(fix);
        for wrong in [
            "-k manifests",
            "-f manifests",
            "-n velero-trust ",
            "--namespace velero-trust",
        ] {
            // The kinds of the records and the policies are in no namespace, and name none.
            let fix = fix.replace("-k manifests/crds", "");
            let fix = fix.replace("-f manifests/policies.yaml", "");
            assert!(!fix.contains(wrong), "velero-trust is in guards: {fix}");
        }
    }
    let diagnostics = group(run_all(&cluster)).into_iter();
    let bad = diagnostics.filter(|diagnostic| diagnostic.level != Level::Ok);
    bad.map(|diagnostic| {
        if let Some(fix) = &diagnostic.fix {
            assert_can_be_typed(fix);
        }
        let texts = [Some(diagnostic.message), diagnostic.fix]
            .into_iter()
            .flatten();
        let texts: Vec<_> = texts.collect();
        (diagnostic.level, diagnostic.check, texts.join(" -> "))
    })
    .collect()
}

/// Asserts that `change` leads to exactly one diagnostic besides those that say what it kept from being
/// checked, with this level and check and all `words`.
#[track_caller]
fn exactly(level: Level, check: &str, words: &[&str], change: impl FnOnce(&mut ClusterSnapshot)) {
    let mut bad = problems_after(change);
    bad.retain(|(level, ..)| *level != Level::Skipped);
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

#[test]
fn nothing_is_said_of_a_healthy_installation() {
    assert_eq!(problems_after(|_| ()), []);
    assert!(run_all(&healthy()).len() > 12);
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
        Level::Fail,
        "namespaces",
        &["no BackupStorageLocation"],
        |cluster| {
            cluster.velero = Ok(vec![]);
        },
    );
}
