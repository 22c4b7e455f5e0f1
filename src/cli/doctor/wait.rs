//! `velero-trust doctor --wait`: waits until the webhooks are active.

use std::time::Duration;

use kube::Client;

use crate::admission::webhook_state::{WebhookState, WebhookStatus};
use crate::cli::looks::Looks;
use crate::cli::snapshot::{self, ReadActivation, activation_problem};
use crate::kubernetes::published_certificate;

/// Waits until the webhooks of the installation in namespace `own` are active, or until the time is up. Says
/// what is missing.
pub(super) async fn until_active(client: &Client, own: &str, timeout: Duration) {
    let mut looks = Looks::begin(timeout);
    loop {
        let activation = snapshot::read_activation(client, own).await;
        let certificate = published_certificate::read(client, own).await;
        let certificate = certificate.ok().flatten();
        let webhooks =
            snapshot::read_webhooks(client, own, certificate.as_ref(), &activation).await;
        match missing(&activation, &webhooks) {
            Some(missing) if !looks.is_late(&missing) => looks.pause().await,
            _ => return,
        }
    }
}

/// Returns what is missing until all webhooks are active; `None` if they are.
fn missing(activation: &ReadActivation, webhooks: &[WebhookStatus]) -> Option<String> {
    match activation {
        Err(why) => return Some(why.clone()),
        Ok(None) => return Some("no leader has said what became of the webhooks".to_owned()),
        Ok(Some(report)) => {
            if let Some((problem, _)) = activation_problem(report) {
                return Some(problem);
            }
            if report.by_leader && report.canary.is_none() {
                return Some("the leader has not asked the API server yet".to_owned());
            }
        }
    }
    let inactive = webhooks
        .iter()
        .filter(|one| one.state != WebhookState::Active);
    let inactive: Vec<_> = inactive
        .map(|one| format!("{} are {}", one.webhook, one.state.as_str()))
        .collect();
    (!inactive.is_empty()).then(|| inactive.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::webhook_state::Effect;
    use crate::kubernetes::published_activation::{ActivationReport, CanaryReport};

    #[test]
    fn what_keeps_the_webhooks_from_being_active_is_said() {
        let webhook = |state| WebhookStatus {
            webhook: "pods",
            state,
            requests: Effect::Judged,
            message: String::new(),
            fix: String::new(),
        };
        let active = [webhook(WebhookState::Active)];
        let inactive = [webhook(WebhookState::NoRules)];
        let report = || ActivationReport {
            by_leader: true,
            canary: Some(CanaryReport::default()),
            ..ActivationReport::default()
        };
        let said = |report, webhooks: &[_]| missing(&Ok(report), webhooks);
        assert_eq!(said(Some(report()), &active), None);
        assert_eq!(said(Some(report()), &inactive).unwrap(), "pods are noRules");
        let by_command = Some(ActivationReport::default());
        assert_eq!(said(by_command, &active), None);
        let held = Some(ActivationReport {
            held: Some("the image cannot be pulled".to_owned()),
            ..report()
        });
        assert_eq!(said(held, &active).unwrap(), "the image cannot be pulled");
        let unasked = Some(ActivationReport {
            canary: None,
            ..report()
        });
        assert!(said(unasked, &active).unwrap().contains("has not asked"));
        assert!(said(None, &active).unwrap().contains("no leader"));
        let unread = missing(&Err("forbidden".to_owned()), &active);
        assert_eq!(unread.unwrap(), "forbidden");
    }
}
