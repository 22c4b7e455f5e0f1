//! Options that select the cluster, shared by every command that talks to one.

use std::path::PathBuf;

use clap::Args;

use crate::kubernetes::client::ClusterSelection;

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// Kubeconfig of the cluster [default: KUBECONFIG, or `~/.kube/config`]
    #[arg(long, value_name = "FILE", env = "VELERO_TRUST_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", env = "VELERO_TRUST_CONTEXT")]
    context: Option<String>,
}

impl ClusterArgs {
    /// Creates options that select a cluster.
    #[cfg(test)]
    pub(super) const fn select(kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        Self {
            kubeconfig,
            context,
        }
    }

    /// Returns which cluster they select.
    pub(super) fn selection(&self) -> ClusterSelection {
        ClusterSelection {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }
}
