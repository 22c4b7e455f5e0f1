//! Lets the API server ask velero-trust nothing, also while no server lives.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use super::eprint_line;
use crate::kubernetes::error;
use crate::kubernetes::webhook_configurations::{self, WebhookConfiguration};
use crate::names;

/// Time between two looks at the webhooks: a leader that has not heard of it yet may set their rules again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often no webhook must have rules, in a row.
const QUIET_LOOKS: usize = 3;

/// How often it is looked at most.
const MAX_LOOKS: usize = 15;

/// Writes the ConfigMap while which nothing is made active into namespace `own`, and takes the rules from all
/// webhooks of the installation there, in this order. Says so to `out`.
///
/// # Errors
/// If one of the two failed. Rules are taken also where the ConfigMap cannot be written, such as in a namespace that is
/// being deleted.
pub(super) async fn switch_off(
    client: &Client,
    own: &str,
    reason: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let what = format!("ConfigMap {own}/{}", names::OFF);
    let written = write(client, own, reason).await;
    match &written {
        Ok(()) => writeln!(out, "{what} is written")?,
        Err(error) => eprint_line(&format!(
            "velero-trust: {what} cannot be written: {}; the rules are taken all the same",
            error::lookup_error(error).message
        )),
    }
    take_rules(client, own, out).await?;
    written.with_context(|| {
        format!(
            "nothing keeps a leader from making the webhooks active again: {what} cannot be written"
        )
    })
}

async fn write(client: &Client, own: &str, reason: &str) -> kube::Result<()> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::OFF,
            "labels": {"app.kubernetes.io/name": names::APP, "velero.io/exclude-from-backup": "true"},
        },
        "data": {"reason": reason, "since": Timestamp::now().to_string()},
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), own);
    let written = maps.patch(names::OFF, &params, &Patch::Apply(map)).await;
    written.map(drop)
}

/// Takes the rules from all webhooks of the installation in namespace `own`, and says so to `out`, until they
/// stay away.
///
/// # Errors
/// If they do not, or cannot be read or changed.
async fn take_rules(client: &Client, own: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut quiet = 0;
    for _ in 0..MAX_LOOKS {
        let asked = asked(client, own).await?;
        webhook_configurations::take_rules(client, &asked, |configuration| {
            // A reader that is gone must not end this.
            let _ = writeln!(out, "{configuration} is asked nothing");
        })
        .await?;
        quiet = if asked.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
    bail!(
        "somebody sets the rules of the webhooks again and again; delete their configurations: `{}`",
        delete_command()
    )
}

async fn asked(client: &Client, own: &str) -> anyhow::Result<Vec<WebhookConfiguration>> {
    let mut all = webhook_configurations::list(client).await?;
    all.retain(|one| one.is_asked() && one.calls(own));
    Ok(all)
}

/// Returns the command that deletes the webhook configurations.
pub(super) fn delete_command() -> String {
    format!(
        "kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations -l \
         app.kubernetes.io/name={}",
        names::APP
    )
}
