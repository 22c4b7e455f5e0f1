//! What became of the activation of the webhooks, from the report of the leader.

use kube::Client;

use crate::admission::webhook_state::{Activation, Issuer};
use crate::kubernetes::error;
use crate::kubernetes::published_activation::{self, ActivationReport};

/// What the leader of an installation published; `None` if it published nothing.
pub(in crate::cli) type ReadActivation = Result<Option<ActivationReport>, String>;

/// Reads what the leader of the installation in namespace `own` published.
///
/// # Errors
/// Why it is not known.
pub(in crate::cli) async fn read_activation(client: &Client, own: &str) -> ReadActivation {
    let report = published_activation::read(client, own).await;
    report.map_err(|error| error::lookup_error(&error).message)
}

/// Returns who makes webhooks active: the leader, unless it says otherwise.
pub(in crate::cli) fn activation(report: &ReadActivation) -> Activation {
    match report {
        Ok(Some(report)) if !report.by_leader => Activation::ByCommand,
        _ => Activation::ByLeader,
    }
}

/// Returns who issues the serving certificate.
pub(in crate::cli) fn issuer(report: &ReadActivation) -> Issuer {
    match report {
        Ok(Some(report)) if report.serving_ca.is_some() => Issuer::Own,
        Ok(Some(_)) => Issuer::Files,
        Ok(None) | Err(_) => Issuer::Unknown,
    }
}

/// Returns what is wrong with the activation, and what to do about it.
pub(in crate::cli) fn activation_problem(report: &ActivationReport) -> Option<(String, String)> {
    if let Some(held) = &report.held {
        return Some((held.clone(), report.fix.clone().unwrap_or_default()));
    }
    let canary = report.canary.as_ref()?;
    let is_failed = report.by_leader && !canary.cause.is_empty();
    is_failed.then(|| {
        let what = if canary.said.is_empty() {
            "the canary passed without a call".to_owned()
        } else {
            format!("the API server said: {}", canary.said)
        };
        let problem = format!("the API server does not reach velero-trust any more: {what}");
        (problem, canary.cause.clone())
    })
}
