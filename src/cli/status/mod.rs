//! `velero-trust status`: shows what Velero's Pods trust, and which problems need attention.

mod backups;
mod bundle_certificates;
mod live;
mod model;
mod offline;
mod policies;
mod problems;
mod read;
mod records;
mod render;
mod restores;
mod serving_certificate;
mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;

pub(super) use self::model::FIX_SEPARATOR;
pub(super) use self::problems::report_problems;

use self::backups::{Review, Unjudged};
use self::model::StatusReport;
use self::offline::OfflineStatus;
use self::records::LeaderKey;
use super::advice::Selection;
use super::cluster_args::ClusterArgs;
use super::namespace_args::{OwnNamespace, VeleroNamespaces};
use super::policy::PolicyOptions;
use super::root_args::RootArgs;
use super::stdout::{MAX_COLUMNS, Stdout};
use super::{cluster, color, exit, install_crypto_provider, runtime, snapshot};
use crate::cli::json;
use crate::decision::RestoresMode;
use crate::kubernetes::published_certificate;
use crate::sources::inventory::Inventory;

const AFTER_HELP: &str = "\
Exit codes:
  0  Nothing needs attention
  1  Something needs attention
  2  Invalid usage, or the command failed";

/// Show what Velero's Pods trust, and which problems need attention
///
/// Shows, for each Velero namespace, Velero's version, the CA bundle, each BackupStorageLocation
/// with its CA and its problems, and which Pods carry the bundle. The cluster is read with the
/// permissions of your kubeconfig. What is in Secrets is never read: what depends on it comes from the
/// report that the controllers write. With `--objects`, everything is computed from a folder of
/// YAML files, as the controllers would compute it.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Status {
    #[command(flatten)]
    namespaces: VeleroNamespaces,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Also show the certificates in each bundle, and what references them
    #[arg(long, env = "VELERO_TRUST_STATUS_CERTIFICATES")]
    certificates: bool,

    /// Ask the leader to probe the endpoints now, and wait for up to SECONDS (30 if `--live` has no
    /// value)
    ///
    /// An endpoint is probed no sooner than 5 seconds after its last probe. You need the right to patch
    /// the ConfigMap with the report. The status says when each endpoint was probed; if the leader
    /// does not answer in time, that is a problem.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "30"
    )]
    live: Option<u64>,

    /// Wait for up to SECONDS until every backup is recorded, and there is one
    ///
    /// Such as after Velero was installed anew, or a key became trusted. A backup that failed or is being deleted is
    /// not waited for. Meanwhile, what is missing is said on standard error.
    #[arg(
        long,
        value_name = "SECONDS",
        conflicts_with = "live",
        env = "VELERO_TRUST_STATUS_WAIT"
    )]
    wait: Option<u64>,

    /// Compute the status from the YAML files under this folder instead of a cluster; can be
    /// repeated
    ///
    /// Values that only a cluster or a network can provide are `unknown`. The policy and bundle
    /// options can be used with `--objects` only. Set them to the values that the server runs with.
    #[arg(
        long,
        value_name = "DIR",
        env = "VELERO_TRUST_OBJECTS",
        value_delimiter = ','
    )]
    objects: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyOptions,

    #[command(flatten)]
    roots: RootArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "table",
        env = "VELERO_TRUST_STATUS_OUTPUT"
    )]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Tables of at most 120 columns, for people
    Table,
    /// Tables with whole cells, however wide
    Wide,
    /// One JSON object with a stable schema, for scripts
    Json,
}

/// The options that can be used with `--objects` only. For a cluster, the options of the server
/// apply.
const OBJECTS_ONLY_OPTIONS: [(&str, &str); 4] = [
    ("extra_ca", "--extra-ca"),
    ("include_kube_system", "--include-kube-system"),
    ("public_roots", "--public-roots"),
    ("rules", "--rule"),
];

impl Status {
    /// Returns an error message if an option on the command line has no effect. Environment
    /// variables are not checked: they may be the server's, if the command runs in its Pod.
    pub(super) fn misused(&self, given: &ArgMatches) -> Option<String> {
        let typed = |id| given.value_source(id) == Some(ValueSource::CommandLine);
        if !self.objects.is_empty() {
            let message = "--live cannot be used with --objects: files have no leader to ask";
            let live = typed("live").then_some(message);
            let message = "--wait cannot be used with --objects: nothing records what is in files";
            let wait = typed("wait").then_some(message);
            return live.or(wait).map(str::to_owned);
        }
        let (_, option) = OBJECTS_ONLY_OPTIONS.into_iter().find(|(id, _)| typed(id))?;
        Some(format!(
            "{option} can be used with --objects only: a cluster shows what its server was given"
        ))
    }

    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let now = Timestamp::now();
        let mut status = if self.objects.is_empty() {
            runtime()?.block_on(self.read_recorded(now))?
        } else {
            self.compute(now)?
        };
        // It may have waited for the leader.
        let now = Timestamp::now();
        problems::find_problems(&mut status, now);
        let selection = Selection::new(&self.cluster, &self.own);
        problems::select_cluster(&mut status, selection);
        let mut out = Stdout::fail_when_closed();
        match self.output {
            Output::Table => {
                out.write_lines(&render::text(&status, now, MAX_COLUMNS), color::status)?;
            }
            Output::Wide => {
                out.write_lines(&render::text(&status, now, usize::MAX), color::status)?;
            }
            Output::Json => {
                json::write(&status, &mut out)?;
            }
        }
        Ok(if status.clean {
            exit::CLEAN
        } else {
            exit::FINDINGS
        })
    }

    /// Reads the status of a cluster. With `--wait`, of one in which all backups are recorded, or the time is up.
    async fn read_recorded(&self, now: Timestamp) -> anyhow::Result<StatusReport> {
        let Some(seconds) = self.wait else {
            return self.read(now).await;
        };
        let mut wait = wait::Wait::begin(Duration::from_secs(seconds));
        loop {
            let status = self.read(Timestamp::now()).await?;
            if wait.is_over(&status) {
                return Ok(status);
            }
            wait.pause().await;
        }
    }

    async fn read(&self, now: Timestamp) -> anyhow::Result<StatusReport> {
        let client = cluster::connect_to(&self.cluster, &self.own).await?;
        let ours = &self.own.namespace;
        let certificate = published_certificate::read(&client, ours).await;
        let known = certificate.as_ref().ok().and_then(Option::as_ref);
        let activation = snapshot::read_activation(&client, ours).await;
        let issuer = snapshot::issuer(&activation);
        let mut status = StatusReport {
            leader: snapshot::read_leader(&client, ours, now).await,
            webhooks: snapshot::read_webhooks(&client, ours, known, &activation).await,
            activation: activation.ok().flatten(),
            serving_certificate: Some(serving_certificate::status(ours, issuer, &certificate, now)),
            ..StatusReport::default()
        };
        let review = Review::read(&client, ours, &status.webhooks).await;
        let policies = snapshot::read_policies(&client).await;
        status.policies = Some(policies::summarize(ours, policies));
        let namespaces =
            snapshot::find_namespaces(&client, ours, &self.namespaces.velero_namespace).await?;
        let backups = backups::read(&client, &namespaces).await;
        let keys = snapshot::read_trusted_keys(&client).await;
        let ledger = backups::read_ledger(&client, &keys, &backups, &review).await;
        let leader = LeaderKey {
            namespace: ours,
            key_type: snapshot::read_key_type(&client, ours).await,
            has_secret: snapshot::has_signing_secret(&client, ours).await,
        };
        status.records = Some(records::summarize(ledger.failure(), &keys, leader));
        let mut probes = match self.live {
            Some(seconds) => {
                let timeout = Duration::from_secs(seconds);
                live::probe(&client, ours, &namespaces, timeout).await?
            }
            None => BTreeMap::new(),
        };
        for (name, backups) in backups {
            let backups = Unjudged {
                backups: backups.as_deref(),
                review: &review,
                ledger: &ledger,
            };
            let mut namespace =
                read::namespace(&client, ours, &name, self.certificates, &backups).await?;
            namespace.live = probes.remove(&name);
            status.namespaces.push(namespace);
        }
        if let (Some(summary), Ok(keys)) = (&mut status.records, &keys) {
            let are_all = self.namespaces.velero_namespace.is_empty();
            let namespaces = (&*status.namespaces, are_all);
            records::add_key_trouble(summary, keys, namespaces, ledger.records());
        }
        self.check_named_namespaces(&status)?;
        Ok(status)
    }

    fn compute(&self, now: Timestamp) -> anyhow::Result<StatusReport> {
        let inventory = Inventory::read(&self.objects)?;
        let mut common_roots = self.roots.roots().read()?;
        common_roots
            .extra
            .extend(inventory.extra(&self.own.namespace));
        let offline = OfflineStatus {
            inventory: &inventory,
            common_roots: &common_roots,
            policy: &self.policy.policy(RestoresMode::Off)?,
            now,
            with_certificates: self.certificates,
        };
        let status = offline.status(&self.namespaces.velero_namespace);
        self.check_named_namespaces(&status)?;
        Ok(status)
    }

    /// Fails if a namespace that was named on the command line contains nothing of Velero, because
    /// its name is probably misspelled.
    fn check_named_namespaces(&self, status: &StatusReport) -> anyhow::Result<()> {
        let mut namespaces = status.namespaces.iter();
        match namespaces.find(|namespace| problems::is_empty(namespace)) {
            Some(empty) if !self.namespaces.velero_namespace.is_empty() => {
                Err(snapshot::nothing_found(&empty.name))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
