//! Renders a plan as a shell script.

use super::plan::{Plan, Restart};
use crate::cli::table::clean;
use crate::kubernetes::workloads::Workload;

impl Plan {
    /// Returns the restarts as shell commands, and everything else as comments.
    pub(super) fn text(&self) -> String {
        let Self {
            namespace,
            in_progress,
            restarts,
            remaining,
            ..
        } = self;
        let mut lines = Vec::new();
        if !restarts.is_empty() {
            lines.extend(in_progress.iter().map(|what| {
                format!("# WARNING: {what} in {namespace} is at work; a restart may make it fail")
            }));
        }
        for Restart { workload, reasons } in restarts {
            lines.extend(reasons.iter().map(|reason| format!("# {reason}")));
            lines.push(restart_command(namespace, workload));
        }
        lines.extend(
            remaining
                .iter()
                .map(|remaining| format!("# {namespace}: {}", remaining.text)),
        );
        if lines.is_empty() {
            lines.push(format!("# {namespace}: nothing to restart"));
        }
        let lines: Vec<_> = lines.iter().map(|line| clean(line)).collect();
        lines.join("\n") + "\n"
    }
}

/// Returns the command that restarts `workload`.
pub(super) fn restart_command(namespace: &str, workload: &Workload) -> String {
    format!("kubectl -n {namespace} rollout restart {workload}")
}
