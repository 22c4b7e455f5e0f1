//! Options that select the cluster, shared by every command that talks to one.

use std::path::PathBuf;

use clap::Args;

use crate::kubernetes::client::ClusterSelection;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Kubeconfig of the cluster [default: KUBECONFIG, or `~/.kube/config`]
    #[arg(
        long,
        value_name = "FILE",
        env = "VELERO_TRUST_KUBECONFIG",
        help_heading = "Cluster"
    )]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(
        long,
        value_name = "NAME",
        env = "VELERO_TRUST_CONTEXT",
        help_heading = "Cluster"
    )]
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

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    fn assert_headings(command: &Command) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let is_cluster = ["kubeconfig", "context"].contains(&id);
            assert_eq!(
                argument.get_help_heading() == Some("Cluster"),
                is_cluster,
                "{} {id}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(assert_headings);
    }

    #[test]
    fn only_options_that_select_a_cluster_stand_below_its_heading() {
        assert_headings(&crate::cli::Cli::command());
    }
}
