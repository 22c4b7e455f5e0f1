use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::model::{
    Bundle, BundleState, CoverageEntry, FIX_SEPARATOR, Location, Namespace, Pods, Records,
    SigningKey, StatusReport,
};
use super::problems::{find_problems, select_cluster};
use crate::admission::HANDLERS;
use crate::admission::webhook_state::{
    Activation, Backend, Installation, Issuer, RegisteredWebhook, WebhookStatus, judge,
};
use crate::ca::bundle_issue::BundleIssue;
use crate::cli::advice::Selection;
use crate::cli::advice::tests::assert_can_be_typed;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::namespace_args::OwnNamespace;
use crate::injection::coverage::State;
use crate::kubernetes::report;

/// Returns webhooks that call the Service of `namespace`, with what `change` makes of them.
fn registered(namespace: &str, rules: bool, ca_bundle: &str) -> Vec<RegisteredWebhook> {
    let webhooks = HANDLERS.iter().map(|handler| {
        let operations: Vec<_> = handler
            .operations
            .iter()
            .map(|operation| operation.as_str())
            .collect();
        let rule = json!({
            "apiGroups": [handler.group], "apiVersions": ["v1"], "resources": [handler.resource],
            "operations": operations,
        });
        let webhook = json!({
            "clientConfig": {
                "caBundle": ca_bundle,
                "service": {"namespace": namespace, "name": "velero-trust", "path": handler.path},
            },
            "rules": if rules { vec![rule] } else { vec![] },
        });
        RegisteredWebhook::read("ValidatingWebhookConfiguration x", &webhook)
    });
    webhooks.collect()
}

/// Every fix of ours, for an installation in a namespace and a cluster that options select.
#[test]
fn the_commands_of_fixes_can_be_typed() {
    let pod = |state| CoverageEntry {
        name: "velero-1".to_owned(),
        kind: Some("server"),
        workload: None,
        state,
        message: String::new(),
    };
    let namespace = |name: &str| Namespace {
        name: name.to_owned(),
        bundle: Bundle {
            state: BundleState::Published,
            ..Bundle::default()
        },
        locations: vec![Location {
            name: "default".to_owned(),
            phase: Some("Unavailable".to_owned()),
            report: None,
        }],
        pods: Pods {
            wanted: 2,
            items: vec![pod(State::Stale), pod(State::Conflicting)],
            ..Pods::default()
        },
        ..Namespace::default()
    };
    let mut status = StatusReport {
        records: Some(Records {
            installed: Some(false),
            signing_key: Some(SigningKey {
                trusted_key: "key".to_owned(),
                exported: false,
                wanted_type: Some("ed25519".to_owned()),
                lost: Vec::new(),
                secret_gone: None,
            }),
            message: None,
            ..Records::default()
        }),
        namespaces: vec![namespace("velero"), namespace("kube-system")],
        ..StatusReport::default()
    };
    let installation = Installation {
        namespace: "guards",
        certificate: None,
        includes_kube_system: true,
        activation: Activation::ByCommand,
        issuer: Issuer::Files,
        now: 0,
    };
    for (webhooks, backend) in [
        (vec![], Backend::Ready),
        (registered("guards", false, "YQ=="), Backend::Ready),
        (registered("guards", true, ""), Backend::Ready),
        (registered("guards", true, "YQ=="), Backend::NoEndpoint),
        (registered("guards", true, "YQ=="), Backend::NoNamespace),
        (registered("other", true, "YQ=="), Backend::Ready),
    ] {
        let judged = judge(installation, &webhooks, |_| backend);
        assert!(judged.iter().all(WebhookStatus::is_problem), "{judged:?}");
        status.webhooks.extend(judged);
    }
    find_problems(&mut status, Timestamp::UNIX_EPOCH);
    let cluster = ClusterArgs::select(None, Some("prod".to_owned()));
    let own = OwnNamespace {
        namespace: "guards".to_owned(),
    };
    let selection = Selection {
        cluster: &cluster,
        own: &own,
    };
    let unread = "velero-trust may not read Secrets; grant it with `kubectl create x`";
    status.problems.push(unread.to_owned());
    let mut issue = report::Issue::from(BundleIssue::Empty);
    issue.message = unread.to_owned();
    status.namespaces[0].issues.push(issue);
    select_cluster(&mut status, selection);
    let selected =
        "velero-trust may not read Secrets; grant it with `kubectl --context prod create x`";
    assert_eq!(status.problems.pop().as_deref(), Some(selected));
    assert_eq!(status.namespaces[0].issues[0].message, selected);
    let problems = status.namespaces.iter().flat_map(|one| &one.problems);
    let problems: Vec<_> = problems.chain(&status.problems).collect();
    let fixes = problems
        .iter()
        .filter_map(|problem| problem.split_once(FIX_SEPARATOR));
    let fixes: Vec<_> = fixes.map(|(_, fix)| fix).collect();
    let commands: usize = fixes.iter().map(|fix| assert_can_be_typed(fix)).sum();
    assert!(commands >= 20, "{commands}: {fixes:#?}");
    for expected in [
        "kubectl --context prod -n velero get backupstoragelocation default -o \
         jsonpath='{.status.message}'",
        "velero-trust rollout --velero-namespace velero --namespace guards --context prod",
        "kubectl --context prod apply -k manifests/crds",
        "velero-trust keys export --private velero-trust-signing-key.pem --namespace guards --context \
         prod",
    ] {
        assert!(fixes.contains(&expected), "{expected}: {fixes:#?}");
    }
}
