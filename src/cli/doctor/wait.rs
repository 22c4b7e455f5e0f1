//! `velero-trust doctor --wait`: waits until the webhooks are active.

use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

use crate::admission::webhook_state::{WebhookState, WebhookStatus};
use crate::cli::looks::Looks;
use crate::cli::snapshot::{self, ReadActivation, activation_problem};

/// Longest time for one look. The client itself has none.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// Waits until the webhooks of the installation in namespace `own` are asked, until the time is up, or until it
/// is clear that it does not help to wait. Says what is missing.
pub(super) async fn until_active(client: &Client, own: &str, patience: Duration) {
    let mut looks = Looks::begin(patience);
    loop {
        let missing = match timeout(LOOK_TIMEOUT, look(client, own)).await {
            Ok(missing) => missing,
            Err(_) => Some("the API server did not answer in time".to_owned()),
        };
        match missing {
            Some(missing) if !looks.is_late(&missing) => looks.pause().await,
            _ => return,
        }
    }
}

async fn look(client: &Client, own: &str) -> Option<String> {
    let (activation, webhooks) = snapshot::read_published(client, own).await;
    missing(&activation, &webhooks)
}

/// Returns what is missing until all webhooks are asked; `None` if they are, and if nobody can tell.
fn missing(activation: &ReadActivation, webhooks: &[WebhookStatus]) -> Option<String> {
    match activation {
        // The checks say so.
        Err(_) => return None,
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
    let mut unasked = webhooks.iter().filter(|one| !is_asked(one.state));
    unasked.next().map(|one| one.message.clone())
}

/// Whether the API server asks it, as far as known. What else is not as in the manifests may be meant.
const fn is_asked(state: WebhookState) -> bool {
    matches!(
        state,
        WebhookState::Active
            | WebhookState::Narrowed
            | WebhookState::KubeSystemExcluded
            | WebhookState::OtherFailurePolicy
            | WebhookState::Unknown
    )
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
            message: "pods have no rules".to_owned(),
            fix: String::new(),
        };
        let active = [
            webhook(WebhookState::Active),
            webhook(WebhookState::Narrowed),
        ];
        let inactive = [webhook(WebhookState::NoRules)];
        let report = || ActivationReport {
            by_leader: true,
            canary: Some(CanaryReport::default()),
            ..ActivationReport::default()
        };
        let said = |report, webhooks: &[_]| missing(&Ok(report), webhooks);
        assert_eq!(said(Some(report()), &active), None);
        assert_eq!(
            said(Some(report()), &inactive).unwrap(),
            "pods have no rules"
        );
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
        assert_eq!(missing(&Err("forbidden".to_owned()), &active), None);
    }
}
