//! `velero-trust doctor`: checks an installation for what operators commonly forget.
//!
//! [`gather`] reads the cluster first. The [`checks`] are pure functions of the result.

mod access;
mod buckets;
mod checks;
mod cluster_snapshot;
mod crds;
mod diagnostic;
mod gather;
mod grouping;
mod identity;
mod ledger;
mod user_access;
mod wait;

use anyhow::bail;
use clap::Args;
use std::time::Duration;

use self::diagnostic::{Diagnostic, Level, count, text, write_json};
use super::advice::Selection;
use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use super::output_format::OutputFormat;
use super::stdout::Stdout;
use super::{cluster, color, exit, install_crypto_provider, runtime};

/// Maximum time for all requests together. The client itself would wait indefinitely.
const GATHER_TIMEOUT: Duration = Duration::from_mins(1);

/// The checks without which nothing is known of an installation.
const ESSENTIAL_CHECKS: [&str; 3] = ["namespaces", "server", "webhooks"];

const AFTER_HELP: &str = "\
Exit codes:
  0  No check fails
  1  At least one check fails, as before the installation or where `status` finds a problem, or
     something essential could not be read
  2  Invalid usage, or the cluster cannot be reached";

/// Check an installation for common problems
///
/// Checks versions, the Deployment, the webhook configurations and their certificate, permissions,
/// bundles, proxy variables, Velero's CRDs and BackupStorageLocations, and what the records of backups
/// need: the key that signs, and what Velero's credentials may do in each bucket. Before the installation, it
/// checks what that would meet. The cluster is read with the permissions of your kubeconfig, also the
/// Secrets with the credentials if you may, and nothing is changed. The right to write is tried with
/// an upload that a store refuses for its checksum; a store that takes it is told to delete it.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Doctor {
    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Output format
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        env = "VELERO_TRUST_DOCTOR_OUTPUT"
    )]
    output: OutputFormat,

    /// Wait for up to SECONDS until the webhooks are active, such as after an installation, before the checks
    ///
    /// Meanwhile, what is missing is said on standard error.
    #[arg(long, value_name = "SECONDS", env = "VELERO_TRUST_DOCTOR_WAIT")]
    wait: Option<u64>,
}

impl Doctor {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        let cluster = runtime()?.block_on(async {
            let client = cluster::connect_to(&self.cluster, &self.own).await?;
            if let Some(seconds) = self.wait {
                wait::until_active(&client, &self.own.namespace, Duration::from_secs(seconds))
                    .await;
            }
            let cluster = gather::gather(&client, &self.own.namespace);
            match tokio::time::timeout(GATHER_TIMEOUT, cluster).await {
                Ok(cluster) => cluster,
                Err(_) => bail!(
                    "the API server did not answer everything within {} s",
                    GATHER_TIMEOUT.as_secs()
                ),
            }
        })?;
        let diagnostics = checks::run_all(&cluster);
        let code = exit_code(&diagnostics, cluster.has_unread_namespace());
        let mut diagnostics = grouping::group(diagnostics);
        let selection = Selection::new(&self.cluster, &self.own);
        for diagnostic in &mut diagnostics {
            let fix = diagnostic.fix.as_deref();
            diagnostic.fix = fix.map(|fix| selection.apply(fix));
            diagnostic.message = selection.apply_to_message(&diagnostic.message);
        }
        let mut out = Stdout::fail_when_closed();
        match self.output {
            OutputFormat::Text => out.write_wrapped(&text(&diagnostics), color::doctor)?,
            OutputFormat::Wide => out.write_lines(&text(&diagnostics), color::doctor)?,
            OutputFormat::Json => write_json(&diagnostics, &mut out)?,
        }
        Ok(code)
    }
}

/// Returns the exit code. What could not be read may hide anything: without any result about the
/// Deployment, the webhooks or Velero's namespaces, nobody can say that all is well; neither where
/// nothing inside one of these namespaces could be read.
fn exit_code(diagnostics: &[Diagnostic], has_unread_namespace: bool) -> u8 {
    // `status` counts it as a problem too.
    let is_unreported = |one: &Diagnostic| one.check == "report" && one.level == Level::Unknown;
    let is_blind = |check: &&str| {
        let of_check = || diagnostics.iter().filter(|one| one.check == *check);
        of_check().next().is_some() && of_check().all(|one| one.level == Level::Unknown)
    };
    if has_unread_namespace
        || ESSENTIAL_CHECKS.iter().any(is_blind)
        || diagnostics.iter().any(is_unreported)
        || count(diagnostics, Level::Fail) > 0
    {
        exit::FINDINGS
    } else {
        exit::CLEAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::diagnostic::CheckSubject;

    #[test]
    fn what_essential_checks_could_not_read_is_no_good_result() {
        let ok = |check| CheckSubject::new(check, "s").ok("is well");
        let unknown = |check| CheckSubject::new(check, "s").unknown("forbidden");
        let known = [ok("server"), ok("webhooks"), unknown("image")];
        assert_eq!(exit_code(&known, false), exit::CLEAN);
        assert_eq!(exit_code(&known, true), exit::FINDINGS);
        let fail = CheckSubject::new("image", "s").fail("is ill", "cure it");
        assert_eq!(exit_code(&[ok("server"), fail], false), exit::FINDINGS);
        let unreported = [ok("server"), ok("report"), unknown("report")];
        assert_eq!(exit_code(&unreported, false), exit::FINDINGS);
        for check in ESSENTIAL_CHECKS {
            assert_eq!(
                exit_code(&[unknown(check)], false),
                exit::FINDINGS,
                "{check}"
            );
            let partly = [unknown(check), ok(check)];
            assert_eq!(exit_code(&partly, false), exit::CLEAN, "{check}");
        }
    }
}
