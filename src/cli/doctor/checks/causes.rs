//! What checks depend on. What is missing is told by a check of its own; the checks that depend on it
//! would only repeat it, and are not run.

use super::webhooks::{is_active, problem};
use crate::admission::HANDLERS;
use crate::admission::webhook_state::Effect;
use crate::cli::doctor::cluster_snapshot::ClusterSnapshot;
use crate::names;

/// Something that checks depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prerequisite {
    /// velero-trust is installed.
    Installed,
    /// There is a serving certificate. Pods do not start without it.
    Certificate,
    /// At least one replica is available.
    Running,
    /// The API server asks velero-trust about Pods.
    PodWebhook,
    /// Velero's CRDs are installed.
    Velero,
}

impl Prerequisite {
    /// Returns the reason why checks that depend on this are not run; `None` if they are. What could
    /// not be read is no reason.
    pub(super) fn unmet(self, cluster: &ClusterSnapshot) -> Option<String> {
        match self {
            Self::Installed => cluster.is_absent().then(|| {
                format!(
                    "{} is not installed in namespace {}",
                    names::APP,
                    cluster.namespace
                )
            }),
            Self::Certificate => lacks_certificate(cluster)
                .then(|| "there is no serving certificate, without which no Pod starts".to_owned()),
            Self::Running => {
                let is_down = cluster
                    .replicas()
                    .is_some_and(|(available, _)| available == 0);
                is_down.then(|| format!("no replica of {} is available", names::APP))
            }
            Self::PodWebhook => {
                let webhooks = cluster.webhooks.as_ref().ok()?;
                let pods = HANDLERS.iter().find(|handler| handler.kind == "Pod")?;
                let is_asked = webhooks
                    .iter()
                    .any(|webhook| is_active(webhook) && webhook.path.ends_with(pods.path));
                let is_unjudged = problem(cluster, pods)
                    .is_some_and(|state| matches!(state.requests, Effect::Unjudged));
                (!is_asked || is_unjudged)
                    .then(|| format!("the API server does not ask {} about Pods", names::APP))
            }
            Self::Velero => {
                let crds = cluster.crds.as_ref().ok()?;
                crds.are_absent()
                    .then(|| "Velero is not installed in the cluster".to_owned())
            }
        }
    }
}

/// Whether the Pods wait for the first certificate. Pods that run keep the one that they have.
fn lacks_certificate(cluster: &ClusterSnapshot) -> bool {
    let is_down = cluster
        .replicas()
        .is_some_and(|(available, wanted)| available == 0 && wanted > 0);
    is_down
        && !cluster.issues_itself()
        && matches!(&cluster.certificate, Ok(text) if !super::webhooks::has_certificate(text.as_deref()))
}
