//! Lets the API server ask velero-trust nothing, also while no server lives.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use crate::kubernetes::webhook_configurations::{self, WebhookConfiguration};
use crate::names;

/// Time between two looks at the webhooks: a leader that has not heard of it yet may set their rules again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often no webhook must have rules, in a row.
const QUIET_LOOKS: usize = 3;

/// How often it is looked at most.
const MAX_LOOKS: usize = 15;

/// Writes the ConfigMap while which nothing is made active into namespace `own`. Returns whether there is such a
/// namespace.
pub(super) async fn forbid_activation(
    client: &Client,
    own: &str,
    reason: &str,
) -> anyhow::Result<bool> {
    let what = format!("ConfigMap {own}/{}", names::OFF);
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace = namespaces.get_metadata_opt(own).await;
    // Who may not read it may still write there.
    if let Ok(None) = namespace {
        return Ok(false);
    }
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::OFF,
            "labels": {"app.kubernetes.io/name": names::APP, "velero.io/exclude-from-backup": "true"},
        },
        "data": {"reason": reason, "since": Timestamp::now().to_string()},
    });
    Api::<ConfigMap>::namespaced(client.clone(), own)
        .patch(
            names::OFF,
            &PatchParams::apply(names::FIELD_MANAGER).force(),
            &Patch::Apply(map),
        )
        .await
        .with_context(|| format!("cannot write {what}"))?;
    Ok(true)
}

/// Takes the rules from all webhooks of the installation in namespace `own`, and says so to `out`, until they
/// stay away.
///
/// # Errors
/// If they do not, or cannot be read or changed.
pub(super) async fn take_rules(
    client: &Client,
    own: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut quiet = 0;
    for _ in 0..MAX_LOOKS {
        let asked = asked(client, own).await?;
        for configuration in &asked {
            configuration.take_rules(client).await?;
            writeln!(out, "{configuration} is asked nothing")?;
        }
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
    all.retain(|one| one.is_asked() && one.other_namespace(own).is_none());
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
