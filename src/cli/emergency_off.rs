//! `velero-trust emergency-off`: lets the API server ask velero-trust nothing.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;

use super::advice::{Selection, shell_word};
use super::cluster_args::ClusterArgs;
use super::namespace_args::OwnNamespace;
use super::stdout::Stdout;
use super::{cluster, exit, install_crypto_provider, runtime, switch_off};
use crate::names;

/// Let the API server ask velero-trust nothing, at once
///
/// For the hour in which velero-trust stands in the way. Takes the rules from all its webhooks, also while no server
/// lives, and writes the ConfigMap `velero-trust-off`: while that is there, no leader makes a webhook active, also
/// not after a GitOps tool applied the manifests again. From then on BackupStorageLocations and Restores are not
/// judged, and new Pods start without the CA bundle. The admission policies, which the API server enforces
/// itself, stay. `--undo` ends it.
#[derive(Args, Debug)]
pub(super) struct EmergencyOff {
    /// Why, for those who find it later
    #[arg(long, value_name = "TEXT", required_unless_present = "undo")]
    reason: Option<String>,

    /// Let the leader make the webhooks active again
    #[arg(long, conflicts_with = "reason")]
    undo: bool,

    #[command(flatten)]
    own: OwnNamespace,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl EmergencyOff {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        install_crypto_provider();
        runtime()?.block_on(async {
            match &self.reason {
                Some(reason) => self.off(reason).await?,
                None => self.undo().await?,
            }
            Ok(exit::CLEAN)
        })
    }

    async fn off(&self, reason: &str) -> anyhow::Result<()> {
        let own = &self.own.namespace;
        let mut out = Stdout::ignore_when_closed();
        // First, in case that the rest fails.
        let create = format!(
            "kubectl -n {own} create configmap {} --from-literal=reason={}",
            names::OFF,
            shell_word(reason)
        );
        writeln!(out, "The same by hand:")?;
        for command in [create, switch_off::delete_command()] {
            writeln!(out, "  {}", self.select(&command))?;
        }
        // Also where our Deployment is gone.
        let client = cluster::connect(&self.cluster).await?;
        switch_off::switch_off(&client, own, reason, &mut out).await?;
        let undo = self.select("velero-trust emergency-off --undo");
        writeln!(
            out,
            "The API server asks velero-trust nothing. To end that: {undo}"
        )?;
        Ok(())
    }

    async fn undo(&self) -> anyhow::Result<()> {
        let own = &self.own.namespace;
        let client = cluster::connect(&self.cluster).await?;
        let maps = Api::<ConfigMap>::namespaced(client, own);
        let what = format!("ConfigMap {own}/{}", names::OFF);
        let deleted = maps.delete(names::OFF, &DeleteParams::default()).await;
        let mut out = Stdout::ignore_when_closed();
        match deleted {
            Ok(_) => writeln!(out, "{what} is deleted")?,
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                writeln!(out, "{what} is not there")?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot delete {what}")),
        }
        let wait = self.select("velero-trust doctor --wait 120");
        writeln!(
            out,
            "The leader makes the webhooks active again once the API server reaches it; {wait} says when. If their \
             configurations were deleted, apply the manifests again"
        )?;
        Ok(())
    }

    /// Returns `command` for the selected cluster and namespace.
    fn select(&self, command: &str) -> String {
        Selection::new(&self.cluster, &self.own).apply(command)
    }
}
