use velero_trust_testing::pki::Authority;

use super::*;
use crate::admission::webhook_state::{Effect, WebhookState, WebhookStatus};
use crate::cli::doctor::cluster_snapshot::Webhook;

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
