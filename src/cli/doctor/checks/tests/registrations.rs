use k8s_openapi::jiff::Timestamp;
use velero_trust_testing::pki::Authority;

use super::*;
use crate::ca::serving_certificate::ServingCertificate;
use crate::cli::doctor::cluster_snapshot::Webhook;
use crate::kubernetes::published_activation::ServingCaReport;

#[test]
fn a_webhook_that_was_left_behind_is_none_that_is_needed() {
    let mut cluster = healthy();
    let webhooks = cluster.webhooks.as_mut().unwrap();
    webhooks[0].is_retired = true;
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
fn what_the_leader_says_of_the_activation() {
    use Level::{Fail, Unknown};
    let report = |held: Option<&str>, result: &str, cause: &str| {
        Ok(Some(ActivationReport {
            by_leader: true,
            held: held.map(str::to_owned),
            fix: held.map(|_| "open the port".to_owned()),
            canary: Some(CanaryReport {
                result: result.to_owned(),
                said: "EOF".to_owned(),
                cause: cause.to_owned(),
            }),
            serving_ca: None,
        }))
    };
    exactly(
        Fail,
        "activation",
        &["nothing is reached", "open the port"],
        |cluster| {
            cluster.activation = report(Some("nothing is reached"), "timedOut", "a firewall");
        },
    );
    exactly(
        Fail,
        "activation",
        &["any more", "EOF", "a mesh"],
        |cluster| {
            cluster.activation = report(None, "connectionClosed", "a mesh");
        },
    );
    exactly(Unknown, "activation", &["has not said"], |cluster| {
        cluster.activation = Ok(None);
    });
}

/// The Deployment mounts no Secret with a certificate, and there is none.
fn of_its_own(cluster: &mut ClusterSnapshot) {
    let pem = cluster.certificate.as_ref().unwrap().clone().unwrap();
    cluster.presented = ServingCertificate::from_pem(pem.as_bytes());
    cluster.certificate = Ok(None);
    let deployment = cluster.deployment.as_mut().unwrap().as_mut().unwrap();
    let template = &mut deployment.spec.as_mut().unwrap().template;
    template.spec.as_mut().unwrap().volumes = None;
    if let Ok(Some(report)) = &mut cluster.activation {
        report.serving_ca = Some(ServingCaReport {
            not_after: Timestamp::from_second(cluster.now + 300 * 86_400).ok(),
            ..ServingCaReport::default()
        });
    }
}

#[test]
fn an_installation_that_issues_its_own_certificates_needs_no_secret() {
    use Level::{Fail, Unknown};
    let mut cluster = healthy();
    of_its_own(&mut cluster);
    let found = webhooks::check_certificate(&cluster);
    assert!(found.iter().all(|one| one.level == Level::Ok), "{found:?}");
    let ca = &found[2];
    assert_eq!(ca.subject, "the CA of the serving certificates");
    assert!(
        ca.message.ends_with("; the leader replaces it before"),
        "{ca:?}"
    );
    let by_leader = "the leader sets it by itself";
    exactly(
        Fail,
        "expiry",
        &["expired", "renews it by itself"],
        |cluster| {
            of_its_own(cluster);
            if let Ok(Some(report)) = &mut cluster.activation {
                let ca = report.serving_ca.as_mut().unwrap();
                ca.not_after = Timestamp::from_second(cluster.now - 86_400).ok();
            }
        },
    );
    let other = Authority::new("other").unwrap();
    exactly(
        Fail,
        "certificate",
        &["does not verify", by_leader],
        |cluster| {
            of_its_own(cluster);
            cluster.webhooks.as_mut().unwrap()[1].ca = other.pem().into_bytes();
        },
    );
    exactly(Unknown, "certificate", &["has not published"], |cluster| {
        of_its_own(cluster);
        cluster.presented = None;
    });
    let found = problems_after(|cluster| {
        of_its_own(cluster);
        cluster.now = cluster.presented.as_ref().unwrap().not_after() - 1;
    });
    let expiry = found.iter().find(|(_, check, _)| *check == "expiry");
    assert!(
        format!("{expiry:?}").contains("renews it by itself"),
        "{found:?}"
    );
}

#[test]
fn the_webhooks_and_their_certificate() {
    use Level::{Fail, Warn};
    let install = "velero-trust certs --install --namespace velero-trust";
    let wait = "`velero-trust doctor --namespace velero-trust --wait 120`";
    exactly(Fail, "webhooks", &["no webhook", wait], |cluster| {
        cluster.webhooks.as_mut().unwrap().pop();
    });
    let by_leader = "the leader sets it by itself";
    exactly(Fail, "webhooks", &["no rules", by_leader], |cluster| {
        cluster.webhooks.as_mut().unwrap()[0].has_rules = false;
    });
    exactly(Fail, "webhooks", &["no rules", install], |cluster| {
        cluster.activation = Ok(Some(ActivationReport::default()));
        cluster.webhooks.as_mut().unwrap()[0].has_rules = false;
    });
    for (has_rules, state) in [(true, "still sent requests"), (false, "sent nothing")] {
        exactly(Warn, "webhooks", &["earlier version", state], |cluster| {
            let webhooks = cluster.webhooks.as_mut().unwrap();
            webhooks.push(Webhook {
                is_retired: true,
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
        Fail,
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

/// The states that `status` calls a problem.
fn problem_states() -> Vec<WebhookState> {
    use WebhookState::{
        Absent, Active, CertificateExpired, KubeSystemExcluded, Narrowed, NoCaBundle, NoEndpoint,
        NoNamespace, NoRules, OtherFailurePolicy, OtherInstallation, Unknown, WrongCaBundle,
    };
    let all = [
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
        KubeSystemExcluded,
        OtherFailurePolicy,
        Unknown,
    ];
    let is_problem = |one: &WebhookState| state("restores", *one, Effect::Unknown).is_problem();
    all.into_iter().filter(is_problem).collect()
}

#[test]
fn no_webhook_is_active_that_is_a_problem_in_the_status() {
    assert_eq!(problem_states().len(), 11);
    for problem in problem_states() {
        let words = [
            &*format!("restores are {}", problem.as_str()),
            "kubectl edit it",
        ];
        let change = |cluster: &mut ClusterSnapshot| {
            cluster.states = vec![state("restores", problem, Effect::Unjudged)];
        };
        exactly(Level::Fail, "webhooks", &words, change);
        let mut cluster = healthy();
        change(&mut cluster);
        let all = webhooks::check(&cluster);
        let active = all.iter().filter(|one| one.message == "is active");
        assert_eq!(active.count(), HANDLERS.len() - 1, "{all:?}");
    }
    // The same cause is told once.
    exactly(
        Level::Fail,
        "certificate",
        &["does not verify"],
        |cluster| {
            let other = Authority::new("other").unwrap();
            cluster.webhooks.as_mut().unwrap()[0].ca = other.pem().into_bytes();
            let resource = HANDLERS[0].resource;
            cluster.states = vec![state(
                resource,
                WebhookState::WrongCaBundle,
                Effect::Refused,
            )];
        },
    );
    exactly(Level::Fail, "webhooks", &["no rules"], |cluster| {
        cluster.webhooks.as_mut().unwrap()[0].has_rules = false;
        let resource = HANDLERS[0].resource;
        cluster.states = vec![state(resource, WebhookState::NoRules, Effect::Unjudged)];
    });
}

#[test]
fn pods_that_are_not_judged_explain_pods_without_the_bundle() {
    let mut cluster = healthy();
    cluster.states = vec![state("pods", WebhookState::NoRules, Effect::Unjudged)];
    let skipped = run_all(&cluster)
        .into_iter()
        .find(|one| one.check == "coverage");
    let skipped = skipped.unwrap();
    assert_eq!(skipped.level, Level::Skipped, "{skipped:?}");
}

#[test]
fn somebody_leads() {
    use Level::{Fail, Unknown};
    let with = |leader: LeaderState, message: Option<&str>| {
        let leader = Leader {
            state: leader,
            message: message.map(str::to_owned),
            ..Leader::default()
        };
        move |cluster: &mut ClusterSnapshot| cluster.leader = leader
    };
    let words = ["has not renewed its Lease", "logs deployment/velero-trust"];
    exactly(Fail, "leader", &words, with(LeaderState::Stale, None));
    exactly(
        Fail,
        "leader",
        &["nobody leads"],
        with(LeaderState::Absent, None),
    );
    let message = Some("no answer");
    exactly(
        Unknown,
        "leader",
        &["no answer"],
        with(LeaderState::Unknown, message),
    );
}

#[test]
fn where_the_secret_is_not_read_the_certificate_of_the_leader_counts() {
    let mut cluster = healthy();
    let text = cluster.certificate.clone().unwrap().unwrap();
    cluster.presented = ServingCertificate::from_pem(text.as_bytes());
    cluster.certificate = Err("no right".to_owned());
    cluster.now = cluster.presented.as_ref().unwrap().not_after() + DAY;
    let levels: Vec<_> = webhooks::check_certificate(&cluster)
        .iter()
        .map(|one| (one.level, one.check))
        .collect();
    assert_eq!(
        levels,
        [(Level::Unknown, "certificate"), (Level::Fail, "expiry")]
    );
}

#[test]
fn a_policy_that_is_missing_or_takes_others_for_us_is_told() {
    let policy = "ValidatingAdmissionPolicy velero-trust-records";
    exactly(Level::Fail, "policies", &[policy], |cluster| {
        let policies = cluster.policies.as_mut().unwrap();
        policies.not_as_shipped = vec![policy.to_owned()];
    });
    let unknown = ["do not know ServiceAccount velero-trust/guard"];
    for accounts in [vec![], vec!["velero-trust/velero-trust".to_owned()]] {
        exactly(Level::Fail, "policies", &unknown, |cluster| {
            cluster.policies.as_mut().unwrap().accounts = accounts;
        });
    }
    exactly(Level::Warn, "policies", &["names a/b as well"], |cluster| {
        let accounts = &mut cluster.policies.as_mut().unwrap().accounts;
        accounts.push("a/b".to_owned());
    });
    exactly(Level::Unknown, "policies", &["no right"], |cluster| {
        cluster.policies = Err("no right".to_owned());
    });
}
