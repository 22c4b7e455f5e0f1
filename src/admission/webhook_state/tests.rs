use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use velero_trust_testing::pki::Authority;

use super::*;

const OWN: &str = "velero-trust";

/// A time within the validity period of what [`Authority`] issues.
const NOW: i64 = 1_790_000_000;

fn installation(certificate: Option<&ServingCertificate>) -> Installation<'_> {
    Installation {
        namespace: OWN,
        certificate,
        includes_kube_system: false,
        activation: Activation::ByCommand,
        issuer: Issuer::Files,
        now: NOW,
    }
}

/// Returns the webhooks of an installation in `namespace` after `certs --install`.
fn installed(namespace: &str) -> Vec<Value> {
    let manifests = shipped::MANIFESTS.map(|text| {
        let configurations: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        configurations
    });
    let mut shipped = manifests.concat();
    let webhooks = HANDLERS.iter().map(|handler| {
        let shipped = shipped.iter_mut().map(|one| &mut one["webhooks"][0]);
        let mut shipped =
            shipped.filter(|one| one["clientConfig"]["service"]["path"] == handler.path);
        let mut webhook = shipped.next().unwrap().take();
        let operations: Vec<_> = handler.operations.iter().map(|one| one.as_str()).collect();
        webhook["clientConfig"]["caBundle"] = json!("LS0t");
        webhook["clientConfig"]["service"]["namespace"] = json!(namespace);
        // What the API server adds.
        for selector in ["namespaceSelector", "objectSelector"] {
            if webhook[selector].is_null() {
                webhook[selector] = json!({});
            }
        }
        webhook["rules"] = json!([{
            "apiGroups": [handler.group],
            "apiVersions": ["v1"],
            "operations": operations,
            "resources": [handler.resource],
            "scope": "Namespaced",
        }]);
        webhook
    });
    webhooks.collect()
}

fn registered(webhooks: &[Value]) -> Vec<RegisteredWebhook> {
    let read = |webhook| RegisteredWebhook::read("ValidatingWebhookConfiguration c", webhook);
    webhooks.iter().map(read).collect()
}

/// Returns state, effect and message of each webhook.
fn states(webhooks: &[Value], backend: Backend) -> Vec<(WebhookState, Effect, String)> {
    let all = judge(installation(None), &registered(webhooks), |_| backend).into_iter();
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
        let found = judge(installation(None), &registered(&installed(OWN)), |_| {
            backend
        });
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
        webhook["rules"] = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]);
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
        let backups = "Backups with reserved annotations that are created keep them now";
        let begun = "Restores that are created or changed begin without a look at their files now";
        let others = [pods, backups, begun].map(|effect| format!("{cause}: {effect}"));
        [vec![first, second], others.into()].concat()
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
    let found = judge(installation(None), &registered(&other), |_| {
        Backend::Unknown
    });
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
        judge(installation(None), &registered(&both), of)
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

/// Returns the webhooks with this caBundle.
fn trusting(pem: &str) -> Vec<Value> {
    with(|webhook| webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(pem)))
}

fn certificate(authority: &Authority) -> ServingCertificate {
    let pem = authority
        .server_named("webhook", &["velero-trust.velero-trust.svc"])
        .unwrap();
    ServingCertificate::from_pem(pem.certificate_pem.as_bytes()).unwrap()
}

#[test]
fn a_ca_bundle_that_does_not_verify_the_certificate_fails_every_call() {
    let (ours, other) = (Authority::new("a").unwrap(), Authority::new("b").unwrap());
    let served = certificate(&ours);
    let found = |webhooks: &[Value], served| {
        judge(installation(Some(served)), &registered(webhooks), |_| {
            Backend::Ready
        })
    };
    let active = |webhooks: &[Value]| {
        let found = found(webhooks, &served);
        found.iter().all(|one| one.state == WebhookState::Active)
    };
    // Alone, and beside another one during a rotation.
    assert!(active(&trusting(&ours.pem())));
    assert!(active(&trusting(&[other.pem(), ours.pem()].concat())));
    for wrong in [other.pem(), "no PEM".to_owned()] {
        let wrong = found(&trusting(&wrong), &served);
        let effects = wrong.iter().map(|one| (one.state, one.requests));
        let effects: Vec<_> = effects.collect();
        let wanted = [
            Effect::Refused,
            Effect::Refused,
            Effect::Unjudged,
            Effect::Unjudged,
            Effect::Refused,
        ]
        .map(|it| (WebhookState::WrongCaBundle, it));
        assert_eq!(effects, wanted);
        let text = &wrong[0].message;
        let begins = "the caBundle of ValidatingWebhookConfiguration c does not verify the serving \
                      certificate (it was issued by CN=a, and ";
        assert!(text.starts_with(begins), "{text}");
        assert!(
            text.ends_with("BackupStorageLocations that are created or changed are refused now"),
            "{text}"
        );
        assert!(
            wrong[0]
                .fix
                .starts_with("run `velero-trust certs --install")
        );
    }
    // The name of the Service counts, but not that of a URL, which may be a proxy's.
    let nameless = ours.server("webhook").unwrap().certificate_pem;
    let nameless = ServingCertificate::from_pem(nameless.as_bytes()).unwrap();
    let state = found(&trusting(&ours.pem()), &nameless)[0].clone();
    assert_eq!(state.state, WebhookState::WrongCaBundle);
    assert!(
        state
            .message
            .contains("not for velero-trust.velero-trust.svc"),
        "{state}"
    );
    let mut by_url = trusting(&ours.pem());
    for webhook in &mut by_url {
        let path = webhook["clientConfig"]["service"]["path"].take();
        let url = format!("https://proxy{}", path.as_str().unwrap());
        webhook["clientConfig"] =
            json!({"caBundle": webhook["clientConfig"]["caBundle"], "url": url});
    }
    assert!(active(&by_url));
    // What another installation presents is not known.
    let elsewhere = installed("guards");
    assert_eq!(
        found(&elsewhere, &served)[0].state,
        WebhookState::OtherInstallation
    );
    // Without a certificate, nothing is known of the caBundle.
    assert_eq!(
        states(&trusting(&other.pem()), Backend::Ready)[0].0,
        WebhookState::Active
    );
}

#[test]
fn an_expired_certificate_fails_every_call() {
    let authority = Authority::new("a").unwrap();
    let served = certificate(&authority);
    let at = |now| {
        let installation = Installation {
            now,
            ..installation(Some(&served))
        };
        let webhooks = registered(&trusting(&authority.pem()));
        judge(installation, &webhooks, |_| Backend::Ready)[1].clone()
    };
    assert_eq!(at(served.not_after()).state, WebhookState::Active);
    let expired = at(served.not_after() + 1);
    assert_eq!(
        (expired.state, expired.requests),
        (WebhookState::CertificateExpired, Effect::Refused)
    );
    assert_eq!(
        expired.message,
        "the serving certificate that ValidatingWebhookConfiguration c calls expired on 2120-01-01, so \
         every new connection fails: Restores that are created or changed are refused now"
    );
}

#[test]
fn pods_of_kube_system_are_sent_where_the_servers_include_it() {
    let pods = |includes_kube_system, webhooks: &[Value]| {
        let installation = Installation {
            includes_kube_system,
            ..installation(None)
        };
        let all = judge(installation, &registered(webhooks), |_| Backend::Ready);
        let own = all.into_iter().find(|one| one.webhook == "pods").unwrap();
        (own.state, own.requests, own.message, own.fix)
    };
    let (shipped, with_component) = (
        installed(OWN),
        with(|webhook| webhook["namespaceSelector"] = json!({})),
    );
    let active = (
        WebhookState::Active,
        Effect::Judged,
        String::new(),
        String::new(),
    );
    assert_eq!(pods(false, &shipped), active);
    assert_eq!(pods(true, &with_component), active);
    let (state, effect, message, fix) = pods(true, &shipped);
    assert_eq!(
        (state, effect),
        (WebhookState::KubeSystemExcluded, Effect::PartlyUnjudged)
    );
    assert_eq!(
        message,
        "ValidatingWebhookConfiguration c has the namespaceSelector `kubernetes.io/metadata.name notin \
         (kube-system)`, though velero-trust is started with --include-kube-system: Pods of Velero that \
         are created in kube-system start without the CA bundle now"
    );
    assert!(fix.contains("manifests/components/kube-system"), "{fix}");
}

#[test]
fn a_condition_that_the_manifests_do_not_have_lets_requests_pass() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 5] = [
        (
            |webhook| webhook["namespaceSelector"] = json!({"matchLabels": {"team": "a"}}),
            "the namespaceSelector `team in (a)`",
        ),
        (
            |webhook| {
                let requirement = json!({"key": "skip", "operator": "DoesNotExist"});
                webhook["objectSelector"] = json!({"matchExpressions": [requirement]});
            },
            "the objectSelector `!skip`",
        ),
        (
            |webhook| {
                let all = webhook["matchConditions"].as_array_mut().unwrap();
                all.push(json!({"name": "x", "expression": "false"}));
            },
            "the matchCondition `x`",
        ),
        (
            |webhook| webhook["matchConditions"][0]["expression"] = json!("false"),
            "the matchCondition `",
        ),
        (
            |webhook| {
                webhook["objectSelector"] =
                    json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
                webhook["namespaceSelector"] = json!({"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["velero", "kube-system"]}]});
            },
            "the namespaceSelector `kubernetes.io/metadata.name notin (kube-system,velero)` and the \
             objectSelector `a`",
        ),
    ];
    for (change, cause) in cases {
        let found = states(&with(change), Backend::Ready);
        for (state, effect, message) in &found {
            assert_eq!(
                (*state, *effect),
                (WebhookState::Narrowed, Effect::PartlyUnjudged),
                "{message}"
            );
            let begins = format!("ValidatingWebhookConfiguration c has {cause}");
            assert!(message.starts_with(&begins), "{message}");
        }
        let effect = "BackupStorageLocations that are created or changed pass unjudged now where that is \
                      not met";
        assert!(found[0].2.ends_with(effect), "{}", found[0].2);
    }
    // Fewer conditions, or the same ones in another order, let nothing pass.
    let fewer = with(|webhook| {
        webhook["namespaceSelector"] = json!({});
        webhook["matchConditions"].as_array_mut().unwrap().reverse();
    });
    let found = states(&fewer, Backend::Ready);
    assert!(
        found
            .iter()
            .all(|(state, ..)| *state == WebhookState::Active)
    );
    // A second webhook that is sent everything makes up for it.
    let beside = [with(cases[0].0), installed(OWN)].concat();
    let found = states(&beside, Backend::Ready);
    assert!(
        found
            .iter()
            .all(|(state, ..)| *state == WebhookState::Active)
    );
}

#[test]
fn another_failure_policy_is_told_by_what_it_does() {
    let other = with(|webhook| {
        let is_fail = webhook["failurePolicy"] == "Fail";
        webhook["failurePolicy"] = json!(if is_fail { "Ignore" } else { "Fail" });
    });
    let found = states(&other, Backend::Ready);
    let wanted = [
        "Ignore, not Fail: BackupStorageLocations that are created or changed pass unjudged whenever \
         velero-trust does not answer",
        "Ignore, not Fail: Restores that are created or changed pass unjudged whenever velero-trust does \
         not answer",
        "Fail, not Ignore: Pods of Velero that are created are refused, and backups fail, whenever \
         velero-trust does not answer",
        "Fail, not Ignore: Backups with reserved annotations that are created are refused, and backups \
         fail, whenever velero-trust does not answer",
        "Ignore, not Fail: Restores that are created or changed begin without a look at their files \
         whenever velero-trust does not answer",
    ];
    for ((state, effect, message), wanted) in found.iter().zip(wanted) {
        assert_eq!(
            (*state, *effect),
            (WebhookState::OtherFailurePolicy, Effect::Judged)
        );
        let wanted = format!("the failurePolicy of ValidatingWebhookConfiguration c is {wanted}");
        assert_eq!(*message, wanted);
    }
}

#[test]
fn a_rule_for_another_version_or_scope_is_none() {
    for (field, value) in [("apiVersions", json!(["v2"])), ("scope", json!("Cluster"))] {
        let other = with(|webhook| webhook["rules"][0][field] = value.clone());
        let found = states(&other, Backend::Ready);
        assert!(
            found
                .iter()
                .all(|(state, ..)| *state == WebhookState::NoRules),
            "{field}"
        );
    }
    let wide = with(|webhook| webhook["rules"][0]["scope"] = json!("*"));
    assert_eq!(states(&wide, Backend::Ready)[0].0, WebhookState::Active);
}

#[test]
fn a_state_has_the_same_name_in_metrics_and_in_json() {
    use WebhookState::{
        Absent, Active, CertificateExpired, Narrowed, NoCaBundle, NoEndpoint, NoNamespace, NoRules,
        OtherFailurePolicy, OtherInstallation, Unknown, WrongCaBundle,
    };
    for state in [
        Active,
        Absent,
        NoRules,
        NoCaBundle,
        WrongCaBundle,
        CertificateExpired,
        NoEndpoint,
        NoNamespace,
        OtherInstallation,
        Narrowed,
        OtherFailurePolicy,
        Unknown,
    ] {
        assert_eq!(json!(state), state.as_str());
    }
}

#[test]
fn where_the_leader_sets_the_rules_nobody_is_told_to_run_a_command() {
    let mut webhooks = installed(OWN);
    webhooks[0]["rules"] = json!([]);
    let installation = Installation {
        activation: Activation::ByLeader,
        ..installation(None)
    };
    let found = judge(installation, &registered(&webhooks), |_| Backend::Ready);
    let problems = found.iter().filter(|one| one.is_problem());
    let fixes: Vec<_> = problems.map(|one| one.fix.as_str()).collect();
    assert_eq!(fixes, [SET_BY_LEADER]);
}

#[test]
fn a_certificate_is_verified_by_every_webhook_that_is_asked_by_some_or_by_none() {
    let (ours, other) = (Authority::new("a").unwrap(), Authority::new("b").unwrap());
    let host = "velero-trust.velero-trust.svc";
    let pem = ours.server_named("webhook", &[host]).unwrap();
    let certificate = ServingCertificate::from_pem(pem.certificate_pem.as_bytes()).unwrap();
    let verification =
        |webhooks: &[Value]| verification(installation(Some(&certificate)), &registered(webhooks));
    let with_ca = |webhook: &mut Value, pem: &str| {
        webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(pem));
    };
    let whole = with(|webhook| with_ca(webhook, &ours.pem()));
    assert_eq!(verification(&whole), Verification::Everywhere);
    let mut all = whole.clone();
    with_ca(&mut all[0], &other.pem());
    let partly = verification(&all);
    let Verification::Partly(why) = &partly else {
        panic!("{partly:?}");
    };
    let named = "the caBundle of ValidatingWebhookConfiguration c does not verify the serving certificate: it \
                 was issued by";
    assert!(why.starts_with(named), "{why}");
    // What is not asked does not count, nor does another installation.
    all[0]["rules"] = json!([]);
    assert_eq!(verification(&all), Verification::Everywhere);
    let mut elsewhere = installed("another");
    for webhook in &mut elsewhere {
        webhook["clientConfig"]["caBundle"] = Value::Null;
    }
    assert_eq!(
        verification(&[whole, elsewhere].concat()),
        Verification::Everywhere
    );
    assert_eq!(verification(&[]), Verification::Everywhere);

    let none = with(|webhook| with_ca(webhook, &other.pem()));
    assert!(matches!(verification(&none), Verification::Nowhere(_)));
    let empty = with(|webhook| webhook["clientConfig"]["caBundle"] = Value::Null);
    let nowhere = verification(&empty);
    let why = "ValidatingWebhookConfiguration c has no caBundle".to_owned();
    assert_eq!(nowhere, Verification::Nowhere(why));
}
