//! `velero-trust rollout`: prints or performs the restarts that give every Pod of Velero the
//! bundle.

mod plan;
pub(super) mod restart;
mod text;

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::Client;

use self::plan::{Plan, Restart};
use self::text::restart_command;
use super::advice::Selection;
use super::cluster_args::ClusterArgs;
use super::namespace_args::{OwnNamespace, VeleroNamespaces};
use super::snapshot::NamespaceSnapshot;
use super::stdout::Stdout;
use super::{IN_EXCLUDED_NAMESPACE, cluster, exit, install_crypto_provider, runtime, snapshot};
use crate::admission::webhook_state::{Effect, WebhookState, WebhookStatus};
use crate::names::EXCLUDED_NAMESPACE;

const AFTER_HELP: &str = "\
Exit codes:
  0  Nothing is left to do
  1  Something is left to do
  2  Invalid usage, or the command failed";

/// Print or perform the restarts that give every Pod of Velero the CA bundle
///
/// The restarts are printed as kubectl commands with their reasons. A workload is restarted if it
/// has Pods that were created without the bundle, or that started before the newest certificate was
/// added. Problems that a restart does not fix are printed as comments. Nothing is restarted
/// without `--apply`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Rollout {
    #[command(flatten)]
    namespaces: VeleroNamespaces,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Perform the restarts that are printed
    #[arg(long)]
    apply: bool,

    /// With `--apply`: restart even while a Backup or Restore is in progress, which may make it
    /// fail
    #[arg(long)]
    even_while_running: bool,

    /// With `--apply`: wait for the new Pods of each workload to become available, for up to
    /// SECONDS (300 if `--wait` has no value)
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "300",
        env = "VELERO_TRUST_ROLLOUT_WAIT"
    )]
    wait: Option<u64>,
}

/// Returns why new Pods in `namespace` would not get the bundle; `None` if they do, as far as known:
/// conditions that somebody added may be met by all of Velero's.
fn pods_inactive(namespace: &str, webhooks: &[WebhookStatus]) -> Option<String> {
    let mut inactive = webhooks.iter().filter(|one| one.is_problem());
    let is_lost = |one: &WebhookStatus| {
        matches!(one.requests, Effect::Unjudged | Effect::Refused)
            || one.state == WebhookState::KubeSystemExcluded && namespace == EXCLUDED_NAMESPACE
    };
    inactive
        .find(|one| one.webhook == "pods" && is_lost(one))
        .map(ToString::to_string)
}

impl Rollout {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(self.roll_out())
    }

    async fn roll_out(&self) -> anyhow::Result<u8> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let mut code = exit::CLEAN;
        let mut out = if self.apply {
            Stdout::ignore_when_closed()
        } else {
            Stdout::fail_when_closed()
        };
        let namespaces = snapshot::find_namespaces(
            &client,
            &self.own.namespace,
            &self.namespaces.velero_namespace,
        )
        .await?;
        if namespaces.is_empty() {
            bail!("no namespace holds a BackupStorageLocation; name one with --velero-namespace");
        }
        let own = &self.own.namespace;
        // A user who may not read it can still restart.
        let (_, webhooks) = snapshot::read_published(&client, own).await;
        let selection = Selection::new(&self.cluster, &self.own);
        for namespace in namespaces {
            let report = snapshot::read_report(&client, own, &namespace).await;
            let no_report = report.err();
            if snapshot::is_excluded(&client, own, &namespace, no_report.as_ref()).await {
                let (why, fix) = IN_EXCLUDED_NAMESPACE;
                let line = format!("# {namespace}: nothing is restarted, {why}; {fix}\n");
                out.write_all(line.as_bytes())?;
                code = exit::FINDINGS;
                continue;
            }
            let snapshot = NamespaceSnapshot::read(&client, &namespace).await?;
            // A namespace that was discovered, not named, may be labelled before Velero is
            // installed.
            let is_named = !self.namespaces.velero_namespace.is_empty();
            if is_named
                && snapshot.is_empty()
                && snapshot::list_locations(&client, &namespace)
                    .await?
                    .is_empty()
            {
                return Err(snapshot::nothing_found(&namespace));
            }
            let in_progress = snapshot::list_in_progress(&client, &namespace).await?;
            let plan = Plan::of(&snapshot, in_progress);
            for line in plan.text().lines() {
                writeln!(out, "{}", selection.apply(line))?;
            }
            let inactive = pods_inactive(&namespace, &webhooks);
            if let Some(why) = inactive.filter(|_| !plan.restarts.is_empty()) {
                let refused = if self.apply {
                    "refused, nothing was restarted"
                } else {
                    "do not restart yet"
                };
                let line =
                    format!("# {namespace}: {refused}, new Pods would lack the bundle: {why}\n");
                out.write_all(line.as_bytes())?;
                code = exit::FINDINGS;
                continue;
            }
            let restarted = self.apply && self.restart(&client, &plan, &mut out).await?;
            if plan.needs_attention(restarted) {
                code = exit::FINDINGS;
            }
        }
        Ok(code)
    }

    /// Fails unless the Pods of `namespace` carry the bundle, after they were replaced.
    async fn check_new_pods(client: &Client, namespace: &str, before: &Plan) -> anyhow::Result<()> {
        let snapshot = NamespaceSnapshot::read(client, namespace).await?;
        match before.still_lacking(&Plan::of(&snapshot, Vec::new())) {
            None => Ok(()),
            Some(workload) => bail!(
                "the new Pods of {workload} in {namespace} lack the bundle as well; see `velero-trust \
                 status`"
            ),
        }
    }

    /// Performs the restarts. Returns `false` if it refuses to, because Velero is busy.
    async fn restart(
        &self,
        client: &Client,
        plan: &Plan,
        out: &mut Stdout,
    ) -> anyhow::Result<bool> {
        let Plan {
            namespace,
            restarts,
            ongoing,
            ..
        } = plan;
        if !restarts.is_empty() && !plan.in_progress.is_empty() && !self.even_while_running {
            let refused = format!(
                "# {namespace}: refused, nothing was restarted; wait until it is done, or say \
                 --even-while-running\n"
            );
            out.write_all(refused.as_bytes())?;
            return Ok(false);
        }
        for Restart { workload, .. } in restarts {
            restart::restart(client, namespace, workload, Timestamp::now()).await?;
            let done = format!("# done: {}\n", restart_command(namespace, workload));
            out.write_all(done.as_bytes())?;
        }
        if let Some(seconds) = self.wait {
            let restarted = restarts.iter().map(|restart| &restart.workload);
            for workload in restarted.chain(ongoing) {
                let timeout = Duration::from_secs(seconds);
                restart::wait_until_complete(client, namespace, workload, timeout).await?;
            }
            Self::check_new_pods(client, namespace, plan).await?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::webhook_state::{self, Activation, Backend, Installation, Issuer};

    #[test]
    fn nothing_is_restarted_while_new_pods_would_lack_the_bundle() {
        let installation = Installation {
            namespace: "velero-trust",
            certificate: None,
            includes_kube_system: true,
            activation: Activation::ByCommand,
            issuer: Issuer::Files,
            now: 0,
        };
        let absent = webhook_state::judge(installation, &[], |_| Backend::Unknown);
        let why = pods_inactive("velero", &absent).expect("no webhook is active");
        assert!(why.contains("start without the CA bundle now"), "{why}");
        assert!(why.contains("velero-trust certs --install"), "{why}");
        // A user who may not read the configurations can still restart.
        assert_eq!(
            pods_inactive("velero", &WebhookStatus::unknown("forbidden")),
            None
        );
        let mut others = absent;
        others.retain(|one| one.webhook != "pods");
        assert_eq!(pods_inactive("velero", &others), None);
        let mut excluded = WebhookStatus::unknown("x");
        for one in &mut excluded {
            (one.state, one.requests) = (WebhookState::KubeSystemExcluded, Effect::PartlyUnjudged);
        }
        assert!(pods_inactive("kube-system", &excluded).is_some());
        assert_eq!(pods_inactive("velero", &excluded), None);
    }
}
