//! `velero-trust uninstall`: removes an installation.
//!
//! The order matters: first the API server asks nothing, then what writes goes, then what was written. Each step can
//! be run again.

mod objects;

use std::io::Write as _;

use anyhow::{anyhow, bail};
use clap::Args;
use kube::Client;

use self::objects::{Found, Group, keys, of_installation};
use super::advice::Selection;
use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use super::stdout::Stdout;
use super::{cluster, exit, install_crypto_provider, runtime, snapshot, switch_off};
use crate::kubernetes::webhook_configurations;
use crate::names;

const AFTER_HELP: &str = "\
Exit codes:
  0  It is removed, or with --dry-run would be
  2  Invalid usage, or something could not be removed: run it again";

/// Remove velero-trust from a cluster
///
/// First the API server asks it nothing any more, so that nothing is refused for want of a server. Then its webhook
/// configurations, its Deployment, its rights and the rest are deleted. The keys that sign and verify backups, the
/// records, the namespace, and the CA bundles, which Velero's Pods mount, are kept. A GitOps tool has to let go of it
/// before, without deleting it, or it comes back. Can be run again after it failed.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Uninstall {
    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,

    /// Print what would be deleted, and change nothing
    #[arg(long, env = "VELERO_TRUST_UNINSTALL_DRY_RUN")]
    dry_run: bool,

    /// Delete the key that signs, the TrustedKeys, the records of backups and the namespace too
    ///
    /// Without a copy of the key (`velero-trust keys export`) nobody can verify the backups that are left.
    #[arg(long)]
    purge_keys: bool,
}

impl Uninstall {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(async {
            // Also where our Deployment is gone.
            let client = cluster::connect(&self.cluster).await?;
            self.remove(&client).await
        })
    }

    async fn remove(&self, client: &Client) -> anyhow::Result<u8> {
        let own = &self.own.namespace;
        let others = snapshot::other_installations(client, own).await;
        let others = others.map_err(|why| {
            anyhow!("whether there is another installation, which shares ClusterRoles and policies, is not known: {why}")
        })?;
        if let Some(other) = others.first() {
            bail!(
                "there is another installation in namespace {other}, which uses the same ClusterRoles and policies; \
                 nothing was changed. Delete what is in namespace {own} by hand: `kubectl -n {own} delete \
                 deployment,service -l app.kubernetes.io/name={}`",
                names::APP
            );
        }
        let mut out = Stdout::ignore_when_closed();
        if self.dry_run {
            writeln!(out, "Nothing is changed. It would delete:")?;
        } else {
            switch_off::switch_off(client, own, "velero-trust uninstall", &mut out).await?;
        }
        for configuration in webhook_configurations::list_with_canary(client).await? {
            if !configuration.calls(own) {
                continue;
            }
            if !self.dry_run {
                configuration.delete(client).await?;
            }
            writeln!(out, "{}", self.told(&configuration.to_string()))?;
        }
        let mut groups = of_installation(own);
        if self.purge_keys {
            groups.extend(keys(own));
        }
        for group in &groups {
            for found in group.find(client).await? {
                if !self.dry_run {
                    found.delete(client).await?;
                }
                writeln!(out, "{}", self.told(&found.to_string()))?;
            }
        }
        if !self.purge_keys {
            self.tell_kept(client, &mut out).await?;
        }
        Ok(exit::CLEAN)
    }

    fn told(&self, what: &str) -> String {
        if self.dry_run {
            format!("  {what}")
        } else {
            format!("{what} is deleted")
        }
    }

    /// Says what is left, and how to delete it.
    async fn tell_kept(&self, client: &Client, out: &mut Stdout) -> anyhow::Result<()> {
        let own = &self.own.namespace;
        let mut kept = Vec::new();
        for group in keys(own) {
            kept.extend(group.find(client).await?);
        }
        let bundles = Group::bundles().find(client).await?;
        if kept.is_empty() && bundles.is_empty() {
            return Ok(());
        }
        writeln!(out, "Kept:")?;
        for found in kept.iter().chain(&bundles) {
            writeln!(out, "  {found}")?;
        }
        if !kept.is_empty() {
            let purge = self.select("velero-trust uninstall --purge-keys");
            writeln!(out, "The keys and the records go with: {purge}")?;
        }
        if let Some(namespace) = bundles.first().and_then(Found::namespace) {
            let delete = format!("kubectl -n {namespace} delete configmap {}", names::BUNDLE);
            writeln!(
                out,
                "Pods that run mount their bundle: restart Velero's Deployments and DaemonSets in each namespace, then \
                 delete it, as with: {}",
                self.select(&delete)
            )?;
        }
        Ok(())
    }

    fn select(&self, command: &str) -> String {
        Selection::new(&self.cluster, &self.own).apply(command)
    }
}
