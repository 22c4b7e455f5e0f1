use serde_json::{Value, json};

use super::*;

const OWN: &str = "velero-trust";

/// Returns the webhooks of an installation in `namespace` after `certs --install`.
fn installed(namespace: &str) -> Vec<Value> {
    let webhooks = HANDLERS.iter().map(|handler| {
        let operations: Vec<_> = handler.operations.iter().map(|one| one.as_str()).collect();
        json!({
            "clientConfig": {
                "caBundle": "LS0t",
                "service": {"namespace": namespace, "name": "velero-trust", "path": handler.path},
            },
            "failurePolicy": if handler.mode == Mode::Mutate { "Ignore" } else { "Fail" },
            "rules": [{
                "apiGroups": [handler.group],
                "apiVersions": ["v1"],
                "operations": operations,
                "resources": [handler.resource],
            }],
        })
    });
    webhooks.collect()
}

fn registered(webhooks: &[Value]) -> Vec<RegisteredWebhook> {
    let read = |webhook| RegisteredWebhook::read("ValidatingWebhookConfiguration c", webhook);
    webhooks.iter().map(read).collect()
}

/// Returns state, effect and message of each webhook.
fn states(webhooks: &[Value], backend: Backend) -> Vec<(WebhookState, Effect, String)> {
    let all = judge(OWN, &registered(webhooks), |_| backend).into_iter();
    all.map(|one| (one.state, one.requests, one.message))
        .collect()
}

/// Changes each webhook.
fn with(change: impl Fn(&mut Value)) -> Vec<Value> {
    let mut webhooks = installed(OWN);
    webhooks.iter_mut().for_each(change);
    webhooks
}

#[test]
fn an_installation_that_is_complete_is_active() {
    for backend in [Backend::Ready, Backend::Unknown] {
        let found = judge(OWN, &registered(&installed(OWN)), |_| backend);
        assert_eq!(found.len(), HANDLERS.len());
        for one in found {
            assert_eq!(
                (one.state, one.requests),
                (WebhookState::Active, Effect::Judged)
            );
            assert!(!one.is_problem() && one.message.is_empty() && one.fix.is_empty());
        }
    }
    // One that is called by a URL, and rules that are wider than ours.
    let wide = with(|webhook| {
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        webhook["clientConfig"] = json!({"caBundle": "LS0t", "url": format!("https://h{path}")});
        webhook["rules"] = json!([{"apiGroups": ["*"], "operations": ["*"], "resources": ["*/*"]}]);
    });
    assert!(
        states(&wide, Backend::NoEndpoint)
            .iter()
            .all(|(state, ..)| *state == WebhookState::Active)
    );
}

#[test]
fn what_is_not_asked_lets_everything_pass() {
    let unjudged = |cause: &str| {
        let created_or_changed = ["BackupStorageLocations", "Restores"]
            .map(|kinds| format!("{cause}: {kinds} that are created or changed pass unjudged now"));
        let [first, second] = created_or_changed;
        let pods = "Pods of Velero that are created start without the CA bundle now";
        vec![first, second, format!("{cause}: {pods}")]
    };
    let messages = |webhooks: &[Value], wanted: WebhookState| {
        let all = states(webhooks, Backend::Ready).into_iter();
        let check = |(state, effect, message)| {
            assert_eq!((state, effect), (wanted, Effect::Unjudged), "{message}");
            message
        };
        all.map(check).collect::<Vec<_>>()
    };
    assert_eq!(
        messages(&[], WebhookState::Absent),
        unjudged("no webhook configuration calls velero-trust")
    );
    let without_rules = with(|webhook| webhook["rules"] = Value::Null);
    assert_eq!(
        messages(&without_rules, WebhookState::NoRules),
        unjudged("ValidatingWebhookConfiguration c has no rules")
    );
    // Then it does not matter who would answer.
    let gone = states(&without_rules, Backend::NoNamespace);
    assert!(
        gone.iter()
            .all(|(state, ..)| *state == WebhookState::NoRules)
    );
    // Rules for something else.
    let other = with(|webhook| webhook["rules"][0]["resources"] = json!(["backups"]));
    let found = states(&other, Backend::Ready);
    assert_eq!(
        found[0].2,
        "ValidatingWebhookConfiguration c has no rule for CREATE and UPDATE: \
         BackupStorageLocations that are created or changed pass unjudged now"
    );
}

#[test]
fn one_operation_without_a_rule_is_named() {
    let creates = with(|webhook| webhook["rules"][0]["operations"] = json!(["CREATE"]));
    let found = states(&creates, Backend::Ready);
    let wanted = "ValidatingWebhookConfiguration c has no rule for UPDATE: Restores that are changed \
                  pass unjudged now";
    assert_eq!(
        found[1],
        (WebhookState::NoRules, Effect::Unjudged, wanted.to_owned())
    );
    assert_eq!(found[2].0, WebhookState::Active, "Pods are only created");
    // What passes comes before what is refused.
    let found = states(&creates, Backend::NoEndpoint);
    assert_eq!(found[1].2, wanted);
}

#[test]
fn a_call_that_fails_refuses_or_lets_pass_as_the_policy_says() {
    let cases = [
        (
            with(|webhook| webhook["clientConfig"]["caBundle"] = json!("")),
            Backend::Ready,
            WebhookState::NoCaBundle,
            "has no caBundle, so every call fails",
        ),
        (
            installed(OWN),
            Backend::NoEndpoint,
            WebhookState::NoEndpoint,
            "calls Service velero-trust/velero-trust, which has no ready endpoint",
        ),
        (
            installed(OWN),
            Backend::NoNamespace,
            WebhookState::NoNamespace,
            "calls namespace velero-trust, which is not there",
        ),
    ];
    for (webhooks, backend, state, cause) in cases {
        let found = states(&webhooks, backend);
        let message = |effect: &str| format!("ValidatingWebhookConfiguration c {cause}: {effect}");
        let refused = message("Restores that are created or changed are refused now");
        assert_eq!(found[1], (state, Effect::Refused, refused));
        let pods = message("Pods of Velero that are created start without the CA bundle now");
        assert_eq!(found[2], (state, Effect::Unjudged, pods));
    }
}

#[test]
fn a_second_installation_is_named_whether_it_took_over_or_stands_beside() {
    let other = installed("guards");
    let found = judge(OWN, &registered(&other), |_| Backend::Unknown);
    assert_eq!(found[0].state, WebhookState::OtherInstallation);
    assert_eq!(
        found[0].message,
        "ValidatingWebhookConfiguration c calls the installation in namespace guards, not the one in \
         velero-trust: that one decides about BackupStorageLocations that are created or changed"
    );
    assert!(found[0].fix.contains("--namespace guards"), "{}", found[0]);
    let both = [installed(OWN), other].concat();
    let beside = |backend| {
        let of = move |service: &ServiceReference| {
            if service.namespace == OWN {
                Backend::Ready
            } else {
                backend
            }
        };
        judge(OWN, &registered(&both), of)
    };
    assert_eq!(beside(Backend::Ready)[0].state, WebhookState::Active);
    // If it cannot be called, requests are refused although ours would answer.
    let broken = beside(Backend::NoEndpoint);
    assert_eq!(broken[0].requests, Effect::Refused);
    assert!(
        broken[0].message.contains("Service guards/"),
        "{}",
        broken[0]
    );
}

#[test]
fn what_cannot_be_read_is_unknown_and_no_problem() {
    let unknown = WebhookStatus::unknown("forbidden");
    assert_eq!(unknown.len(), HANDLERS.len());
    assert!(unknown.iter().all(|one| !one.is_problem()));
    assert_eq!(
        unknown[0].message,
        "whether BackupStorageLocations are judged is not known: forbidden"
    );
}
